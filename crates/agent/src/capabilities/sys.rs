//! Bindings written by hand for what capabilities are found by: `navigator` as pages and Workers share it, and
//! WebGL on an offscreen canvas.

use js_sys::{Object, Promise};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `navigator`, in pages and Workers.
    pub(super) type Navigator;

    #[wasm_bindgen(thread_local_v2, js_name = navigator)]
    pub(super) static NAVIGATOR: Navigator;

    #[wasm_bindgen(method, getter, js_name = userAgent)]
    pub(super) fn user_agent(this: &Navigator) -> String;

    #[wasm_bindgen(method, getter, js_name = hardwareConcurrency)]
    pub(super) fn hardware_concurrency(this: &Navigator) -> Option<f64>;

    #[wasm_bindgen(method, getter, js_name = deviceMemory)]
    pub(super) fn device_memory(this: &Navigator) -> Option<f64>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn gpu(this: &Navigator) -> Option<Gpu>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn storage(this: &Navigator) -> Option<Storage>;

    /// `navigator.gpu`.
    pub(super) type Gpu;

    /// A set of names.
    #[wasm_bindgen(method, getter, js_name = wgslLanguageFeatures)]
    pub(super) fn wgsl_language_features(this: &Gpu) -> JsValue;

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
