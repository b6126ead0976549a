//! The server over real sockets: what it serves, and to whom.

use std::io::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use webnibble_common::wire::{AgentMessage, ErrorCode, HostMessage, MAX_BINARY_BYTES};

use super::*;
use crate::fake_agent::{self, FakeAgent, PATIENCE};
use crate::session::{Session, SessionConfig};

/// A plain HTTP exchange: the head, and the body's bytes.
pub(super) async fn get(server: &Server, path: &str, headers: &str) -> (String, Vec<u8>) {
    get_from(server, &server.address().to_string(), path, headers).await
}

/// The same under another name.
pub(super) async fn get_from(server: &Server, host: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = response.split_off(end + 4);
    (String::from_utf8(response).unwrap().to_lowercase(), body)
}

fn published(server: &Server, content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    assert_eq!(server.publish("abc", file.path()), "/packages/abc.safetensors");
    file
}

#[tokio::test]
async fn the_page_is_served_isolated_and_nothing_else_is() {
    let server = fake_agent::server().await;
    let (head, body) = get(&server, "/?token=x", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body, b"<title>page</title>");
    for header in [
        "cross-origin-opener-policy: same-origin",
        "cross-origin-embedder-policy: require-corp",
        "x-content-type-options: nosniff",
        "content-type: text/html",
        "content-security-policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval'",
    ] {
        assert!(head.contains(header), "no {header} in {head}");
    }
    let (head, _) = get(&server, "/pkg/agent_bg.wasm", "").await;
    assert!(head.contains("content-type: application/wasm"), "{head}");
    for path in ["/Cargo.toml", "/../Cargo.toml", "/pkg/../../etc/passwd", "/packages/abc.safetensors", "/packages/x"] {
        let (head, _) = get(&server, path, "").await;
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
        assert!(head.contains("cross-origin-embedder-policy"), "{path}: {head}");
    }
}

#[tokio::test]
async fn functions_from_text_are_for_the_worker_of_transformers_js_alone() {
    let server = fake_agent::server().await;
    for (path, allowed) in [
        ("/worker.js?variant=relaxed&engine=transformers-js", true),
        ("/worker.js?variant=relaxed", false),
        ("/worker.js", false),
        ("/worker.js?variant=engine=transformers-js", false),
        ("/?engine=transformers-js", false),
        ("/page.js?engine=transformers-js", false),
    ] {
        let (head, _) = get(&server, path, "").await;
        assert_eq!(head.contains("'unsafe-eval'"), allowed, "{path}: {head}");
        assert!(head.contains("script-src 'self' 'wasm-unsafe-eval'"), "{path}: {head}");
    }
}

#[tokio::test]
async fn packages_come_whole_and_by_range() {
    let server = fake_agent::server().await;
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let _file = published(&server, &content);
    let url = "/packages/abc.safetensors";
    let (head, body) = get(&server, url, "").await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 3000000"), "{head}");
    assert!(head.contains("accept-ranges: bytes") && head.contains("etag: \"abc\""), "{head}");
    assert_eq!(body, content);
    let (head, body) = get(&server, url, "Range: bytes=1048570-2097160\r\n").await;
    assert!(head.starts_with("http/1.1 206"), "{head}");
    assert!(head.contains("content-range: bytes 1048570-2097160/3000000"), "{head}");
    assert_eq!(body, content[1_048_570..=2_097_160]);
    let (head, _) = get(&server, url, "Range: bytes=3000000-\r\n").await;
    assert!(head.starts_with("http/1.1 416") && head.contains("content-range: bytes */3000000"), "{head}");
    // A range of another version of the file would be garbage: the whole file instead.
    let (head, _) = get(&server, url, "Range: bytes=5-\r\nIf-Range: \"other\"\r\n").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
}

#[tokio::test]
async fn a_package_that_vanished_is_an_error_without_its_path() {
    let server = fake_agent::server().await;
    drop(published(&server, b"x"));
    let (head, body) = get(&server, "/packages/abc.safetensors", "").await;
    assert!(head.starts_with("http/1.1 500"), "{head}");
    assert_eq!(body, b"the file cannot be read\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_package_comes_to_its_last_byte() {
    let server = fake_agent::server().await;
    // No two of its parts of a size that anybody sends at once are alike.
    let content: Vec<u8> = (0..16u32 << 20).flat_map(u32::to_le_bytes).collect();
    let _file = published(&server, &content);
    let (head, body) = get(&server, "/packages/abc.safetensors", "").await;
    assert!(head.contains(&format!("content-length: {}", content.len())), "{head}");
    assert!(body == content, "{} of {} bytes came, or others", body.len(), content.len());
}

/// A client that asks for the package, and reads nothing of it.
async fn stalled(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Little of the package lies with the system, which would have to keep it for all of them.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address()).await.unwrap();
    stream.write_all(b"GET /packages/abc.safetensors HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // Its body has begun.
    stream.read_exact(&mut [0; 1024]).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_hold_up_nobody_else() {
    // More than the runtime has threads for work that blocks.
    const STALLED: usize = 600;
    if ClientLimits::default().connections < STALLED + 10 {
        println!("skipped: this process may have too few files open (ulimit -n)");
        return;
    }
    let server = fake_agent::server().await;
    let content = vec![7u8; 16 << 20];
    let _file = published(&server, &content);
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        clients.push(tokio::time::timeout(PATIENCE, stalled(&server)).await.expect("it is served"));
    }
    let work = tokio::task::spawn_blocking(|| 7);
    assert_eq!(tokio::time::timeout(PATIENCE, work).await.expect("there is a thread for it").unwrap(), 7);
    let download = get(&server, "/packages/abc.safetensors", "");
    let (_, body) = tokio::time::timeout(PATIENCE, download).await.expect("it does not wait for the others");
    assert!(body == content);
}

/// A server for one client at a time.
async fn server_for_one(head: Duration, write: Duration) -> Server {
    let assets = fake_agent::assets();
    Server::start_within(ClientLimits { connections: 1, head, write }, DEFAULT_ADDRESS, assets, None).await.unwrap()
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let server = server_for_one(PATIENCE, Duration::from_millis(100)).await;
    let content = vec![7u8; 16 << 20];
    let _file = published(&server, &content);
    let mut stalled = stalled(&server).await;
    // There is room for this one only when the other is gone.
    let download = get(&server, "/packages/abc.safetensors", "");
    let (_, body) = tokio::time::timeout(PATIENCE, download).await.expect("the stalled client is dropped");
    assert!(body == content);
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(rest.len() < content.len(), "it got all {} bytes", rest.len());
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_dropped() {
    let server = server_for_one(Duration::from_millis(100), PATIENCE).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, get(&server, "/", "")).await.expect("the silent client is dropped");
    assert!(answer.0.starts_with("http/1.1 200"), "{}", answer.0);
}

#[tokio::test]
async fn sockets_of_other_origins_are_refused() {
    let server = fake_agent::server().await;
    let port = server.address().port();
    for origin in ["http://evil.example", "null", "", &format!("https://127.0.0.1:{port}"), "http://127.0.0.1:1"] {
        match FakeAgent::dial(&server, Some(origin)).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403, "{origin}"),
            Err(other) => panic!("{origin}: expected a refusal, found {other:?}"),
            Ok(_) => panic!("{origin} was let in"),
        }
    }
    assert!(FakeAgent::dial(&server, Some(&format!("http://localhost:{port}"))).await.is_ok());
}

