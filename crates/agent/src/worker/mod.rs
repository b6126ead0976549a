//! The Worker's half of the agent: it owns devices and models, and answers the host's requests.
//!
//! All that can happen is an [`Event`]; the loop takes one after another. Jobs run beside the loop, one at a time, so
//! that a cancel or a deadline is answered at once even while the GPU still works on what it was given.

use std::collections::{BTreeMap, VecDeque};

use futures_channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures_util::StreamExt;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use webnibble_common::io::{Input, TensorInfo};
use webnibble_common::wire::frame::{self, FrameAssembler, FrameError, FrameKind};
use webnibble_common::wire::{AgentMessage, Envelope, ErrorCode, HostMessage, RemoteError, RunOptions};

use crate::error::error;
use crate::panic;
use crate::stop::Stop;

mod jobs;
mod outbox;
mod sys;

use jobs::{Answer, Job, Workshop};

/// Everything that can happen to the Worker.
enum Event {
    /// A text frame of the host.
    Text(String),
    /// A binary frame of the host.
    Binary(Vec<u8>),
    /// A request was cancelled, or its deadline passed.
    Stopped { id: u64, reason: RemoteError },
    /// The job at hand ended, and gives the workshop back.
    Finished { id: u64, workshop: Workshop, result: Result<Answer, RemoteError> },
}

/// A run that waits for the tensors it is to run on.
struct Gathering {
    model: String,
    input: Input<TensorInfo>,
    options: RunOptions,
    assembler: FrameAssembler,
}

struct Session {
    events: UnboundedSender<Event>,
    /// There unless a job has it.
    workshop: Option<Workshop>,
    queue: VecDeque<(u64, Job, Stop)>,
    /// Requests that were not answered yet.
    open: BTreeMap<u64, Stop>,
    gathering: BTreeMap<u64, Gathering>,
}

/// Starts the Worker's half of the agent; called once by the Worker's script. Where it `detects`, it first tells the host what
/// the browser can do.
#[wasm_bindgen(js_name = startWorker)]
pub fn start_worker(detects: bool) {
    panic::install(outbox::report_panic);
    let (sender, receiver) = mpsc::unbounded();
    let inbox = sender.clone();
    sys::on_message(move |data| {
        let event = match data.as_string() {
            Some(text) => Event::Text(text),
            None => Event::Binary(Uint8Array::new(data.unchecked_ref::<ArrayBuffer>()).to_vec()),
        };
        post(&inbox, event);
    });
    let mut session = Session::new(sender);
    if detects {
        // Requests carry ids from 1 up: 0 is the page's own.
        session.submit(0, Job::Detect, Stop::new(None));
    }
    spawn_local(session.run(receiver));
}

/// The loop outlives everyone who has something for it.
fn post(events: &UnboundedSender<Event>, event: Event) {
    events.unbounded_send(event).expect("the loop runs as long as the Worker");
}

impl Session {
    fn new(events: UnboundedSender<Event>) -> Self {
        let workshop = Some(Workshop::default());
        Self { events, workshop, queue: VecDeque::new(), open: BTreeMap::new(), gathering: BTreeMap::new() }
    }

