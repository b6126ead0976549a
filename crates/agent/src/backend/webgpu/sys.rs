//! Bindings to `js/gpu.js`.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/js/gpu.js")]
extern "C" {
    /// A device and what belongs to it.
    #[wasm_bindgen(js_name = Gpu)]
    pub(super) type JsGpu;

    /// One model's buffers on the device.
    #[wasm_bindgen(js_name = Memory)]
    pub(super) type JsMemory;

    /// An inference for one shape.
    #[wasm_bindgen(js_name = Recorded)]
    pub(super) type JsRecorded;

    #[wasm_bindgen(js_name = openGpu)]
    pub(super) fn open_gpu(core: bool) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn info(this: &JsGpu) -> String;

    #[wasm_bindgen(method)]
    pub(super) fn abilities(this: &JsGpu) -> String;

    #[wasm_bindgen(method, js_name = lostReason)]
    pub(super) fn lost_reason(this: &JsGpu) -> Option<String>;

    #[wasm_bindgen(method, js_name = loseDevice)]
    pub(super) fn lose_device(this: &JsGpu);

    #[wasm_bindgen(method)]
    pub(super) fn memory(this: &JsGpu) -> JsMemory;

    #[wasm_bindgen(method, catch, js_name = weightBuffer)]
    pub(super) fn weight_buffer(this: &JsMemory, label: &str, bytes: f64) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, js_name = checkAllocations)]
    pub(super) fn check_allocations(this: &JsMemory) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn pipeline(this: &JsGpu, label: &str, code: &str) -> Promise;

    #[wasm_bindgen(method, catch)]
    pub(super) fn record(
        this: &JsMemory,
        plan: &str,
        uniforms: Uint8Array,
        weights: &Array,
        pipelines: &Array,
    ) -> Result<JsRecorded, JsValue>;

    #[wasm_bindgen(method)]
    pub(super) fn close(this: &JsGpu);

    #[wasm_bindgen(method)]
    pub(super) fn run(this: &JsRecorded, inputs: &Array, timed: bool) -> Promise;

    #[wasm_bindgen(method, js_name = destroy)]
    pub(super) fn destroy_recorded(this: &JsRecorded);

    #[wasm_bindgen(catch, js_name = mappedRange)]
    pub(super) fn mapped_range(buffer: &JsValue, offset: f64, bytes: f64) -> Result<Uint8Array, JsValue>;

    #[wasm_bindgen]
    pub(super) fn unmap(buffer: &JsValue);

    #[wasm_bindgen(js_name = destroy)]
    pub(super) fn destroy_buffer(buffer: &JsValue);

    /// What [`JsRecorded::run`] resolves with.
    pub(super) type Ran;

    #[wasm_bindgen(method, getter)]
    pub(super) fn outputs(this: &Ran) -> Uint8Array;

    #[wasm_bindgen(method, getter)]
    pub(super) fn times(this: &Ran) -> Option<js_sys::Float64Array>;

    /// An error with a code of the wire.
    pub(super) type CodedError;

    #[wasm_bindgen(method, getter)]
    pub(super) fn code(this: &CodedError) -> Option<String>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn message(this: &CodedError) -> Option<String>;
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console)]
    pub(super) fn warn(message: &str);
}
