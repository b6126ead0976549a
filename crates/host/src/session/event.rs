//! What happens to a session, and what is known of its page.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, HostMessage, LoadReport, RemoteError, RunReport};

use crate::server::PageEvent;

/// All that can happen to a session.
#[derive(Debug)]
pub(super) enum Event {
    /// Something came of the page.
    Page(PageEvent),
    /// The browser died.
    BrowserGone { reason: String },
    /// The caller asks for something.
    Request(Box<Request>),
    /// The caller lost interest in a request.
    Cancel { request: u64 },
    /// The caller is done.
    Shutdown,
}

/// A request on its way to the page.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) body: HostMessage,
    /// Inputs that follow in binary frames.
    pub(super) tensors: Vec<Tensor>,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Answer, RemoteError>>,
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Box<LoadReport>),
    Ran(Box<RunReport>, Vec<(String, Tensor)>),
    Done,
    Pong,
}

/// What is known of the page.
#[derive(Clone, Debug)]
pub(super) enum PageState {
    /// No page yet.
    Waiting,
    /// A page is there; what it can do is not known yet.
    Connected,
    /// The page can take requests.
    Ready(Arc<Capabilities>),
    /// The session is over.
    Ended(RemoteError),
}

/// The error of a session that is no more.
pub(super) fn ended() -> RemoteError {
    RemoteError::new(ErrorCode::Disconnected, "the session with the page has ended", "")
}
