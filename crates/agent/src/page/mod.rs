//! The page's half of the agent: it keeps the session with the host, and passes requests on to the Worker.
//!
//! Everything that can happen is an [`Event`]; [`Page::handle`] takes one after another. The page computes nothing, so
//! that it always answers the host's heartbeat, and shows what goes through it.

use futures_channel::mpsc::{self, UnboundedSender};
use futures_util::StreamExt;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use webnibble_common::options::Engine;
use webnibble_common::wire::{AgentMessage, Envelope, ErrorCode, HostMessage, RemoteError};

use crate::capabilities::js_heap_limit_bytes;
use crate::error::{describe, error};
use crate::panic;
use crate::sys::now_ms;
use crate::tasks::Timer;

mod outgoing;
mod socket;
mod sys;
mod view;
mod worker;
mod workers;

use outgoing::Outgoing;
use socket::{Frame, Socket, SocketEvent};
pub use sys::{PageConfig, PageEventHandler};
use view::View;
use worker::WorkerEvent;
use workers::{Urls, Workers};

/// A socket that is not welcomed within this time is given up.
const HANDSHAKE_MS: f64 = 10_000.0;

/// Waits between attempts to connect: doubled each time, up to the last.
const FIRST_RETRY_MS: f64 = 250.0;
const LAST_RETRY_MS: f64 = 8_000.0;

/// After this long without a host the page stops asking for it.
const GIVE_UP_MS: f64 = 300_000.0;

/// Everything that can happen to the page.
enum Event {
    /// Something of the socket with that number; older ones no longer count.
    Socket(u32, SocketEvent),
    /// Something of the Worker with that number.
    Worker(u32, WorkerEvent),
    /// Time to look at the heartbeat.
    Beat,
    /// Time to connect again.
    Reconnect,
}

/// Where the session stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The socket is being opened, or waits for its welcome.
    Handshake,
    /// Messages flow.
    Open,
    /// The socket broke; another attempt is due.
    Lost,
    /// For good.
    Closed,
}

struct Page {
    socket_url: String,
    token: String,
    events: UnboundedSender<Event>,
    view: View,

    link: Link,
    socket: Option<Socket>,
    socket_number: u32,
    resume_key: Option<String>,
    heartbeat_ms: f64,
    heard_ms: f64,
    pinged: bool,
    attempts: i32,
    lost_ms: Option<f64>,
    /// What was sent since then may have been lost with the last socket.
    doubtful_since_ms: f64,
    timer: Option<Timer>,
    outgoing: Outgoing,

    workers: Workers,
    /// The latest request: the host counts up.
    last_id: u64,
    sent_capabilities: bool,
}

/// Opens the session with the host and starts our Worker. `onEvent` is told what happens, for the page to show.
#[wasm_bindgen(js_name = startPage)]
pub fn start_page(config: &PageConfig, #[wasm_bindgen(js_name = onEvent)] on_event: PageEventHandler) {
    panic::install(|_| {});
    let (events, mut inbox) = mpsc::unbounded();
    let urls = Urls { native: config.worker_url(), transformers_js: config.transformers_js_worker_url() };
    let told = events.clone();
    let workers = Workers::new(urls, config.module(), move |number, event| post(&told, Event::Worker(number, event)));
    let mut page = Page {
        socket_url: config.socket_url(),
        token: config.token(),
        events,
        view: View::new(on_event),
        link: Link::Lost,
        socket: None,
        socket_number: 0,
        resume_key: None,
        heartbeat_ms: HANDSHAKE_MS,
        heard_ms: 0.0,
        pinged: false,
        attempts: 0,
        lost_ms: None,
        doubtful_since_ms: 0.0,
        timer: None,
        outgoing: Outgoing::default(),
        workers,
        last_id: 0,
        sent_capabilities: false,
    };
    spawn_local(async move {
        page.start_worker(Engine::Native);
        page.connect();
        while let Some(event) = inbox.next().await {
            page.handle(event);
        }
    });
}

