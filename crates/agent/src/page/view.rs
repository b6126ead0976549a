//! What the page's script is told, so that it can show it. Nothing is decided there.

use js_sys::{ArrayBuffer, Function, JSON, Uint8Array};
use serde_json::json;
use wasm_bindgen::prelude::*;
use webnibble_common::wire::frame::{self, HEADER_BYTES};

use super::sys::PageEventHandler;

/// Elements of a preview.
const PREVIEW_LEN: u32 = 8;

/// The page's script.
pub(super) struct View {
    on_event: Function,
}

impl View {
    pub(super) fn new(on_event: PageEventHandler) -> Self {
        Self { on_event: JsValue::from(on_event).unchecked_into() }
    }

    /// Where the session stands, and what to do about it, if anything.
    pub(super) fn connection(&self, state: &str, detail: &str, hint: &str) {
        self.tell(&json!({ "type": "connection", "state": state, "detail": detail, "hint": hint }).to_string());
    }

    /// The Worker failed.
    pub(super) fn worker(&self, detail: &str) {
        self.tell(&json!({ "type": "worker", "detail": detail }).to_string());
    }

    /// A message went through: a `request` of the host, or a `message` to it.
    pub(super) fn message(&self, kind: &str, text: &str) {
        // The text is JSON already: it came through the reader of this or the other side.
        self.tell(&format!(r#"{{"type":"{kind}","message":{text}}}"#));
    }

    /// The first elements of an output. Gives the id of its request.
    pub(super) fn output(&self, bytes: &ArrayBuffer) -> u64 {
        let Ok(header) = Uint8Array::new(bytes).subarray(0, HEADER_BYTES as u32).to_vec().try_into() else { return 0 };
        let (id, part) = frame::request_of(&header);
        let first = HEADER_BYTES as u32;
        let head = Uint8Array::new(bytes).subarray(first, first + 4 * PREVIEW_LEN).to_vec();
        let head: Vec<f32> = head.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        self.tell(&json!({ "type": "output", "id": id, "part": part, "head": head }).to_string());
        id
    }

    fn tell(&self, event: &str) {
        let Ok(event) = JSON::parse(event) else { return };
        if let Err(thrown) = self.on_event.call1(&JsValue::NULL, &event) {
            // A page that cannot show something still serves its host.
            web_sys::console::error_1(&thrown);
        }
    }
}
