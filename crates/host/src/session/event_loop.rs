//! The task behind a session: one loop over one kind of event, how it keeps time, and who hears of progress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Message;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use webnibble_common::generate::Part;
use webnibble_common::wire::frame::{self, FrameAssembler, FrameKind};
use webnibble_common::wire::{
    AgentMessage, Envelope, ErrorCode, HostMessage, RemoteError, RunReport, Stage, TensorInfo, put_times,
};

use super::event::{Answer, Event, PageState, Request, ended};
use crate::server::{Connection, PageEvent};

/// How often silence and deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Silence, in heartbeats, after which a socket is given up.
const HEARTBEATS_UNTIL_LOST: u32 = 3;

/// How much later than the page the host gives a request up: the page's own words say more.
const DEADLINE_SLACK: Duration = Duration::from_secs(1);

/// How long the page may take to stop a cancelled request.
const CANCEL_LIMIT: Duration = Duration::from_secs(2);

/// Id of messages that are about no request; requests count from 1.
const NO_REQUEST: u64 = 0;

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

/// Called for every piece of what a request generates, in order and each once, from the session's task: it must not block.
pub type PartSink = Arc<dyn Fn(&Part) + Send + Sync>;

/// How a session keeps time.
#[derive(Clone)]
pub struct SessionConfig {
    /// Either side pings after this much silence, and gives the socket up after three times as much.
    pub heartbeat: Duration,
    /// How long a page may be without a socket before its session ends.
    pub grace: Duration,
    /// Hears of progress.
    pub progress: Option<ProgressSink>,
    /// Hears what is generated.
    pub parts: Option<PartSink>,
}

impl Default for SessionConfig {
    /// A browser that was killed without a word is noticed after 4.5 + 3 s; one whose socket closes, after 3 s.
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(1500), grace: Duration::from_secs(3), progress: None, parts: None }
    }
}

/// A request that waits for its answer.
struct Waiting {
    reply: oneshot::Sender<Result<Answer, RemoteError>>,
    /// The request's frames, to be sent again to a page that comes back.
    messages: Vec<Message>,
    /// When they were handed to a socket.
    sent: Option<Instant>,
    /// Whether the page was heard working on it.
    seen: bool,
    /// Outputs so far.
    frames: FrameAssembler,
    /// Pieces so far of what is generated.
    parts: u64,
    deadline: Instant,
    /// Why it is given up at its deadline.
    late: ErrorCode,
}

struct Loop {
    config: SessionConfig,
    state: watch::Sender<PageState>,
    connection: Option<Connection>,
    last_heard: Instant,
    ping_sent: bool,
    /// Since when the page is without a socket, and why.
    lost: Option<(Instant, String)>,
    waiting: BTreeMap<u64, Waiting>,
    over: bool,
}