impl Page {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Socket(number, _) if number != self.socket_number => {}
            Event::Socket(_, SocketEvent::Opened) => self.say_hello(),
            Event::Socket(_, SocketEvent::Text(text)) => self.host_says(text),
            Event::Socket(_, SocketEvent::Binary(bytes)) => {
                self.heard();
                self.workers.pass_binary(bytes);
            }
            Event::Socket(_, SocketEvent::Closed(reason)) => self.lose(&reason),
            Event::Worker(number, event) => match (self.workers.engine_of(number), event) {
                (Some(_), WorkerEvent::Frame(frame)) => self.worker_says(&frame),
                (Some(engine), WorkerEvent::Failed(reason)) => self.worker_failed(engine, &reason),
                (None, _) => {}
            },
            Event::Beat => self.beat(),
            Event::Reconnect => self.connect(),
        }
    }

    // The socket.

    fn connect(&mut self) {
        self.link = Link::Handshake;
        self.socket_number += 1;
        self.view.connection("connecting", &self.socket_url, "");
        let (events, number) = (self.events.clone(), self.socket_number);
        match Socket::connect(&self.socket_url, move |event| post(&events, Event::Socket(number, event))) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.heard();
                self.beat_in(HANDSHAKE_MS);
            }
            // Only an address that is none fails at once, and it will not get better.
            Err(thrown) => self.close("refused", &describe(&thrown), ""),
        }
    }

    fn say_hello(&mut self) {
        let token = if self.resume_key.is_some() { String::new() } else { self.token.clone() };
        let agent_version = env!("CARGO_PKG_VERSION").to_owned();
        let hello = AgentMessage::Hello { token, resume_key: self.resume_key.clone(), agent_version };
        self.send_now(&Frame::of(0, hello));
    }

    /// The connection broke: another is tried, after a while.
    fn lose(&mut self, reason: &str) {
        if self.link == Link::Closed {
            return;
        }
        if self.link == Link::Open {
            // The host was there when it was last heard; a beat more is for what was on its way then.
            self.doubtful_since_ms = self.heard_ms - self.heartbeat_ms;
        }
        self.socket = None;
        self.link = Link::Lost;
        let lost_ms = *self.lost_ms.get_or_insert_with(now_ms);
        if now_ms() - lost_ms > GIVE_UP_MS {
            return self.close("closed", "the host is gone", "open the address that a new one prints");
        }
        let wait_ms = (FIRST_RETRY_MS * 2f64.powi(self.attempts)).min(LAST_RETRY_MS);
        self.attempts += 1;
        let detail = format!("The host cannot be reached ({reason}). Trying again in {:.1} s.", wait_ms / 1000.0);
        self.view.connection("lost", &detail, "");
        let events = self.events.clone();
        self.timer = Some(Timer::after(wait_ms, move || post(&events, Event::Reconnect)));
    }

    /// Ends the session for good.
    fn close(&mut self, state: &str, detail: &str, hint: &str) {
        self.link = Link::Closed;
        self.socket = None;
        self.timer = None;
        self.workers.end();
        self.view.connection(state, detail, hint);
    }

    // The heartbeat.

    fn heard(&mut self) {
        self.heard_ms = now_ms();
        self.pinged = false;
    }

    fn beat_in(&mut self, delay_ms: f64) {
        let events = self.events.clone();
        self.timer = Some(Timer::after(delay_ms, move || post(&events, Event::Beat)));
    }

    /// Pings a host that was silent for one beat, and gives it up after three.
    fn beat(&mut self) {
        let silent_ms = now_ms() - self.heard_ms;
        match self.link {
            Link::Handshake if silent_ms >= HANDSHAKE_MS => return self.lose("the host did not answer"),
            Link::Open if silent_ms >= 3.0 * self.heartbeat_ms => {
                return self.lose(&format!("nothing heard for {:.0} s", silent_ms / 1000.0));
            }
            Link::Open if silent_ms >= self.heartbeat_ms && !self.pinged => {
                self.pinged = true;
                self.send_now(&Frame::of(0, AgentMessage::Ping { payload: String::new() }));
            }
            Link::Handshake | Link::Open => {}
            Link::Lost | Link::Closed => return,
        }
        self.beat_in(self.heartbeat_ms / 2.0);
    }

    // Messages.

    fn host_says(&mut self, text: String) {
        self.heard();
        let Envelope { id, body, .. } = match read(&text) {
            Ok(envelope) => envelope,
            Err((0, problem)) => return self.send_once(&Frame::of(0, AgentMessage::Error { error: problem })),
            Err((id, problem)) => return self.send(id, &Frame::of(id, AgentMessage::Error { error: problem })),
        };
        match body {
            HostMessage::Welcome { resume_key, heartbeat_ms } => self.welcomed(resume_key, heartbeat_ms as f64),
            HostMessage::Refused { error } => self.close("refused", &error.message, &error.hint),
            HostMessage::Ping { payload } => self.send_now(&Frame::of(id, AgentMessage::Pong { payload })),
            HostMessage::Pong { .. } => {}
            HostMessage::Shutdown => self.close("closed", "the host ended it", ""),
            HostMessage::Load { .. } | HostMessage::Run { .. } | HostMessage::Unload { .. } => {
                self.request(id, &body, text);
            }
            HostMessage::Cancel { request } => self.workers.pass_text(request, text),
        }
    }

    /// Passes a request on. After a resume the host sends again what may have been lost: an answered request is not
    /// done twice, and an open one is left to the Worker, which may lack some of its tensors.
    fn request(&mut self, id: u64, body: &HostMessage, text: String) {
        if id > self.last_id {
            self.last_id = id;
            self.view.message("request", &text);
            let engine = self.workers.assign(id, body);
            self.start_worker(engine);
        }
        self.workers.pass_text(id, text);
    }

    fn welcomed(&mut self, resume_key: String, heartbeat_ms: f64) {
        self.link = Link::Open;
        self.resume_key = Some(resume_key);
        self.heartbeat_ms = heartbeat_ms;
        self.attempts = 0;
        self.lost_ms = None;
        self.view.connection("open", &self.socket_url, "");
        for (id, frame) in self.outgoing.take_up(self.doubtful_since_ms) {
            self.send(id, &frame);
        }
        self.beat_in(heartbeat_ms / 2.0);
    }

    /// Sends a frame about request `id` now, or when the session is open again; once more if it may have been lost.
    fn send(&mut self, id: u64, frame: &Frame) {
        self.outgoing.keep(id, frame.clone(), now_ms(), self.link == Link::Open);
        if self.link == Link::Open {
            self.send_now(frame);
        }
    }

    /// The same, but never twice: about no request there is no id to tell a repetition by.
    fn send_once(&mut self, frame: &Frame) {
        match self.link {
            Link::Open => self.send_now(frame),
            _ => self.outgoing.keep(0, frame.clone(), now_ms(), false),
        }
    }

    /// Sends a frame that only means something on this socket.
    fn send_now(&self, frame: &Frame) {
        if let Some(socket) = &self.socket {
            socket.send(frame);
        }
    }

    // The Workers.

    /// Starts the Worker of an engine, unless it runs already. One that cannot be started answers nothing that is open.
    fn start_worker(&mut self, engine: Engine) {
        if let Err(thrown) = self.workers.start(engine) {
            self.answer_for(engine, &format!("it cannot start: {}", describe(&thrown)));
        }
    }

    fn worker_says(&mut self, frame: &Frame) {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => {
                let id = self.view.output(bytes);
                return self.send(id, frame);
            }
        };
        let Ok(Envelope::<AgentMessage> { id, body, .. }) = serde_json::from_str(text) else { return };
        if Workers::is_own(id) {
            // The page freed a model of the same name in another Worker: nobody waits for that.
            return;
        }
        self.view.message("message", text);
        match body {
            // A Worker that was started again tells once more what the host knows.
            AgentMessage::Capabilities { .. } if std::mem::replace(&mut self.sent_capabilities, true) => {}
            AgentMessage::Capabilities { mut capabilities } => {
                let known = &mut capabilities.memory.js_heap_limit_bytes;
                *known = known.or_else(js_heap_limit_bytes);
                // Without it the host would wait for ever, and it does no harm twice.
                self.send(0, &Frame::of(0, AgentMessage::Capabilities { capabilities }));
            }
            // Of no use once it is late.
            AgentMessage::Progress { .. } if self.link == Link::Open => self.send_now(frame),
            AgentMessage::Progress { .. } => {}
            body => {
                if ends_request(&body) {
                    self.workers.close(id);
                }
                match id {
                    0 => self.send_once(frame),
                    id => self.send(id, frame),
                }
            }
        }
    }

    /// Answers what a Worker leaves open. Ours is started again, that of transformers.js when it is asked for.
    fn worker_failed(&mut self, engine: Engine, reason: &str) {
        self.answer_for(engine, reason);
        // A Worker that never said a word would fail the same way again, for ever.
        if engine == Engine::Native && self.sent_capabilities {
            self.start_worker(engine);
        }
    }

    /// Answers what the Worker of an engine leaves open.
    fn answer_for(&mut self, engine: Engine, reason: &str) {
        let message = format!("the page's Worker stopped: {reason}");
        let hint = "its models are lost: load them again; if it happens again, report it with this message";
        self.view.worker(&message);
        let problem = error(ErrorCode::Internal, message, hint);
        let open = self.workers.lose(engine);
        if open.is_empty() {
            self.send_once(&Frame::of(0, AgentMessage::Error { error: problem.clone() }));
        }
        for id in open {
            self.send(id, &Frame::of(id, AgentMessage::Error { error: problem.clone() }));
        }
    }
}

/// The loop outlives everyone who has something for it.
fn post(events: &UnboundedSender<Event>, event: Event) {
    events.unbounded_send(event).expect("the loop runs as long as the page");
}

fn ends_request(body: &AgentMessage) -> bool {
    use AgentMessage::{Done, Error, Loaded, Ran};
    matches!(body, Loaded { .. } | Ran { .. } | Done | Error { .. })
}

/// Reads a host's message; on failure the id to answer to, as far as it can be read, and what is wrong.
fn read(text: &str) -> Result<Envelope<HostMessage>, (u64, RemoteError)> {
    Envelope::from_text(text).map_err(|problem| {
        let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
        (value.and_then(|value| value.get("id")?.as_u64()).unwrap_or(0), problem)
    })
}
