//! `serve`: what is served to whom, over real sockets, and the page for people, in Chromium.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use webnibble_common::io::Input;
use webnibble_common::wire::{AgentMessage, Envelope, ErrorCode, HostMessage};
use webnibble_host::loader::PackageFile;
use webnibble_host::reference::{Reference, cosine};
use webnibble_tests::{
    PATIENCE, Running, Sandbox, browser_available, mini_lm, mini_lm_available, skip_unless, wait_until,
};

use crate::page::Page;

struct Served {
    running: Running,
    address: String,
}

fn serve(sandbox: &Sandbox, args: &[&str]) -> Served {
    let running = sandbox.start(&[&["serve"], args].concat());
    wait_until("the URL is printed", PATIENCE, || running.stdout().contains('\n'));
    let url = running.stdout().lines().next().unwrap().to_owned();
    let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix('/')).unwrap().to_owned();
    Served { address, running }
}

impl Served {
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8_lossy(&response).into_owned()
    }

    fn socket(&self, origin: &str) -> Result<WebSocket<TcpStream>, u16> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{}/agent", self.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(other) => panic!("expected an answer, found {other}"),
        }
    }

    fn own_socket(&self) -> WebSocket<TcpStream> {
        self.socket(&format!("http://{}", self.address)).expect("a page of ours may open a socket")
    }
}

fn hello(socket: &mut WebSocket<TcpStream>, token: &str) -> HostMessage {
    let hello =
        AgentMessage::Hello { token: token.into(), resume_key: None, agent_version: env!("CARGO_PKG_VERSION").into() };
    socket.send(Message::Text(Envelope::new(1, hello).to_text().unwrap().into())).unwrap();
    match socket.read().unwrap() {
        Message::Text(text) => Envelope::<HostMessage>::from_text(&text).unwrap().body,
        other => panic!("expected an answer, found {other:?}"),
    }
}

/// Reads until the host ends the socket; it answers pings meanwhile, so silence is no reason. `false` where nothing came.
fn is_closed(socket: &mut WebSocket<TcpStream>) -> bool {
    loop {
        match socket.read() {
            Ok(Message::Close(_)) => return true,
            Err(tungstenite::Error::Io(error)) => {
                return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
            Err(_) => return true,
            Ok(_) => {}
        }
    }
}

#[test]
fn the_page_and_the_agent_are_served() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let served = serve(&sandbox, &[]);
    let page = served.get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>webnibble</title>"), "{page}");
    assert!(
        served.get("/pkg/baseline/webnibble_agent_bg.wasm").to_lowercase().contains("content-type: application/wasm")
    );
    for path in ["/Cargo.toml", "/package.json", "/../README.md", "/pkg/built-from"] {
        assert!(served.get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(page.contains("id=\"texts\""), "the page for people: {page}");
    let driven = served.get("/?token=x");
    assert!(driven.contains("<title>webnibble</title>") && driven.contains("id=\"connection\""), "{driven}");
    served.running.signal("TERM");
    assert_eq!(served.running.finish(PATIENCE).code, Some(143));
}

#[test]
fn strangers_are_refused() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let served = serve(&sandbox, &[]);
    for origin in ["http://evil.example", "null"] {
        assert_eq!(served.socket(origin).map(|_| ()), Err(403), "{origin}");
    }
    let mut socket = served.own_socket();
    let HostMessage::Refused { error } = hello(&mut socket, "guessed") else { panic!("a guessed token was let in") };
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(is_closed(&mut socket));
}

/// The page for people, once it can be used.
async fn open_page(served: &Served) -> Page {
    let page = Page::open(&format!("http://{}/", served.address)).await;
    page.wait("the page is ready", "#state[data-state=open]").await;
    page
}

async fn type_texts(page: &Page, texts: &[&str]) {
    page.type_into("#texts", &texts.join("\n")).await;
}

/// Runs what is chosen, to its answer or its failure.
async fn run(page: &Page) {
    page.click("#run").await;
    page.wait("it ran", "#run:not(:disabled)").await;
}

/// Lets a file fall on the page, with the bytes that lie at `url`.
async fn drop_file(page: &Page, url: &str, name: &str) {
    let script = "const [url, name, done] = arguments;
        fetch(url).then((response) => response.blob()).then((blob) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([blob], name));
            document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
            done();
        });";
    page.driver().execute_async(script, vec![json!(url), json!(name)]).await.unwrap();
}

/// First numbers of every text's embedding.
async fn embeddings(page: &Page) -> Vec<Vec<f32>> {
    assert_eq!(page.texts("#answer .failure, .notice").await, [""; 0]);
    let numbers = |text: &String| text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    page.texts("#answer .vector code").await.iter().map(numbers).collect()
}

/// The package that `serve` made.
fn made_package(sandbox: &Sandbox) -> PathBuf {
    let folder = std::fs::read_dir(sandbox.path().join("cache/webnibble/packages")).unwrap();
    let mut packages = folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some());
    let package = packages.next().expect("a package was made");
    assert_eq!(packages.next(), None);
    package
}