    async fn run(mut self, mut inbox: UnboundedReceiver<Event>) {
        while let Some(event) = inbox.next().await {
            match event {
                Event::Text(text) => self.text(&text),
                Event::Binary(bytes) => self.binary(&bytes),
                Event::Stopped { id, reason } => {
                    self.queue.retain(|(queued, ..)| *queued != id);
                    self.gathering.remove(&id);
                    self.answer(id, Err(reason));
                }
                Event::Finished { id, workshop, result } => {
                    self.workshop = Some(workshop);
                    self.answer(id, result);
                    self.next_job();
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        let Envelope { id, body, .. } = match serde_json::from_str::<Envelope<HostMessage>>(text) {
            Ok(envelope) => envelope,
            // The page answers what it cannot read; this would be a message that only one of the two can.
            Err(problem) => return outbox::log("error", format!("the Worker cannot read a message: {problem}")),
        };
        match body {
            HostMessage::Load { model, url, digest, options } => {
                let deadline = options.deadline_ms;
                self.request(id, deadline, |session, stop| {
                    session.submit(id, Job::Load { model, url, digest, options }, stop);
                });
            }
            HostMessage::Run { model, input, options } => {
                self.request(id, options.deadline_ms, |session, stop| {
                    session.run_request(id, model, input, options, stop);
                });
            }
            HostMessage::Unload { model } => {
                self.request(id, None, |session, stop| session.submit(id, Job::Unload { model }, stop));
            }
            HostMessage::Cancel { request } => {
                if let Some(stop) = self.open.get(&request) {
                    stop.because(error(ErrorCode::Cancelled, "the request was cancelled", ""));
                }
            }
            // The page's part of the session.
            HostMessage::Welcome { .. }
            | HostMessage::Refused { .. }
            | HostMessage::Ping { .. }
            | HostMessage::Pong { .. }
            | HostMessage::Shutdown => {}
        }
    }

    /// Opens a request, and watches for its deadline and for a cancel.
    fn request(&mut self, id: u64, deadline_ms: Option<u64>, begin: impl FnOnce(&mut Self, Stop)) {
        if self.open.contains_key(&id) {
            // Sent again after a broken socket, tensors and all.
            if let Some(run) = self.gathering.get_mut(&id) {
                run.assembler = FrameAssembler::new(FrameKind::Input, id);
            }
            return;
        }
        let stop = Stop::new(deadline_ms);
        self.open.insert(id, stop.clone());
        let (stopped, events) = (stop.stopped(), self.events.clone());
        spawn_local(async move {
            if let Some(reason) = stopped.await {
                post(&events, Event::Stopped { id, reason });
            }
        });
        begin(self, stop);
    }

    fn run_request(&mut self, id: u64, model: String, input: Input<TensorInfo>, options: RunOptions, stop: Stop) {
        if input.awaited().is_empty() {
            let input = input.with_tensors(Vec::new());
            return self.submit(id, Job::Run { model, input, options }, stop);
        }
        let assembler = FrameAssembler::new(FrameKind::Input, id);
        self.gathering.insert(id, Gathering { model, input, options, assembler });
    }

    fn binary(&mut self, bytes: &[u8]) {
        let frame = match frame::decode(bytes) {
            Ok(frame) => frame,
            Err(problem) => return outbox::send(0, AgentMessage::Error { error: protocol(&problem) }),
        };
        // Frames of a request that was answered already (cancelled, out of time) are of no more use.
        let Some(gathering) = self.gathering.get_mut(&frame.id) else { return };
        match gathering.assembler.push(frame) {
            Ok(()) => self.gathered(frame.id),
            Err(problem) => {
                self.gathering.remove(&frame.id);
                self.answer(frame.id, Err(protocol(&problem)));
            }
        }
    }

    /// Submits the run once all its tensors are there.
    fn gathered(&mut self, id: u64) {
        let complete = self.gathering.get(&id).is_some_and(|run| run.assembler.is_complete(run.input.awaited()));
        let (true, Some(stop)) = (complete, self.open.get(&id).cloned()) else { return };
        let Some(Gathering { model, input, options, assembler }) = self.gathering.remove(&id) else { return };
        match assembler.finish(input.awaited()) {
            Ok(values) => {
                let input = input.with_tensors(values);
                self.submit(id, Job::Run { model, input, options }, stop);
            }
            Err(problem) => self.answer(id, Err(protocol(&problem))),
        }
    }

    fn submit(&mut self, id: u64, job: Job, stop: Stop) {
        self.queue.push_back((id, job, stop));
        self.next_job();
    }

    /// Begins the next job, unless one is at work.
    fn next_job(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let Some(mut workshop) = self.workshop.take() else { return };
        let Some((id, job, stop)) = self.queue.pop_front() else { return };
        let events = self.events.clone();
        spawn_local(async move {
            let result = workshop.work(id, job, &stop).await;
            post(&events, Event::Finished { id, workshop, result });
        });
    }

    /// Answers a request, unless that was done already: one that was stopped may finish later.
    fn answer(&mut self, id: u64, result: Result<Answer, RemoteError>) {
        if self.open.remove(&id).is_none() && id != 0 {
            return;
        }
        match result {
            Ok(Answer { tensors, message }) => {
                outbox::send_tensors(id, &tensors);
                outbox::send(id, message);
            }
            Err(error) => outbox::send(id, AgentMessage::Error { error }),
        }
    }
}

fn protocol(problem: &FrameError) -> RemoteError {
    error(ErrorCode::Protocol, problem.to_string(), "")
}
