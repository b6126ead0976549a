//! Bindings written by hand: Workers as threads.

use js_sys::{Function, Object};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/js/threads.js")]
extern "C" {
    /// Whether this thread may wait for others.
    #[wasm_bindgen(js_name = mayBlock)]
    pub(super) fn may_block() -> bool;

    /// Address of a file beside the binary.
    #[wasm_bindgen(js_name = moduleUrl)]
    pub(super) fn module_url(file: &str) -> String;

    /// Starts a Worker; ends when it is about to serve. `on_end`, if given, is called when it has ended by itself.
    #[wasm_bindgen(js_name = startThread, catch)]
    pub(super) async fn start_thread(start: &Object, on_end: Option<&Function>) -> Result<JsValue, JsValue>;
}
