//! Bindings written by hand: the Worker's end of its channel to the page.

use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The Worker's global scope.
    type WorkerScope;

    #[wasm_bindgen(thread_local_v2, js_name = self)]
    static SCOPE: WorkerScope;

    #[wasm_bindgen(method, js_name = postMessage, catch)]
    fn post_message(this: &WorkerScope, message: &JsValue, transfer: &Array) -> Result<(), JsValue>;

    #[wasm_bindgen(method, setter, js_name = onmessage)]
    fn set_onmessage(this: &WorkerScope, handler: &Function);
}

/// Sends `message` to the page; what `transfer` lists is moved, not copied.
pub(crate) fn post(message: &JsValue, transfer: &Array) -> Result<(), JsValue> {
    SCOPE.with(|scope| scope.post_message(message, transfer))
}

/// Calls `handler` with the data of each message from the page, from now on.
pub(crate) fn on_message(handler: impl Fn(JsValue) + 'static) {
    let handler =
        Closure::<dyn Fn(web_sys::MessageEvent)>::new(move |event: web_sys::MessageEvent| handler(event.data()));
    SCOPE.with(|scope| scope.set_onmessage(handler.as_ref().unchecked_ref()));
    // The Worker listens until it ends.
    handler.forget();
}
