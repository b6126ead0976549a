//! The page that a person uses: at `/` for whoever shows no token, with the list of the models to choose from.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use webnibble_common::quant::Bits;

use super::files;
use super::offered::Offered;
use super::shared::{Shared, lock};
use crate::loader::PackageFile;

/// The page, and the script of its Worker.
const PAGE: &str = "/playground/index.html";
pub(super) const WORKER: &str = "/playground/worker.js";

/// Where the Worker may get packages from: this server, and files that a person chose, which have `blob:` URLs.
const WORKER_SOURCES: &str = "'self' blob:";

/// Lets people choose a package that is published under `url`.
pub(super) fn offer(shared: &Shared, package: &PackageFile, activation_bits: Bits, url: String) -> Offered {
    let (header, meta) = (&package.header, &package.header.meta);
    let offered = Offered {
        name: meta.name.clone(),
        family: meta.family.clone(),
        parameters: meta.parameters,
        quantization: meta.quantization.clone(),
        activation_bits,
        bytes: header.total_bytes,
        digest: header.digest.clone(),
        url,
    };
    let mut all = lock(&shared.offered);
    all.retain(|other| other.digest != offered.digest);
    all.push(offered.clone());
    offered
}

/// `/`: the page of a session where a token stands in the URL, else the one for people.
pub(super) async fn front(shared: State<Arc<Shared>>, uri: Uri) -> Response {
    let has_token = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("token=")));
    let page = if has_token { uri } else { Uri::from_static(PAGE) };
    files::asset(shared, page).await
}

/// The script of the page's Worker, with the policy that lets it read chosen files.
pub(super) async fn worker(shared: State<Arc<Shared>>, uri: Uri) -> Response {
    let mut response = files::asset(shared, uri).await;
    let policy = format!(
        "default-src 'none'; script-src {}; worker-src 'self'; connect-src {WORKER_SOURCES}; base-uri 'none'; form-action 'none'",
        files::PAGE_SCRIPTS
    );
    let policy = HeaderValue::from_str(&policy).expect("policies are plain text");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// The packages to choose from, in the order in which they were offered.
pub(super) async fn list(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    // A page of somebody else whose name suddenly resolves to this machine is of this origin, as far as its browser knows.
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_own_name(host, shared.advertised.as_deref()) {
        let told = "expected the address of this machine, localhost or the advertised name in `Host`\n";
        return (StatusCode::FORBIDDEN, told).into_response();
    }
    let list = serde_json::json!({ "packages": *lock(&shared.offered) }).to_string();
    ([(CONTENT_TYPE, "application/json")], list).into_response()
}

/// Whether a `Host` names this machine: an address, which nobody else's name can stand in for, `localhost`, or the name that
/// is advertised. The port may be that of a tunnel.
fn is_own_name(host: &str, advertised: Option<&str>) -> bool {
    let name = without_port(host);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost") || advertised.is_some_and(|own| without_port(own) == name)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use webnibble_common::options::Settings;

    use super::*;
    use crate::fake_agent;
    use crate::loader::ModelFolder;
    use crate::loader::testing::{tiny_model, write_model};
    use crate::offer::{OfferRequest, offer};
    use crate::quantizer::{QuantizeOptions, quantize, write_package};
    use crate::server::tests::{get, get_from};

    /// A package of the tiny model at 4 bits.
    fn package(folder: &std::path::Path) -> PackageFile {
        write_model(&folder.join("tiny"), &tiny_model());
        let model = ModelFolder::open(&folder.join("tiny"), "tiny").unwrap();
        let quantized = quantize(&model, &QuantizeOptions::default(), &mut |_| {}).unwrap();
        write_package(&quantized, &folder.join("tiny-q4.safetensors")).unwrap()
    }

    fn request(package: &PackageFile, bits: Vec<Bits>) -> OfferRequest {
        let models = vec![package.path.display().to_string()];
        OfferRequest { models, bits, settings: Settings::default(), progress: None }
    }

    #[tokio::test]
    async fn a_token_leads_to_the_driven_page_and_no_token_to_that_for_people() {
        let server = fake_agent::server().await;
        for (path, title) in [("/", "playground"), ("/?lang=en", "playground"), ("/?a=1&token=x", "page")] {
            // Again and again: a reload is nothing special.
            for _ in 0..2 {
                let (head, body) = get(&server, path, "").await;
                assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/html"), "{path}: {head}");
                assert_eq!(String::from_utf8(body).unwrap(), format!("<title>{title}</title>"), "{path}");
            }
        }
    }

    #[tokio::test]
    async fn chosen_files_are_for_the_worker_alone() {
        let server = fake_agent::server().await;
        let (head, _) = get(&server, WORKER, "").await;
        assert!(head.contains("connect-src 'self' blob:;") && head.contains("default-src 'none'"), "{head}");
        assert!(!head.contains("'unsafe-eval'"), "{head}");
        let (head, _) = get(&server, "/", "").await;
        assert!(!head.contains("blob:") && head.contains("default-src 'none'"), "{head}");
    }

    #[tokio::test]
    async fn what_is_offered_is_listed_and_can_be_fetched() {
        let (server, folder) = (fake_agent::server().await, tempfile::tempdir().unwrap());
        let package = package(folder.path());
        let (_, body) = get(&server, "/packages", "").await;
        assert_eq!(body, br#"{"packages":[]}"#);
        let offered = offer(&server, &request(&package, Vec::new())).await.unwrap();
        offer(&server, &request(&package, vec![Bits::B4])).await.expect("the bits that it has");
        let (head, body) = get(&server, "/packages", "").await;
        assert!(head.contains("content-type: application/json"), "{head}");
        let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(list["packages"], serde_json::to_value(&offered).unwrap(), "each once");
        let one = &list["packages"][0];
        assert_eq!(
            (&one["name"], &one["quantization"]["bits"], &one["activation_bits"]),
            (&"tiny".into(), &4.into(), &32.into())
        );
        let (_, fetched) = get(&server, one["url"].as_str().unwrap(), "").await;
        assert_eq!(fetched.len() as u64, one["bytes"].as_u64().unwrap());
        assert_eq!(fetched, std::fs::read(&package.path).unwrap());
    }

    #[tokio::test]
    async fn bits_that_a_package_does_not_have_are_refused() {
        let (server, folder) = (fake_agent::server().await, tempfile::tempdir().unwrap());
        let error = offer(&server, &request(&package(folder.path()), vec![Bits::B8])).await.unwrap_err();
        assert_eq!(error.code(), "package_fixed");
        let (_, body) = get(&server, "/packages", "").await;
        assert_eq!(body, br#"{"packages":[]}"#);
    }

    #[tokio::test]
    async fn the_list_is_for_names_of_this_machine() {
        let server = fake_agent::server().await;
        for (host, status) in [("localhost:4000", "200"), ("evil.example", "403")] {
            let (head, _) = get_from(&server, host, "/packages", "").await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{host}: {head}");
        }
    }

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for own in ["127.0.0.1:80", "localhost:4000", "LocalHost", "[::1]:80", "[::1]", "192.168.1.5:8080", "gpu-box:1"]
        {
            assert!(is_own_name(own, Some("gpu-box:7000")), "{own}");
        }
        for other in ["", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example:80", "gpu-box2"] {
            assert!(!is_own_name(other, Some("gpu-box:7000")), "{other}");
        }
        assert!(!is_own_name("gpu-box:7000", None));
    }
}
