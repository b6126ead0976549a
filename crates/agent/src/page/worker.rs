//! The page's end of its channel to the Worker.

use js_sys::{Array, ArrayBuffer, JsString, Reflect, WebAssembly};
use wasm_bindgen::prelude::*;
use web_sys::{ErrorEvent, MessageEvent, WorkerOptions, WorkerType};

use super::socket::Frame;

/// What the Worker tells.
pub(super) enum WorkerEvent {
    /// A frame for the host.
    Frame(Frame),
    /// It panicked, or its script failed: it answers nothing any more.
    Failed(String),
}

/// A Worker; terminated once it is dropped.
pub(super) struct Worker {
    worker: web_sys::Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl Worker {
    /// Starts the script at `url`, which instantiates `module` again.
    pub(super) fn start(
        url: &str,
        module: &WebAssembly::Module,
        tell: impl Fn(WorkerEvent) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name("webnibble");
        let worker = web_sys::Worker::new_with_options(url, &options)?;
        let failed = tell.clone();
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| tell(read(event.data())));
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
            event.prevent_default();
            // A script that cannot be fetched fails with a plain event, without a message.
            let text = Reflect::get(&event, &"message".into()).ok().and_then(|text| text.as_string());
            failed(WorkerEvent::Failed(text.unwrap_or_else(|| "its script could not be loaded".to_owned())));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        worker.post_message(module)?;
        Ok(Self { worker, _on_message: on_message, _on_error: on_error })
    }

    /// Passes a frame of the host on. Binary frames are moved, not copied.
    pub(super) fn send(&self, frame: &Frame) {
        let sent = match frame {
            Frame::Text(text) => self.worker.post_message(&JsValue::from_str(text)),
            Frame::Binary(bytes) => self.worker.post_message_with_transfer(bytes, &Array::of1(bytes)),
        };
        sent.expect("strings and buffers that came from a socket can be posted");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

fn read(data: JsValue) -> WorkerEvent {
    match data.dyn_into::<JsString>() {
        Ok(text) => WorkerEvent::Frame(Frame::Text(text.into())),
        Err(data) => match data.dyn_into::<ArrayBuffer>() {
            Ok(bytes) => WorkerEvent::Frame(Frame::Binary(bytes)),
            Err(report) => {
                let text = Reflect::get(&report, &"panic".into()).ok().and_then(|text| text.as_string());
                WorkerEvent::Failed(text.unwrap_or_else(|| "it sent something unknown".to_owned()))
            }
        },
    }
}
