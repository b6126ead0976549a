//! The page's Workers: which of them has a model, and which has a request.
//!
//! Ours computes from the page's start. transformers.js has one of its own, which is started when it is first asked for:
//! onnxruntime makes functions from text, and only the policy of that Worker's script allows it to.

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array, WebAssembly};
use wasm_bindgen::JsValue;
use webnibble_common::options::Engine;
use webnibble_common::wire::frame::{self, HEADER_BYTES};
use webnibble_common::wire::{Envelope, HostMessage};

use super::socket::Frame;
use super::worker::{Worker, WorkerEvent};

/// Ids from here on are of requests that the page itself makes; those of the host count up from 1.
const OWN_IDS: u64 = u64::MAX / 2;

/// Where the scripts of the Workers lie.
pub(super) struct Urls {
    pub(super) native: String,
    pub(super) transformers_js: String,
}

/// Tells what a Worker said, by its number.
type Tell = Rc<dyn Fn(u32, WorkerEvent)>;

/// The Workers that run, and what they have.
pub(super) struct Workers {
    urls: Urls,
    module: WebAssembly::Module,
    tell: Tell,
    native: Option<Running>,
    transformers_js: Option<Running>,
    /// Workers that were started so far.
    started: u32,
    /// Requests that were not answered yet.
    open: BTreeMap<u64, Engine>,
    /// Models by their names, from when they are asked for.
    models: BTreeMap<String, Engine>,
    /// Who had the last request. Whoever asks for a model that there is not wants to know whether that one still answers.
    last: Engine,
    next_own_id: u64,
}

struct Running {
    number: u32,
    worker: Worker,
}

impl Workers {
    pub(super) fn new(urls: Urls, module: WebAssembly::Module, tell: impl Fn(u32, WorkerEvent) + 'static) -> Self {
        Self {
            urls,
            module,
            tell: Rc::new(tell),
            native: None,
            transformers_js: None,
            started: 0,
            open: BTreeMap::new(),
            models: BTreeMap::new(),
            last: Engine::Native,
            next_own_id: OWN_IDS,
        }
    }

    /// Starts the Worker of an engine, unless it runs already.
    pub(super) fn start(&mut self, engine: Engine) -> Result<(), JsValue> {
        if self.running(engine).is_some() {
            return Ok(());
        }
        self.started += 1;
        let (number, tell) = (self.started, Rc::clone(&self.tell));
        let url = match engine {
            Engine::Native => &self.urls.native,
            Engine::TransformersJs => &self.urls.transformers_js,
        };
        let worker = Worker::start(url, &self.module, move |event| tell(number, event))?;
        *self.place(engine) = Some(Running { number, worker });
        Ok(())
    }

    /// The engine whose Worker has this number; none once another runs in its place.
    pub(super) fn engine_of(&self, number: u32) -> Option<Engine> {
        let is_it = |engine: &Engine| self.running(*engine).is_some_and(|running| running.number == number);
        [Engine::Native, Engine::TransformersJs].into_iter().find(is_it)
    }

    /// Gives a request of the host to an engine, and says to which. A model that another engine has under the same name
    /// gives its memory back.
    pub(super) fn assign(&mut self, id: u64, request: &HostMessage) -> Engine {
        let engine = match request {
            HostMessage::Load { model, options, .. } => {
                let before = self.models.insert(model.clone(), options.engine);
                if let Some(other) = before.filter(|other| *other != options.engine) {
                    self.unload(other, model.clone());
                }
                options.engine
            }
            HostMessage::Run { model, .. } | HostMessage::Unload { model } => {
                self.models.get(model).copied().unwrap_or(self.last)
            }
            _ => self.last,
        };
        self.last = engine;
        self.open.insert(id, engine);
        engine
    }

    fn unload(&mut self, engine: Engine, model: String) {
        self.next_own_id += 1;
        let unload = Envelope::new(self.next_own_id, HostMessage::Unload { model });
        if let (Some(running), Ok(text)) = (self.running(engine), unload.to_text()) {
            running.worker.send(&Frame::Text(text));
        }
    }

    /// Whether the page itself asked, and not the host.
    pub(super) fn is_own(id: u64) -> bool {
        id > OWN_IDS
    }

    /// Passes a text on that is about a request; nothing of one that was answered.
    pub(super) fn pass_text(&self, id: u64, text: String) {
        self.pass(id, &Frame::Text(text));
    }