/// Serves a session until it ends: `from_page` has what the server sees of the page, `events` what the caller wants.
/// Dropping their senders, or the last receiver of `state`, ends nothing: the handle aborts this task.
pub(super) async fn run(
    config: SessionConfig,
    mut from_page: UnboundedReceiver<PageEvent>,
    mut events: UnboundedReceiver<Event>,
    state: watch::Sender<PageState>,
) {
    let mut session = Loop {
        config,
        state,
        connection: None,
        last_heard: Instant::now(),
        ping_sent: false,
        lost: None,
        waiting: BTreeMap::new(),
        over: false,
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_tick = Instant::now();
    while !session.over {
        let event = tokio::select! {
            // What was heard counts before silence does.
            biased;
            event = from_page.recv() => event.map(Event::Page),
            event = events.recv() => event,
            _ = ticks.tick() => {
                // A host that slept (a suspended laptop, a stopped process) heard nothing, but not for want of words.
                if last_tick.elapsed() > session.config.heartbeat {
                    session.last_heard = Instant::now();
                }
                last_tick = Instant::now();
                session.tick();
                continue;
            }
        };
        match event {
            Some(event) => session.handle(event),
            None => return,
        }
    }
}

impl Loop {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Page(event) => self.hear(event),
            Event::BrowserGone { reason } => self.end(&disconnected(reason)),
            Event::Request(request) => self.request(*request),
            Event::Cancel { request } => self.cancel(request),
            Event::Shutdown => {
                self.send(NO_REQUEST, HostMessage::Shutdown);
                self.end(&ended());
            }
        }
    }

    fn hear(&mut self, event: PageEvent) {
        match event {
            PageEvent::Connected(connection) => self.connect(connection),
            PageEvent::TurnedAway { error } => self.end(&error),
            PageEvent::Text { connection, text } if self.is_current(connection) => self.hear_text(&text),
            PageEvent::Binary { connection, bytes } if self.is_current(connection) => self.hear_binary(&bytes),
            PageEvent::Closed { connection, reason } if self.is_current(connection) => self.lose(reason),
            // Words of a socket that was replaced.
            PageEvent::Text { .. } | PageEvent::Binary { .. } | PageEvent::Closed { .. } => {}
        }
    }

    fn is_current(&self, number: u64) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.number == number)
    }

    fn connect(&mut self, connection: Connection) {
        let (number, resumed) = (connection.number, connection.resumed);
        tracing::debug!("socket {number}: the agent {}", if resumed { "is back" } else { "is here" });
        let (resume_key, hello_id) = (connection.resume_key.clone(), connection.hello_id);
        let heartbeat_ms = self.config.heartbeat.as_millis() as u64;
        let lost_with_socket = self.last_heard;
        self.connection = Some(connection);
        (self.last_heard, self.ping_sent, self.lost) = (Instant::now(), false, None);
        self.send(hello_id, HostMessage::Welcome { resume_key, heartbeat_ms });
        self.send_again_what_is_in_doubt(lost_with_socket);
        self.state.send_if_modified(|state| {
            let is_first = matches!(state, PageState::Waiting);
            if is_first {
                *state = PageState::Connected;
            }
            is_first
        });
    }

    /// Sends what the page may not have got before its last socket broke. A socket that breaks does not say what still
    /// arrived: what was sent after the page was last heard is sent again, and the page knows requests by their ids.
    /// The page for its part sends its answers again, whole.
    fn send_again_what_is_in_doubt(&mut self, heard_before: Instant) {
        let mut cancelled = Vec::new();
        for (id, waiting) in &mut self.waiting {
            waiting.frames = FrameAssembler::new(FrameKind::Output, *id);
            let doubtful = !waiting.seen && waiting.sent.is_none_or(|sent| sent + self.config.heartbeat > heard_before);
            if let (Some(connection), true) = (&self.connection, doubtful) {
                waiting.messages.iter().cloned().for_each(|message| connection.send(message));
                waiting.sent = Some(Instant::now());
            }
            if waiting.late == ErrorCode::Cancelled {
                cancelled.push(*id);
            }
        }
        cancelled.into_iter().for_each(|request| self.send(NO_REQUEST, HostMessage::Cancel { request }));
    }

    fn heard(&mut self) {
        (self.last_heard, self.ping_sent) = (Instant::now(), false);
    }

    fn hear_text(&mut self, text: &str) {
        self.heard();
        let Envelope { id, body, .. } = match Envelope::<AgentMessage>::from_text(text) {
            Ok(envelope) => envelope,
            Err(error) => return self.violated(error),
        };
        match body {
            AgentMessage::Capabilities { capabilities } => {
                self.state.send_replace(PageState::Ready(Arc::from(capabilities)));
            }
            AgentMessage::Progress { stage, done, total } => {
                let Some(waiting) = self.waiting.get_mut(&id) else { return };
                waiting.seen = true;
                if let Some(sink) = &self.config.progress {
                    sink(Progress { request: id, stage, done, total });
                }
            }
            AgentMessage::Part { index, part } => self.hear_part(id, index, &part),
            AgentMessage::Loaded { report } => self.answer(id, |_| Ok(Answer::Loaded(report))),
            AgentMessage::Ran { report, times } => self.answer(id, |frames| ran(report, &times, frames)),
            AgentMessage::Done => self.answer(id, |_| Ok(Answer::Done)),
            AgentMessage::Pong { .. } => self.answer(id, |_| Ok(Answer::Pong)),
            AgentMessage::Error { error } if id == 0 => self.page_failed(&error),
            AgentMessage::Error { error } => self.answer(id, |_| Err(error)),
            AgentMessage::Ping { payload } => self.send(id, HostMessage::Pong { payload }),
            AgentMessage::Log { level, message } => log(&level, &message),
            AgentMessage::Hello { .. } => {
                self.violated(RemoteError::new(ErrorCode::Protocol, "found a second `hello` on one socket", ""));
            }
        }
    }

    /// Passes a piece on. A page that came back sends again what may have been lost.
    fn hear_part(&mut self, id: u64, index: u64, part: &Part) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        waiting.seen = true;
        if index < waiting.parts {
            return;
        }
        if index > waiting.parts {
            let message = format!("piece {} of request {id} should come, found {index}", waiting.parts);
            return self.violated(RemoteError::new(ErrorCode::Protocol, message, ""));
        }
        waiting.parts += 1;
        if let Some(sink) = &self.config.parts {
            sink(part);
        }
    }

    fn hear_binary(&mut self, bytes: &[u8]) {
        self.heard();
        let pushed = frame::decode(bytes).and_then(|frame| match self.waiting.get_mut(&frame.id) {
            Some(waiting) => waiting.frames.push(frame),
            // The end of a request that was given up.
            None => Ok(()),
        });
        if let Err(error) = pushed {
            self.violated(RemoteError::new(ErrorCode::Protocol, error.to_string(), ""));
        }
    }

    /// Ends a request. Answers of requests that were given up are no news.
    fn answer(&mut self, id: u64, answer: impl FnOnce(FrameAssembler) -> Result<Answer, RemoteError>) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // Whoever asked may have lost interest.
            let _ = waiting.reply.send(answer(waiting.frames));
        }
    }

    fn request(&mut self, request: Request) {
        let Request { id, body, tensors, deadline, reply } = request;
        tracing::debug!("request {id}: {}", name_of(&body));
        let text = match Envelope::new(id, body).to_text() {
            Ok(text) => text,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let mut messages = vec![Message::Text(text.into())];
        for (part, tensor) in tensors.iter().enumerate() {
            let bytes = tensor.to_le_bytes();
            let frames = frame::split(FrameKind::Input, id, part as u32, &bytes);
            messages.extend(frames.map(|bytes| Message::Binary(bytes.into())));
        }
        let mut sent = None;
        if let Some(connection) = &self.connection {
            messages.iter().cloned().for_each(|message| connection.send(message));
            sent = Some(Instant::now());
        }
        let frames = FrameAssembler::new(FrameKind::Output, id);
        let (deadline, late) = (deadline + DEADLINE_SLACK, ErrorCode::Deadline);
        self.waiting.insert(id, Waiting { reply, messages, sent, seen: false, frames, parts: 0, deadline, late });
    }

    fn cancel(&mut self, id: u64) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if waiting.late == ErrorCode::Cancelled {
            return;
        }
        waiting.late = ErrorCode::Cancelled;
        waiting.deadline = Instant::now() + CANCEL_LIMIT;
        self.send(NO_REQUEST, HostMessage::Cancel { request: id });
    }

    /// Sends a message of the session itself, which means nothing on a later socket.
    fn send(&self, id: u64, body: HostMessage) {
        let text = Envelope::new(id, body).to_text().expect("messages of the session itself are short");
        if let Some(connection) = &self.connection {
            connection.send(Message::Text(text.into()));
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let silence = now - self.last_heard;
        if self.connection.is_some() {
            if silence > self.config.heartbeat * HEARTBEATS_UNTIL_LOST {
                self.lose(format!("the page was silent for {} ms", silence.as_millis()));
            } else if silence > self.config.heartbeat && !self.ping_sent {
                self.ping_sent = true;
                self.send(NO_REQUEST, HostMessage::Ping { payload: String::new() });
            }
        }
        if let Some((since, reason)) = &self.lost
            && now - *since > self.config.grace
        {
            let error = disconnected(format!("the page is gone: {reason}"));
            return self.end(&error);
        }
        self.give_up_late(now);
    }

    fn give_up_late(&mut self, now: Instant) {
        let late: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline < now).map(|(id, _)| *id).collect();
        for id in late {
            let code = self.waiting[&id].late;
            if code == ErrorCode::Deadline {
                self.send(NO_REQUEST, HostMessage::Cancel { request: id });
            }
            let message = match code {
                ErrorCode::Cancelled => "the request was cancelled",
                _ => "the page did not answer before the deadline of the request",
            };
            self.answer(id, |_| Err(RemoteError::new(code, message, "")));
        }
    }

    /// The socket is gone; the page may come back.
    fn lose(&mut self, reason: String) {
        tracing::debug!("the page lost its socket: {reason}");
        self.connection = None;
        self.lost = Some((Instant::now(), reason));
    }

    /// The page broke the protocol: what it sends next cannot be trusted, nor what it sent in part.
    fn violated(&mut self, error: RemoteError) {
        self.fail_all(&error);
        self.lose(error.message);
    }

    fn page_failed(&mut self, error: &RemoteError) {
        tracing::debug!("the page failed: {error}");
        self.fail_all(error);
        if !matches!(*self.state.borrow(), PageState::Ready(_)) {
            // A page that cannot even say what it can do will not get better.
            self.end(error);
        }
    }

    fn fail_all(&mut self, error: &RemoteError) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
    }

    fn end(&mut self, error: &RemoteError) {
        self.fail_all(error);
        self.connection = None;
        self.over = true;
        self.state.send_replace(PageState::Ended(error.clone()));
    }
}

