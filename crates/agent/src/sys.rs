//! Bindings written by hand: this crate's own JavaScript, and globals that pages and Workers share, for which web-sys
//! would need to know which of the two it is in.

use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Performance};

#[wasm_bindgen(module = "/js/package_reader.js")]
extern "C" {
    /// One package over HTTP.
    pub(crate) type PackageReader;

    #[wasm_bindgen(constructor)]
    pub(crate) fn new(url: &str, signal: &AbortSignal) -> PackageReader;

    /// Sends the request and waits for its headers.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn open(this: &PackageReader) -> Result<JsValue, JsValue>;

    /// Fills `view`; `on_progress`, if given, gets the bytes received so far.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn fill(
        this: &PackageReader,
        view: &Uint8Array,
        on_progress: Option<&Function>,
    ) -> Result<JsValue, JsValue>;

    /// Makes sure that the file ended.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn finish(this: &PackageReader) -> Result<JsValue, JsValue>;

    /// Closes the connection.
    #[wasm_bindgen(method)]
    pub(crate) fn cancel(this: &PackageReader) -> Promise;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn received(this: &PackageReader) -> f64;

    #[wasm_bindgen(method, getter, js_name = copyMs)]
    pub(crate) fn copy_ms(this: &PackageReader) -> f64;

    #[wasm_bindgen(method, getter, js_name = contentLength)]
    pub(crate) fn content_length(this: &PackageReader) -> f64;
}

#[wasm_bindgen(module = "/js/tasks.js")]
extern "C" {
    /// Resolves in a new task, after events that came before it.
    #[wasm_bindgen(js_name = nextTask)]
    pub(crate) async fn next_task();
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(thread_local_v2, js_name = performance)]
    static PERFORMANCE: Performance;

    #[wasm_bindgen(js_name = setTimeout)]
    pub(crate) fn set_timeout(handler: &Function, delay_ms: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    pub(crate) fn clear_timeout(timer: &JsValue);

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
