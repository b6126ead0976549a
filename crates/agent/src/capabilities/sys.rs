//! Bindings written by hand for what capabilities are found by: what else `navigator` has, and WebGL on an offscreen
//! canvas.

use js_sys::{Object, Promise};
use wasm_bindgen::prelude::*;

pub(super) use crate::sys::{NAVIGATOR, Navigator};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(method, getter, js_name = deviceMemory)]
    pub(super) fn device_memory(this: &Navigator) -> Option<f64>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn storage(this: &Navigator) -> Option<Storage>;

    /// `navigator.storage`.
    pub(super) type Storage;

    #[wasm_bindgen(method, catch, js_name = getDirectory)]
    pub(super) fn get_directory(this: &Storage) -> Result<Promise, JsValue>;

    #[wasm_bindgen(thread_local_v2, js_name = crossOriginIsolated)]
    pub(super) static CROSS_ORIGIN_ISOLATED: Option<bool>;
}

/// `OffscreenCanvas` and WebGL.
#[wasm_bindgen]
extern "C" {
    pub(super) type OffscreenCanvas;

    #[wasm_bindgen(constructor, catch)]
    pub(super) fn new(width: u32, height: u32) -> Result<OffscreenCanvas, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getContext)]
    pub(super) fn get_context(this: &OffscreenCanvas, kind: &str) -> Result<Option<WebGl>, JsValue>;

    pub(super) type WebGl;

    #[wasm_bindgen(method, catch, js_name = getExtension)]
    pub(super) fn get_extension(this: &WebGl, name: &str) -> Result<Option<Object>, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getParameter)]
    pub(super) fn get_parameter(this: &WebGl, name: u32) -> Result<JsValue, JsValue>;
}
