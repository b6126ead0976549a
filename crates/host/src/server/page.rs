//! A page as its session sees it: what comes of it, and the socket to it.

use axum::extract::ws::Message;
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use webnibble_common::wire::RemoteError;

/// What happens to a page, for its session.
#[derive(Debug)]
pub(crate) enum PageEvent {
    /// A page showed a valid token or key.
    Connected(Connection),
    /// A page showed a valid token, but cannot be talked to.
    TurnedAway { error: RemoteError },
    /// A text frame.
    Text { connection: u64, text: String },
    /// A binary frame.
    Binary { connection: u64, bytes: Bytes },
    /// A socket ended.
    Closed { connection: u64, reason: String },
}

/// The session's end of a socket. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Tells the sockets of one session apart.
    pub(crate) number: u64,
    /// Key with which the page may come back.
    pub(crate) resume_key: String,
    /// Id of the page's `hello`.
    pub(crate) hello_id: u64,
    /// Whether the page was here before.
    pub(crate) resumed: bool,
    pub(super) outbound: UnboundedSender<Message>,
}

impl Connection {
    /// Hands a message to the socket. It never waits: the session must go on keeping time while a page does not read,
    /// and the queue holds no more than the session's own requests. A closed socket says so by an event of its own.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.outbound.send(message);
    }
}
