//! What the Worker sends: wire frames, which the page passes on to the host as they are.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::JsValue;
use webnibble_common::generate::Part;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::frame::{FrameKind, split};
use webnibble_common::wire::{AgentMessage, Envelope, Stage};

use super::sys;

/// Sends a message about request `id`.
pub(crate) fn send(id: u64, body: AgentMessage) {
    let text = Envelope::new(id, body).to_text().unwrap_or_else(|error| {
        Envelope::new(id, AgentMessage::Error { error }).to_text().expect("its message is a short one")
    });
    deliver(&JsValue::from_str(&text), &Array::new());
}

/// Sends how far a request is.
pub(crate) fn progress(id: u64, stage: Stage, done: u64, total: u64) {
    send(id, AgentMessage::Progress { stage, done, total });
}

/// Sends a piece of what request `id` generates.
pub(crate) fn part(id: u64, index: u64, part: Part) {
    send(id, AgentMessage::Part { index, part });
}

/// Sends a line for the host's log.
pub(crate) fn log(level: &str, message: impl Into<String>) {
    send(0, AgentMessage::Log { level: level.to_owned(), message: message.into() });
}

/// Sends the output tensors of request `id`, one frame or more each.
pub(crate) fn send_tensors(id: u64, tensors: &[(String, Tensor)]) {
    for (part, (_, tensor)) in tensors.iter().enumerate() {
        for frame in split(FrameKind::Output, id, part as u32, &tensor.to_le_bytes()) {
            let bytes = Uint8Array::from(&frame[..]).buffer();
            deliver(&bytes, &Array::of1(&bytes));
        }
    }
}

/// Tells the page that this Worker is of no more use: the page answers what is open, and starts another.
pub(crate) fn report_panic(message: &str) {
    let report = Object::new();
    // Nothing can be done for a Worker that panics and cannot say so: its silence meets deadlines.
    let _ = Reflect::set(&report, &"panic".into(), &message.into());
    let _ = sys::post(&report, &Array::new());
}

fn deliver(message: &JsValue, transfer: &Array) {
    sys::post(message, transfer).expect("strings and buffers made here can be posted");
}