    /// Passes tensor bytes on to who has their request.
    pub(super) fn pass_binary(&self, bytes: ArrayBuffer) {
        let header = Uint8Array::new(&bytes).subarray(0, HEADER_BYTES as u32).to_vec();
        // Too short for a header: whoever computes says so.
        let id = header.try_into().map(|header| frame::request_of(&header).0);
        match id {
            Ok(id) => self.pass(id, &Frame::Binary(bytes)),
            Err(_) => self.send(Engine::Native, &Frame::Binary(bytes)),
        }
    }

    fn pass(&self, id: u64, frame: &Frame) {
        if let Some(engine) = self.open.get(&id) {
            self.send(*engine, frame);
        }
    }

    fn send(&self, engine: Engine, frame: &Frame) {
        if let Some(running) = self.running(engine) {
            running.worker.send(frame);
        }
    }

    /// A request was answered.
    pub(super) fn close(&mut self, id: u64) {
        self.open.remove(&id);
    }

    /// The Worker of an engine is of no more use: its models are gone, and these requests were not answered.
    pub(super) fn lose(&mut self, engine: Engine) -> Vec<u64> {
        *self.place(engine) = None;
        self.models.retain(|_, has| *has != engine);
        let lost: Vec<u64> = self.open.iter().filter(|(_, has)| **has == engine).map(|(id, _)| *id).collect();
        self.open.retain(|_, has| *has != engine);
        lost
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        (self.native, self.transformers_js) = (None, None);
    }

    fn running(&self, engine: Engine) -> Option<&Running> {
        match engine {
            Engine::Native => self.native.as_ref(),
            Engine::TransformersJs => self.transformers_js.as_ref(),
        }
    }

    fn place(&mut self, engine: Engine) -> &mut Option<Running> {
        match engine {
            Engine::Native => &mut self.native,
            Engine::TransformersJs => &mut self.transformers_js,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;
    use webnibble_common::options::Platform;
    use webnibble_common::wire::LoadOptions;

    use super::*;

    fn workers() -> Workers {
        let urls = Urls { native: String::new(), transformers_js: String::new() };
        // None is started.
        Workers::new(urls, JsValue::NULL.into(), |_, _| {})
    }

    fn load(model: &str, engine: Engine) -> HostMessage {
        let options = LoadOptions { engine, ..LoadOptions::on(Platform::Wasm) };
        HostMessage::Load { model: model.into(), url: String::new(), digest: String::new(), options }
    }

    fn unload(model: &str) -> HostMessage {
        HostMessage::Unload { model: model.into() }
    }

    #[wasm_bindgen_test]
    fn a_request_goes_to_who_has_its_model() {
        let mut workers = workers();
        assert_eq!(workers.assign(1, &load("ours", Engine::Native)), Engine::Native);
        assert_eq!(workers.assign(2, &load("theirs", Engine::TransformersJs)), Engine::TransformersJs);
        assert_eq!(workers.assign(3, &unload("ours")), Engine::Native);
        assert_eq!(workers.assign(4, &unload("")), Engine::Native, "who had the last request");
        assert_eq!(workers.assign(5, &unload("theirs")), Engine::TransformersJs);
        assert_eq!(workers.assign(6, &unload("")), Engine::TransformersJs, "who had the last request");
        assert_eq!(workers.assign(7, &load("theirs", Engine::Native)), Engine::Native);
        assert_eq!(workers.assign(8, &unload("theirs")), Engine::Native, "it moved");
    }

    #[wasm_bindgen_test]
    fn a_worker_that_is_lost_takes_its_own_requests_and_models_alone() {
        let mut workers = workers();
        workers.assign(1, &load("ours", Engine::Native));
        workers.assign(2, &load("theirs", Engine::TransformersJs));
        workers.assign(3, &unload("theirs"));
        workers.close(2);
        assert_eq!(workers.lose(Engine::TransformersJs), [3]);
        assert!(workers.lose(Engine::TransformersJs).is_empty());
        assert_eq!(workers.assign(4, &unload("ours")), Engine::Native);
        assert_eq!(workers.assign(5, &unload("theirs")), Engine::Native, "nobody has it");
        assert_eq!(workers.lose(Engine::Native), [1, 4, 5]);
    }
}
