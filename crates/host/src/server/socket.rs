//! The WebSocket of one page: who may open it, the handshake, and the passing on of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, ORIGIN};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use webnibble_common::wire::{
    AgentMessage, Envelope, ErrorCode, HostMessage, MAX_BINARY_BYTES, RemoteError, other_agent_version,
};

use super::page::{Connection, PageEvent};
use super::registry::Admission;
use super::shared::{Shared, lock};

/// Version of the agent that this host was built with: all of the repository has one.
const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a page may take for its `hello` after it opened the socket.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// Opens a socket to a page of ours; refuses any other.
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let origin = headers.get(ORIGIN).and_then(|value| value.to_str().ok());
    if !origin.is_some_and(|origin| shared.origins.iter().any(|allowed| allowed == origin)) {
        tracing::warn!("refused a socket from origin {origin:?}; expected one of {}", shared.origins.join(", "));
        return (StatusCode::FORBIDDEN, "this page may not open a socket here\n").into_response();
    }
    upgrade
        .max_message_size(MAX_BINARY_BYTES)
        .max_frame_size(MAX_BINARY_BYTES)
        .on_upgrade(move |socket| serve(socket, shared))
}

/// Serves one socket from its `hello` to its end.
async fn serve(mut socket: WebSocket, shared: Arc<Shared>) {
    let (hello_id, admission) = match admit(&mut socket, &shared).await {
        Ok(admitted) => admitted,
        Err((id, error)) => return refuse(socket, id, error).await,
    };
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (outbound, messages) = unbounded_channel();
    let Admission { events, resume_key, resumed } = admission;
    let connection = Connection { number, resume_key, hello_id, resumed, outbound };
    if events.send(PageEvent::Connected(connection)).is_err() {
        let error = RemoteError::new(ErrorCode::Unauthorized, "the session has ended", "open the URL of a new session");
        return refuse(socket, hello_id, error).await;
    }
    let (sink, stream) = socket.split();
    let reason = tokio::select! {
        reason = read(stream, number, &events) => reason,
        () = write(sink, messages) => "the session let go of the socket".to_owned(),
    };
    let _ = events.send(PageEvent::Closed { connection: number, reason });
}

/// Waits for `hello` and checks what it shows. Errors come with the id that they answer.
async fn admit(socket: &mut WebSocket, shared: &Shared) -> Result<(u64, Admission), (u64, RemoteError)> {
    let expected = |found: &str| RemoteError::new(ErrorCode::Protocol, format!("expected `hello`, found {found}"), "");
    let text = match tokio::time::timeout(HELLO_DEADLINE, socket.recv()).await {
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(Some(Ok(_))) => return Err((0, expected("a binary frame"))),
        Ok(Some(Err(error))) => return Err((0, expected(&error.to_string()))),
        Ok(None) => return Err((0, expected("the end of the socket"))),
        Err(_) => return Err((0, expected(&format!("nothing for {} s", HELLO_DEADLINE.as_secs())))),
    };
    let Envelope { id, body, .. } = match Envelope::<AgentMessage>::from_text(&text) {
        Ok(envelope) => envelope,
        Err(error) => {
            let hello: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            lock(&shared.registry).turn_away(hello["token"].as_str().unwrap_or_default(), &error);
            return Err((0, error));
        }
    };
    let AgentMessage::Hello { token, resume_key, agent_version } = body else {
        return Err((id, expected("another message")));
    };
    if agent_version != AGENT_VERSION {
        let error = other_agent_version(AGENT_VERSION, &agent_version);
        lock(&shared.registry).turn_away(&token, &error);
        return Err((id, error));
    }
    let admitted = lock(&shared.registry).admit(&token, resume_key.as_deref());
    admitted.map(|admission| (id, admission)).map_err(|error| (id, error))
}

/// Says why, and closes.
async fn refuse(mut socket: WebSocket, id: u64, error: RemoteError) {
    tracing::warn!("refused a page: {error}");
    let text = Envelope::new(id, HostMessage::Refused { error }).to_text().expect("refusals are short");
    // The page may be gone already, which is as good.
    let _ = socket.send(Message::Text(text.into())).await;
    let _ = socket.send(Message::Close(None)).await;
}

/// Passes on what the page sends, until the socket ends; returns why it did.
async fn read(mut stream: SplitStream<WebSocket>, connection: u64, events: &UnboundedSender<PageEvent>) -> String {
    loop {
        let event = match stream.next().await {
            Some(Ok(Message::Text(text))) => PageEvent::Text { connection, text: text.as_str().to_owned() },
            Some(Ok(Message::Binary(bytes))) => PageEvent::Binary { connection, bytes },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_))) | None => return "the page closed the socket".into(),
            Some(Err(error)) => return format!("the socket failed: {}", innermost(&error)),
        };
        if events.send(event).is_err() {
            return "the session ended".into();
        }
    }
}

/// The cause at the bottom: axum's own words say only that there was an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Sends what the session has for the page, until the session lets go or the socket fails.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut messages: UnboundedReceiver<Message>) {
    while let Some(message) = messages.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.send(Message::Close(None)).await;
}
