//! Bindings to `js/transformers.js`.

use js_sys::{Array, Float32Array, Function, JsString, Uint32Array};
use wasm_bindgen::prelude::*;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::{describe, error};

#[wasm_bindgen(module = "/js/transformers.js")]
extern "C" {
    /// A model that transformers.js runs.
    #[wasm_bindgen(js_name = TransformersModel)]
    pub(super) type JsModel;

    #[wasm_bindgen(constructor, js_class = TransformersModel)]
    pub(super) fn new(folder: &str, platform: &str, device: Option<&str>, threads: Option<u32>) -> JsModel;

    /// Fetches and makes ready; gives a report in JSON.
    #[wasm_bindgen(method, catch, js_class = TransformersModel)]
    pub(super) async fn open(this: &JsModel, on_progress: &Function) -> Result<JsString, JsValue>;

    #[wasm_bindgen(method, catch, js_class = TransformersModel)]
    pub(super) fn encode(this: &JsModel, texts: &Array, truncate: bool) -> Result<JsEncoded, JsValue>;

    /// Devices that WebNN's graphs landed on, where the browser tells.
    #[wasm_bindgen(method, js_class = TransformersModel)]
    pub(super) fn devices(this: &JsModel) -> Option<Array>;

    /// Makes ready for a shape.
    #[wasm_bindgen(method, catch, js_class = TransformersModel)]
    pub(super) async fn prepare(this: &JsModel, batch: u32, seq: u32) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_class = TransformersModel)]
    pub(super) async fn run(
        this: &JsModel,
        batch: u32,
        seq: u32,
        ids: &Uint32Array,
        mask: &Uint32Array,
        types: &Uint32Array,
    ) -> Result<JsOutput, JsValue>;

    #[wasm_bindgen(method, js_class = TransformersModel)]
    pub(super) fn dispose(this: &JsModel);

    /// A padded batch of token ids.
    pub(super) type JsEncoded;

    #[wasm_bindgen(method, getter)]
    pub(super) fn batch(this: &JsEncoded) -> u32;

    #[wasm_bindgen(method, getter)]
    pub(super) fn seq(this: &JsEncoded) -> u32;

    #[wasm_bindgen(method, getter)]
    pub(super) fn ids(this: &JsEncoded) -> Uint32Array;

    #[wasm_bindgen(method, getter)]
    pub(super) fn mask(this: &JsEncoded) -> Uint32Array;

    #[wasm_bindgen(method, getter)]
    pub(super) fn types(this: &JsEncoded) -> Uint32Array;

    #[wasm_bindgen(method, getter)]
    pub(super) fn counts(this: &JsEncoded) -> Uint32Array;

    /// Tokens of each text before it was cut.
    #[wasm_bindgen(method, getter)]
    pub(super) fn totals(this: &JsEncoded) -> Uint32Array;

    /// One output.
    pub(super) type JsOutput;

    #[wasm_bindgen(method, getter)]
    pub(super) fn name(this: &JsOutput) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn dims(this: &JsOutput) -> Uint32Array;

    #[wasm_bindgen(method, getter)]
    pub(super) fn data(this: &JsOutput) -> Float32Array;

    /// An error that knows its code.
    pub(super) type CodedError;

    #[wasm_bindgen(method, getter)]
    pub(super) fn code(this: &CodedError) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn hint(this: &CodedError) -> Option<String>;
}

/// An error thrown by `js/transformers.js`.
pub(super) fn from_js(thrown: &JsValue) -> RemoteError {
    let coded: &CodedError = thrown.unchecked_ref();
    let (code, hint) = if thrown.is_object() { (coded.code(), coded.hint()) } else { (None, None) };
    let code = code.and_then(|code| serde_json::from_value(serde_json::Value::String(code)).ok());
    error(code.unwrap_or(ErrorCode::EngineFailed), describe(thrown), hint.unwrap_or_default())
}

pub(super) fn strings(texts: &[String]) -> Array {
    texts.iter().map(|text| JsString::from(text.as_str())).collect()
}

pub(super) fn numbers(values: &[u32]) -> Uint32Array {
    Uint32Array::from(values)
}
