//! One session: requests to the agent of one page, and their answers.
//!
//! [`Session`] is a handle; the session itself is one task that reads `Event`s (`event_loop`). Every request has a
//! deadline, so that nothing waits for a page that will never answer. A page that loses its socket may come back within
//! a grace period and finds its requests where they were; after that the session has ended for good.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use webnibble_common::capabilities::Capabilities;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{
    ErrorCode, HostMessage, LoadOptions, LoadReport, RemoteError, RunInput, RunOptions, RunReport, Stage, TensorInfo,
};

use crate::server::{Connection, Invitation, Server};

mod event_loop;

/// Called for every step of a request, from the session's task: it must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The request.
    pub request: u64,
    /// What is being done.
    pub stage: Stage,
    /// Done so far, in the stage's unit.
    pub done: u64,
    /// Of how many; 0 where unknown.
    pub total: u64,
}

/// How a session keeps time.
#[derive(Clone)]
pub struct SessionConfig {
    /// Either side pings after this much silence, and gives the socket up after three times as much.
    pub heartbeat: Duration,
    /// How long a page may be without a socket before its session ends.
    pub grace: Duration,
    /// Hears of progress.
    pub progress: Option<ProgressSink>,
}

impl Default for SessionConfig {
    /// A browser that was killed without a word is noticed after 4.5 + 3 s; one whose socket closes, after 3 s.
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(1500), grace: Duration::from_secs(3), progress: None }
    }
}

/// All that can happen to a session.
#[derive(Debug)]
pub(crate) enum Event {
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
    /// The browser died.
    BrowserGone { reason: String },
    /// The caller asks for something.
    Request(Request),
    /// The caller lost interest in a request.
    Cancel { request: u64 },
    /// The caller is done.
    Shutdown,
}

/// A request on its way to the page.
#[derive(Debug)]
pub(crate) struct Request {
    id: u64,
    body: HostMessage,
    /// Inputs that follow in binary frames.
    tensors: Vec<Tensor>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Answer, RemoteError>>,
}

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    Loaded(Box<LoadReport>),
    Ran(Box<RunReport>, Vec<(String, Tensor)>),
    Done,
    Pong,
}

/// What is known of the page.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// No page yet.
    Waiting,
    /// A page is there; what it can do is not known yet.
    Connected,
    /// The page can take requests.
    Ready(Arc<Capabilities>),
    /// The session is over.
    Ended(RemoteError),
}

/// A handle to a session. Dropping it ends the session.
#[derive(Debug)]
pub struct Session {
    events: UnboundedSender<Event>,
    state: watch::Receiver<State>,
    /// The next request's id. Its lock is held until the request is in the queue: the page takes ids that count up.
    next_id: Mutex<u64>,
    invitation: Invitation,
    page_url: String,
    task: JoinHandle<()>,
}

/// A request that was sent. Dropping it cancels the request.
#[derive(Debug)]
pub struct Pending<T> {
    id: u64,
    events: UnboundedSender<Event>,
    reply: Option<oneshot::Receiver<Result<Answer, RemoteError>>>,
    answer: PhantomData<T>,
}

/// Types that answer a request.
pub(crate) trait FromAnswer: Sized {
    fn from_answer(answer: Answer) -> Option<Self>;
}

/// Answer to `run`: the report, and each output by its name.
pub type RunOutcome = (RunReport, Vec<(String, Tensor)>);

impl FromAnswer for LoadReport {
    fn from_answer(answer: Answer) -> Option<Self> {
        if let Answer::Loaded(report) = answer { Some(*report) } else { None }
    }
}

impl FromAnswer for RunOutcome {
    fn from_answer(answer: Answer) -> Option<Self> {
        if let Answer::Ran(report, outputs) = answer { Some((*report, outputs)) } else { None }
    }
}

impl FromAnswer for () {
    fn from_answer(answer: Answer) -> Option<Self> {
        matches!(answer, Answer::Done | Answer::Pong).then_some(())
    }
}

impl Session {
    /// Opens a session that one page of `server` may enter.
    pub fn open(server: &Server, config: SessionConfig) -> Self {
        let (events, receiver) = unbounded_channel();
        let (state_sender, state) = watch::channel(State::Waiting);
        let invitation = server.invite(events.clone());
        let page_url = server.page_url(&invitation.token);
        let task = tokio::spawn(event_loop::run(config, receiver, state_sender));
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
        let settled = state.wait_for(|state| matches!(state, State::Ready(_) | State::Ended(_)));
        let found = match tokio::time::timeout(limit, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => State::Ended(ended()),
            Err(_) => return None,
        };
        match found {
            State::Ready(capabilities) => Some(Ok(capabilities)),
            State::Ended(error) => Some(Err(error)),
            State::Waiting | State::Connected => unreachable!("waited for the other states"),
        }
    }

    /// Whether a page came in, though it may not have told yet what it can do.
    pub fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), State::Connected | State::Ready(_))
    }

    /// Waits until the session is over, and says why.
    pub async fn ended(&self) -> RemoteError {
        let mut state = self.state.clone();
        match state.wait_for(|state| matches!(state, State::Ended(_))).await.as_deref() {
            Ok(State::Ended(error)) => error.clone(),
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
    pub fn run(&self, model: &str, input: RunInput, options: RunOptions, limit: Duration) -> Pending<RunOutcome> {
        self.run_with(model, input, Vec::new(), options, limit)
    }

    /// Runs a loaded model on tensors, by the names of the graph's inputs.
    pub fn run_tensors(
        &self,
        model: &str,
        inputs: Vec<(String, Tensor)>,
        options: RunOptions,
        limit: Duration,
    ) -> Pending<RunOutcome> {
        let info = |(name, tensor): &(String, Tensor)| TensorInfo {
            name: name.clone(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
        };
        let input = RunInput::Tensors { tensors: inputs.iter().map(info).collect() };
        let tensors = inputs.into_iter().map(|(_, tensor)| tensor).collect();
        self.run_with(model, input, tensors, options, limit)
    }

    fn run_with(
        &self,
        model: &str,
        input: RunInput,
        tensors: Vec<Tensor>,
        mut options: RunOptions,
        limit: Duration,
    ) -> Pending<RunOutcome> {
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
        let _ = self.events.send(Event::Request(request));
        drop(next_id);
        Pending { id, events: self.events.clone(), reply: Some(receiver), answer: PhantomData }
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

#[expect(private_bounds, reason = "only the answers of this module can be waited for")]
impl<T: FromAnswer> Pending<T> {
    /// Id of the request, as progress names it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Asks the page to stop. The request then ends in an error of code `cancelled`, unless it is done already.
    pub fn cancel(&self) {
        let _ = self.events.send(Event::Cancel { request: self.id });
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// What the page said; or that it is gone, or late.
    pub async fn wait(mut self) -> Result<T, RemoteError> {
        let reply = self.reply.as_mut().expect("taken only at the end of this function, which consumes it");
        let answer = reply.await.unwrap_or_else(|_| Err(ended()));
        self.reply = None;
        T::from_answer(answer?).ok_or_else(|| {
            RemoteError::new(ErrorCode::Protocol, "the page gave the answer of another kind of request", "")
        })
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if self.reply.is_some() {
            let _ = self.events.send(Event::Cancel { request: self.id });
        }
    }
}

/// The error of a session that is no more.
fn ended() -> RemoteError {
    RemoteError::new(ErrorCode::Disconnected, "the session with the page has ended", "")
}

#[cfg(test)]
mod tests;