/// What the package answers on this machine's processor.
fn reference(package: &Path, texts: &[&str]) -> Vec<Vec<f32>> {
    let model = Reference::quantized(&PackageFile::open(package).unwrap()).unwrap();
    let texts = texts.iter().map(|&text| text.to_owned()).collect();
    let outputs = model.outputs(&Input::texts(texts)).unwrap();
    let (_, tensor) = &outputs[0];
    tensor.as_f32().unwrap().chunks(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
}

#[track_caller]
fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), 6, "first numbers: {found:?}");
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-3, "{found:?} is not the beginning of {:?}", &expected[..found.len()]);
        }
    }
}

const TEXTS: [&str; 3] =
    ["A man is playing a guitar.", "Somebody plays an instrument.", "The bridge was never repaired."];

#[tokio::test(flavor = "multi_thread")]
async fn a_person_runs_a_served_model_and_one_that_is_dropped() {
    skip_unless!(browser_available(), mini_lm_available());
    let sandbox = Sandbox::with_own_packages();
    let served = serve(&sandbox, &["--model", mini_lm().to_str().unwrap(), "--bits", "8"]);
    let package = made_package(&sandbox);
    let expected = reference(&package, &TEXTS);
    let page = open_page(&served).await;

    // A served model, on the software adapter.
    page.choose("#model", "all-MiniLM-L6-v2").await;
    page.choose("#weights", "8 bits").await;
    page.choose("#platform", "webgpu").await;
    assert!(page.text("#platform-note").await.contains("on the CPU"));
    type_texts(&page, &TEXTS).await;
    page.type_into("#runs", "2").await;
    run(&page).await;
    assert_close(&embeddings(&page).await, &expected);
    assert_eq!(page.texts("#answer .type").await, ["REAL_WEBGPU", "software adapter"]);
    let figures = page.text("#answer .figures").await;
    assert!(figures.contains("p50 of 2") && figures.contains("load") && !figures.contains("not measured"), "{figures}");
    assert!(page.text("#answer").await.contains("say nothing about a GPU"));
    let similarities = page.texts("#answer .similarities td").await;
    for (cell, (a, b)) in similarities.iter().zip(expected.iter().flat_map(|a| expected.iter().map(move |b| (a, b)))) {
        assert!((cell.parse::<f64>().unwrap() - cosine(a, b)).abs() < 2e-3, "{similarities:?}");
    }
    assert_eq!(similarities.len(), TEXTS.len() * TEXTS.len());

    // A reload keeps what was typed, and runs again.
    page.driver().refresh().await.unwrap();
    page.wait("the page is ready again", "#state[data-state=open]").await;
    assert_eq!(page.find("#texts").await.value().await.unwrap().unwrap(), TEXTS.join("\n"));
    page.choose("#platform", "wasm").await;
    run(&page).await;
    assert_close(&embeddings(&page).await, &expected);
    assert_eq!(page.texts("#answer .type").await, ["REAL_WASM"]);

    // A file of one's own, without any run measured.
    let list: Value = serde_json::from_str(served.get("/packages").split("\r\n\r\n").nth(1).unwrap()).unwrap();
    drop_file(&page, list["packages"][0]["url"].as_str().unwrap(), "my own.safetensors").await;
    page.type_into("#runs", "0").await;
    type_texts(&page, &TEXTS[..1]).await;
    run(&page).await;
    assert_close(&embeddings(&page).await, &expected[..1]);
    assert_eq!(page.text("#answer h3").await, "my own.safetensors");
    assert!(page.text("#answer .figures").await.contains("not measured"));
    assert!(page.texts("#answer .similarities").await.is_empty(), "one text is like no other");

    // What is no package is an error with its hint, which names the file.
    let stranger = sandbox.path().join("stranger.safetensors");
    std::fs::write(&stranger, [7; 4096]).unwrap();
    page.find("#file").await.send_keys(stranger.to_str().unwrap()).await.unwrap();
    run(&page).await;
    let failure = page.text("#answer").await;
    assert!(failure.contains("bad package") && failure.contains("stranger.safetensors: "), "{failure}");
    assert!(failure.contains("webnibble quantize") && !failure.contains("blob:"), "{failure}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_models_says_what_to_do() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let served = serve(&sandbox, &[]);
    assert!(served.running.stderr().contains("--model"), "{}", served.running.stderr());
    let page = open_page(&served).await;
    assert!(page.text("#model").await.contains("open a package, or serve a model"));
    assert!(!page.find("#run").await.is_enabled().await.unwrap());
    page.close().await;
}

#[test]
fn a_model_that_cannot_be_served_is_said_before_anybody_waits() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let finished = sandbox.run(&["serve", "--model", "/no/such/model", "--json"]);
    assert_eq!((finished.code, &finished.json()["error"]["code"]), (Some(1), &json!("model")), "{finished:?}");
    let finished = sandbox.run(&["serve", "--bits", "8"]);
    assert_eq!(finished.code, Some(2), "bits of no model: {finished:?}");
}
