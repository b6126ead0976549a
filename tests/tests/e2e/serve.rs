//! `serve`: the page and its door, over real sockets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use webnibble_common::wire::{AgentMessage, Envelope, ErrorCode, HostMessage, MAX_BINARY_BYTES, frame};
use webnibble_tests::{PATIENCE, Running, Sandbox, browser_available, skip_unless, wait_until};

struct Served {
    running: Running,
    address: String,
    token: String,
}

fn serve(sandbox: &Sandbox) -> Served {
    let running = sandbox.start(&["serve"]);
    wait_until("the URL is printed", PATIENCE, || running.stdout().contains('\n'));
    let url = running.stdout().lines().next().unwrap().to_owned();
    let (address, token) = url.strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
    Served { address: address.to_owned(), token: token.to_owned(), running }
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
    let served = serve(&sandbox);
    let page = served.get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>webnibble</title>"), "{page}");
    assert!(
        served.get("/pkg/baseline/webnibble_agent_bg.wasm").to_lowercase().contains("content-type: application/wasm")
    );
    for path in ["/Cargo.toml", "/package.json", "/../README.md", "/pkg/built-from"] {
        assert!(served.get(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    served.running.signal("TERM");
    assert_eq!(served.running.finish(PATIENCE).code, Some(143));
}

#[test]
fn strangers_are_refused() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let served = serve(&sandbox);
    for origin in ["http://evil.example", "null"] {
        assert_eq!(served.socket(origin).map(|_| ()), Err(403), "{origin}");
    }
    let mut socket = served.own_socket();
    let HostMessage::Refused { error } = hello(&mut socket, "guessed") else { panic!("a guessed token was let in") };
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(is_closed(&mut socket));

    let mut socket = served.own_socket();
    assert!(matches!(hello(&mut socket, &served.token), HostMessage::Welcome { .. }));
    let mut second = served.own_socket();
    assert!(matches!(hello(&mut second, &served.token), HostMessage::Refused { .. }), "a token lets in once");
}

#[test]
fn frames_too_large_or_out_of_place_close_the_socket_and_the_host_goes_on() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let mut served = serve(&sandbox);
    for bad in
        [Message::Binary(vec![0; MAX_BINARY_BYTES + 1].into()), Message::Binary(vec![0; frame::HEADER_BYTES].into())]
    {
        let mut socket = served.own_socket();
        assert!(matches!(hello(&mut socket, &served.token), HostMessage::Welcome { .. }));
        let capabilities = AgentMessage::Capabilities { capabilities: Box::default() };
        socket.send(Message::Text(Envelope::new(0, capabilities).to_text().unwrap().into())).unwrap();
        // The host may close while this is still being sent.
        let _ = socket.send(bad);
        assert!(is_closed(&mut socket));
        // The next page is invited once this one was there.
        wait_until("the next URL", PATIENCE, || !served.running.stdout().trim_end().ends_with(&served.token));
        let url = served.running.stdout().lines().last().unwrap().to_owned();
        served.token = url.split_once("token=").unwrap().1.to_owned();
    }
    assert!(served.get("/").starts_with("HTTP/1.1 200"));
}
