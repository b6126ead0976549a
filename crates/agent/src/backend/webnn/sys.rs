//! Bindings to `js/webnn.js`, which names the specification of what it calls.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/js/webnn.js")]
extern "C" {
    /// An `MLContext` and its loss.
    #[wasm_bindgen(js_name = Context)]
    pub(super) type JsContext;

    /// An `MLGraphBuilder` and the operands so far.
    #[wasm_bindgen(js_name = Builder)]
    pub(super) type JsBuilder;

    /// An `MLGraph` and the names of what it reads and writes.
    #[wasm_bindgen(js_name = Step)]
    pub(super) type JsStep;

    /// Graphs and their tensors.
    #[wasm_bindgen(js_name = Executable)]
    pub(super) type JsExecutable;

    /// A promise of the text that was kept for `key`.
    pub(super) fn recall(key: &str) -> Promise;

    pub(super) fn remember(key: &str, text: &str) -> Promise;

    #[wasm_bindgen(js_name = openContext)]
    pub(super) fn open_context(device: Option<&str>) -> Promise;

    #[wasm_bindgen(method, catch)]
    pub(super) fn limits(this: &JsContext) -> Result<String, JsValue>;

    #[wasm_bindgen(method, js_name = lostReason)]
    pub(super) fn lost_reason(this: &JsContext) -> Option<String>;

    #[wasm_bindgen(method, catch)]
    pub(super) fn builder(this: &JsContext) -> Result<JsBuilder, JsValue>;

    #[wasm_bindgen(method)]
    pub(super) fn close(this: &JsContext);

    /// `bytes` reach the browser as a view of wasm's memory.
    #[wasm_bindgen(method, catch)]
    pub(super) fn constant(
        this: &JsBuilder,
        operand: u32,
        data_type: &str,
        shape: &[u32],
        bytes: &[u8],
    ) -> Result<(), JsValue>;

    /// A promise of a [`JsStep`].
    #[wasm_bindgen(method)]
    pub(super) fn build(this: &JsBuilder, program: &str) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn devices(this: &JsStep) -> Option<Array>;

    /// Lets go of the graph.
    #[wasm_bindgen(method, js_name = destroy)]
    pub(super) fn destroy_step(this: &JsStep);

    /// A promise of a [`JsExecutable`], which owns the steps from then on, come what may.
    #[wasm_bindgen(method)]
    pub(super) fn executable(this: &JsContext, steps: &Array, written: Vec<String>, read: Vec<String>) -> Promise;

    /// `data` reaches the browser as a view of wasm's memory.
    #[wasm_bindgen(method, catch, js_name = write)]
    pub(super) fn write_f32(this: &JsExecutable, index: u32, data: &[f32]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = write)]
    pub(super) fn write_u32(this: &JsExecutable, index: u32, data: &[u32]) -> Result<(), JsValue>;

    #[wasm_bindgen(method)]
    pub(super) fn run(this: &JsExecutable) -> Promise;

    /// A `Float32Array` or a `Uint32Array`, as the output's type is.
    #[wasm_bindgen(method)]
    pub(super) fn output(this: &JsExecutable, index: u32) -> JsValue;

    #[wasm_bindgen(method, js_name = destroy)]
    pub(super) fn destroy_executable(this: &JsExecutable);

    /// An error with a code of the wire.
    pub(super) type CodedError;

    /// A text; the browser's own errors have numbers there.
    #[wasm_bindgen(method, getter)]
    pub(super) fn code(this: &CodedError) -> JsValue;

    #[wasm_bindgen(method, getter)]
    pub(super) fn message(this: &CodedError) -> Option<String>;
}
