//! One session: requests to the agent of one page, and their answers.
//!
//! [`Session`] is a handle; the session itself is one task that reads `Event`s (`event_loop`). Every request has a
//! deadline, so that nothing waits for a page that will never answer. A page that loses its socket may come back within
//! a grace period and finds its requests where they were; after that the session has ended for good.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::io::Input;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, HostMessage, LoadOptions, LoadReport, RemoteError, RunOptions};

use crate::server::{Invitation, Server};

mod event;
mod event_loop;
mod pending;

use event::{Event, PageState, Request, ended};
pub use event_loop::{PartSink, Progress, ProgressSink, SessionConfig};
pub use pending::{Pending, RunOutcome};

/// A handle to a session. Dropping it ends the session.
#[derive(Debug)]
pub struct Session {
    events: UnboundedSender<Event>,
    state: watch::Receiver<PageState>,
    /// The next request's id. Its lock is held until the request is in the queue: the page takes ids that count up.
    next_id: Mutex<u64>,
    invitation: Invitation,
    page_url: String,
    task: JoinHandle<()>,
}

impl Session {
    /// Opens a session that one page of `server` may enter.
    pub fn open(server: &Server, config: SessionConfig) -> Self {
        let (events, receiver) = unbounded_channel();
        let (page_events, from_page) = unbounded_channel();
        let (state_sender, state) = watch::channel(PageState::Waiting);
        let invitation = server.invite(page_events);
        let page_url = server.page_url(&invitation.token);
        let task = tokio::spawn(event_loop::run(config, from_page, receiver, state_sender));
        Self { events, state, next_id: Mutex::new(1), invitation, page_url, task }
    }

    /// The URL that lets a page in, once.
    pub fn page_url(&self) -> &str {
        &self.page_url
    }

    /// The token of [`Session::page_url`].
    pub fn token(&self) -> &str {
        &self.invitation.token
    }

    /// Waits until the page told what it can do. `None` when it did not within `limit`.
    ///
    /// # Errors
    /// Fails when the session ended.
    pub async fn capabilities(&self, limit: Duration) -> Option<Result<Arc<Capabilities>, RemoteError>> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| matches!(state, PageState::Ready(_) | PageState::Ended(_)));
        let found = match tokio::time::timeout(limit, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => PageState::Ended(ended()),
            Err(_) => return None,
        };
        match found {
            PageState::Ready(capabilities) => Some(Ok(capabilities)),
            PageState::Ended(error) => Some(Err(error)),
            PageState::Waiting | PageState::Connected => unreachable!("waited for the other states"),
        }
    }

    /// Whether a page came in, though it may not have told yet what it can do.
    pub fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), PageState::Connected | PageState::Ready(_))
    }

    /// Waits until the session is over, and says why.
    pub async fn ended(&self) -> RemoteError {
        let mut state = self.state.clone();
        match state.wait_for(|state| matches!(state, PageState::Ended(_))).await.as_deref() {
            Ok(PageState::Ended(error)) => error.clone(),
            _ => ended(),
        }
    }

    /// Loads the package at `url` (relative to the page) under the name `model`.
    pub fn load(
        &self,
        model: &str,
        url: &str,
        digest: &str,
        mut options: LoadOptions,
        limit: Duration,
    ) -> Pending<LoadReport> {
        options.deadline_ms = Some(limit.as_millis() as u64);
        let body = HostMessage::Load { model: model.into(), url: url.into(), digest: digest.into(), options };
        self.request(body, Vec::new(), limit)
    }

    /// Runs a loaded model.
    pub fn run(&self, model: &str, input: Input, mut options: RunOptions, limit: Duration) -> Pending<RunOutcome> {
        let (input, tensors) = input.into_message();
        options.deadline_ms = Some(limit.as_millis() as u64);
        self.request(HostMessage::Run { model: model.into(), input, options }, tensors, limit)
    }

    /// Frees a model.
    pub fn unload(&self, model: &str, limit: Duration) -> Pending<()> {
        self.request(HostMessage::Unload { model: model.into() }, Vec::new(), limit)
    }

    /// Time of one round trip of a small message.
    ///
    /// # Errors
    /// Fails when the page does not answer within `limit`.
    pub async fn ping(&self, limit: Duration) -> Result<Duration, RemoteError> {
        let began = Instant::now();
        let pong: Pending<()> = self.request(HostMessage::Ping { payload: String::new() }, Vec::new(), limit);
        pong.wait().await?;
        Ok(began.elapsed())
    }

    /// Whether the page's Worker takes requests. The page itself answers pings, even while its Worker is stuck; so the Worker
    /// is asked to free a model that there is not, and any answer of its own will do.
    pub async fn takes_requests(&self, limit: Duration) -> bool {
        let silent = [ErrorCode::Deadline, ErrorCode::Disconnected];
        self.unload("", limit).wait().await.map_or_else(|error| !silent.contains(&error.code), |()| true)
    }

    fn request<T>(&self, body: HostMessage, tensors: Vec<Tensor>, limit: Duration) -> Pending<T> {
        let (reply, receiver) = oneshot::channel();
        let mut next_id = self.next_id.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *next_id;
        *next_id += 1;
        let request = Request { id, body, tensors, deadline: Instant::now() + limit, reply };
        // A session that has ended drops the request, and with it the reply: `wait` then says so.
        let _ = self.events.send(Event::Request(Box::new(request)));
        drop(next_id);
        Pending::new(id, self.events.clone(), receiver)
    }

    /// Tells the session that the browser died: every request fails at once.
    pub(crate) fn browser_gone(&self) -> impl FnOnce(String) + Send + 'static {
        let events = self.events.clone();
        move |reason| {
            let _ = events.send(Event::BrowserGone { reason });
        }
    }

    /// Tells the page that it is no longer needed, and ends the session.
    pub async fn shutdown(&self) {
        let _ = self.events.send(Event::Shutdown);
        self.ended().await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