#[tokio::test]
async fn tokens_are_checked_and_used_up() {
    let server = fake_agent::server().await;
    let session = Session::open(&server, SessionConfig::default());
    let refused = async |token: &str, key: Option<&str>| {
        let mut agent = FakeAgent::dial(&server, None).await.unwrap();
        let HostMessage::Refused { error } = agent.hello(token, key).await else { panic!("{token} was let in") };
        assert!(agent.next().await.is_none(), "the socket is closed");
        error.code
    };
    assert_eq!(refused("wrong", None).await, ErrorCode::Unauthorized);
    assert_eq!(refused("", Some("wrong")).await, ErrorCode::Unauthorized);
    let agent = FakeAgent::connect(&server, session.token(), None).await;
    assert_eq!(refused(session.token(), None).await, ErrorCode::Unauthorized, "a second page with the same token");
    let key = agent.resume_key.clone();
    drop(agent);
    drop(session);
    assert_eq!(refused("", Some(&key)).await, ErrorCode::Unauthorized, "the session is gone");
}

#[tokio::test]
async fn another_version_is_told_so() {
    let server = fake_agent::server().await;
    let mut agent = FakeAgent::dial(&server, None).await.unwrap();
    agent.send(Message::Text(r#"{"v":99,"id":4,"type":"hello","token":""}"#.into())).await;
    let HostMessage::Refused { error } = agent.hear().await.body else { panic!("expected a refusal") };
    assert_eq!(error.code, ErrorCode::Version);
    assert!(error.hint.contains("make wasm"), "{}", error.hint);
}

/// The session of a page that cannot be talked to ends at once, and says why.
#[tokio::test]
async fn a_session_whose_page_is_of_another_build_ends_with_what_to_do() {
    for (v, agent_version) in [(1, "0.0.1"), (99, env!("CARGO_PKG_VERSION"))] {
        let server = fake_agent::server().await;
        let session = Session::open(&server, SessionConfig::default());
        let hello = serde_json::json!({"v": v, "id": 4, "type": "hello", "token": session.token(),
            "agent_version": agent_version});
        let mut agent = FakeAgent::dial(&server, None).await.unwrap();
        agent.send(Message::Text(hello.to_string().into())).await;
        let HostMessage::Refused { error } = agent.hear().await.body else { panic!("expected a refusal") };
        assert_eq!(error.code, ErrorCode::Version);
        assert!(error.hint.contains("make wasm"), "{}", error.hint);
        let ended = tokio::time::timeout(PATIENCE, session.ended()).await.expect("nobody else will come");
        assert_eq!(ended, error);
    }
}

#[tokio::test]
async fn a_socket_that_does_not_begin_with_hello_is_closed() {
    let server = fake_agent::server().await;
    for message in [Message::Binary(vec![1, 2, 3].into()), Message::Text("hello".into())] {
        let mut agent = FakeAgent::dial(&server, None).await.unwrap();
        agent.send(message).await;
        let HostMessage::Refused { error } = agent.hear().await.body else { panic!("expected a refusal") };
        assert_eq!(error.code, ErrorCode::Protocol);
        assert!(agent.next().await.is_none());
    }
    let mut agent = FakeAgent::dial(&server, None).await.unwrap();
    agent.tell(3, AgentMessage::Done).await;
    assert!(matches!(agent.hear().await.body, HostMessage::Refused { .. }));
}

#[tokio::test]
async fn frames_over_the_limit_close_the_socket() {
    let server = fake_agent::server().await;
    let config = SessionConfig { grace: Duration::from_millis(50), ..SessionConfig::default() };
    let session = Session::open(&server, config);
    let mut agent = FakeAgent::ready(&server, session.token()).await;
    agent.send(Message::Binary(vec![0; MAX_BINARY_BYTES + 1].into())).await;
    let error = tokio::time::timeout(PATIENCE, session.ended()).await.unwrap();
    assert_eq!(error.code, ErrorCode::Disconnected);
    assert!(error.message.contains("Message too long"), "{error}");
}
