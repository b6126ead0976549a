//! Proxies: this machine is always reached without one, whatever the environment says; everybody else as it says.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;

/// Variables by which programs are told of a proxy, in every spelling that one of them reads.
pub(crate) const VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "SOCKS_PROXY",
    "socks_proxy",
    // Chromium's own.
    "SOCKS_SERVER",
    "auto_proxy",
];

/// Whether a URL, or an origin, is of this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let parsed = url.parse::<Uri>().ok();
    let Some(host) = parsed.as_ref().and_then(Uri::host) else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    // A server on all addresses is reached by the address of none.
    let is_own = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_own)
}

/// A client for one URL, whose requests may take `limit`.
pub(crate) fn agent(url: &str, limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(limit));
    let config = if is_loopback(url) { config.proxy(None) } else { config };
    config.build().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_all_of_its_names() {
        for url in [
            "http://127.0.0.1:9515",
            "http://127.8.7.6:9515/wd/hub",
            "http://localhost:4444/",
            "http://LocalHost",
            "http://name.localhost:1",
            "http://[::1]:4444",
            "http://[::ffff:127.0.0.1]:4444",
            "http://0.0.0.0:4444",
            "http://user:password@localhost:4444",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://grid:4444",
            "https://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "http://[fe80::1]",
            "http://example.com/?to=http://localhost",
            "nonsense",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn a_client_for_this_machine_has_no_proxy() {
        // Others have what the environment says, which a test must not change.
        assert_eq!(agent("http://127.0.0.1:1", Duration::from_secs(1)).config().proxy(), None);
        let environment = ureq::Proxy::try_from_env();
        assert_eq!(agent("http://grid:1", Duration::from_secs(1)).config().proxy(), environment.as_ref());
    }
}