/// The answer to `run`: the report and the tensors that went before it, outputs first.
fn ran(mut report: Box<RunReport>, times: &[TensorInfo], frames: FrameAssembler) -> Result<Answer, RemoteError> {
    let tensors = frames.finish(&[&report.outputs[..], times].concat());
    let mut tensors = tensors.map_err(|error| RemoteError::new(ErrorCode::Protocol, error.to_string(), ""))?;
    let measured = tensors.split_off(report.outputs.len());
    put_times(&mut report, times, &measured)?;
    let names = report.outputs.iter().map(|info| info.name.clone());
    let outputs = names.zip(tensors).collect();
    Ok(Answer::Ran(report, outputs))
}

/// What a request asks for, for the log.
fn name_of(body: &HostMessage) -> &'static str {
    match body {
        HostMessage::Load { .. } => "load",
        HostMessage::Run { .. } => "run",
        HostMessage::Unload { .. } => "unload",
        HostMessage::Ping { .. } => "ping",
        _ => "other",
    }
}

fn disconnected(message: String) -> RemoteError {
    let hint =
        "a tab that runs out of memory is closed by the browser: fewer bits need less; --verbose shows its output";
    RemoteError::new(ErrorCode::Disconnected, message, hint)
}

fn log(level: &str, message: &str) {
    match level {
        "error" => tracing::error!(target: "page", "{message}"),
        "warn" => tracing::warn!(target: "page", "{message}"),
        "info" => tracing::info!(target: "page", "{message}"),
        _ => tracing::debug!(target: "page", "{message}"),
    }
}
