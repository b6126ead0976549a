//! Bindings written by hand: this crate's own JavaScript, and globals that pages and Workers share, for which web-sys
//! would need to know which of the two it is in.

use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Gpu, Performance, Response};

#[wasm_bindgen(module = "/js/tasks.js")]
extern "C" {
    /// Resolves in a new task, after events that came before it.
    #[wasm_bindgen(js_name = nextTask)]
    pub(crate) async fn next_task();
}

#[wasm_bindgen]
extern "C" {
    /// `navigator`, in pages and Workers.
    pub(crate) type Navigator;

    #[wasm_bindgen(thread_local_v2, js_name = navigator)]
    pub(crate) static NAVIGATOR: Navigator;

    #[wasm_bindgen(method, getter, js_name = userAgent)]
    fn user_agent(this: &Navigator) -> String;

    #[wasm_bindgen(method, getter, js_name = hardwareConcurrency)]
    fn hardware_concurrency(this: &Navigator) -> Option<f64>;

    /// Absent in browsers without WebGPU, and outside secure contexts.
    #[wasm_bindgen(method, getter)]
    fn gpu(this: &Navigator) -> Option<Gpu>;

    #[wasm_bindgen(thread_local_v2, js_name = performance)]
    static PERFORMANCE: Performance;

    #[wasm_bindgen(js_name = setTimeout)]
    pub(crate) fn set_timeout(handler: &Function, delay_ms: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    pub(crate) fn clear_timeout(timer: &JsValue);

    /// Resolves with the answer's headers; its body comes later.
    #[wasm_bindgen(catch)]
    pub(crate) async fn fetch(url: &str, options: &Object) -> Result<Response, JsValue>;

    /// What a body's reader resolves with.
    pub(crate) type ReadResult;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn done(this: &ReadResult) -> bool;

    /// Bytes, unless it is done.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn value(this: &ReadResult) -> Uint8Array;

    /// `crypto.subtle`.
    pub(crate) type SubtleCrypto;

    /// Absent outside secure contexts.
    #[wasm_bindgen(thread_local_v2, js_namespace = crypto, js_name = subtle)]
    pub(crate) static SUBTLE: Option<SubtleCrypto>;

    /// Copies `data` when called, and hashes it on another thread.
    #[wasm_bindgen(method)]
    pub(crate) fn digest(this: &SubtleCrypto, algorithm: &str, data: &Uint8Array) -> Promise;
}

/// `performance.now()`: ms since the page or Worker began.
pub(crate) fn now_ms() -> f64 {
    PERFORMANCE.with(Performance::now)
}

/// `navigator.userAgent`.
pub(crate) fn user_agent() -> String {
    NAVIGATOR.with(Navigator::user_agent)
}

/// Hardware threads, as far as the browser tells.
pub(crate) fn hardware_concurrency() -> Option<u32> {
    NAVIGATOR.with(Navigator::hardware_concurrency).map(|threads| threads as u32)
}

/// `navigator.gpu`, where there is one.
pub(crate) fn gpu() -> Option<Gpu> {
    NAVIGATOR.with(Navigator::gpu)
}

/// Bytes of this instance's wasm memory. It never shrinks, so this is also the most it ever was.
pub(crate) fn wasm_heap_bytes() -> u64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    u64::from(buffer.byte_length())
}

/// A JavaScript object of these fields.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, JsValue)>) -> Object {
    let object = Object::new();
    for (name, value) in fields {
        Reflect::set(&object, &name.into(), &value).expect("a new object takes any field");
    }
    object
}
