//! WebNN (<https://www.w3.org/TR/webnn/>), which web-sys does not have: bindings written by hand.
//!
//! A browser may lack any of it, so that whatever can be missing is `catch`.

use js_sys::{Array, ArrayBuffer, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `navigator.ml`.
    #[derive(Clone)]
    pub(crate) type Ml;

    /// Absent where the browser has no WebNN, or the page is no secure context.
    #[wasm_bindgen(thread_local_v2, js_namespace = navigator, js_name = ml)]
    pub(crate) static ML: Option<Ml>;

    #[wasm_bindgen(method, catch, js_name = createContext)]
    pub(crate) async fn create_context(this: &Ml, options: &Object) -> Result<MlContext, JsValue>;

    #[wasm_bindgen(js_name = MLContext)]
    pub(crate) type MlContext;

    #[wasm_bindgen(method, catch, js_name = opSupportLimits)]
    pub(crate) fn op_support_limits(this: &MlContext) -> Result<Object, JsValue>;

    /// A promise of an [`MlContextLostInfo`], which settles once the context is of no more use.
    #[wasm_bindgen(method, getter)]
    pub(super) fn lost(this: &MlContext) -> Option<Promise>;

    #[wasm_bindgen(method, catch, js_name = createTensor)]
    pub(super) async fn create_tensor(this: &MlContext, descriptor: &Object) -> Result<MlTensor, JsValue>;

    /// `bytes` reach the browser as a view of wasm's memory; it copies them before it returns.
    #[wasm_bindgen(method, catch, js_name = writeTensor)]
    pub(super) fn write_tensor(this: &MlContext, tensor: &MlTensor, bytes: &[u8]) -> Result<(), JsValue>;

    /// `inputs` and `outputs` are tensors by the names of the graph's.
    #[wasm_bindgen(method, catch)]
    pub(super) fn dispatch(this: &MlContext, graph: &MlGraph, inputs: &Object, outputs: &Object)
    -> Result<(), JsValue>;

    /// Resolves once `bytes`, as many as the tensor has, are overwritten with what it holds after all that was dispatched before
    /// this call.
    #[wasm_bindgen(method, catch, js_name = readTensor)]
    pub(super) fn read_tensor(this: &MlContext, tensor: &MlTensor, bytes: &Uint8Array) -> Result<Promise, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn destroy(this: &MlContext) -> Result<(), JsValue>;

    /// Why a context was lost.
    pub(super) type MlContextLostInfo;

    #[wasm_bindgen(method, getter)]
    pub(super) fn message(this: &MlContextLostInfo) -> Option<String>;

    #[wasm_bindgen(js_name = MLGraphBuilder)]
    pub(crate) type MlGraphBuilder;

    #[wasm_bindgen(constructor, catch, js_class = "MLGraphBuilder")]
    pub(crate) fn new(context: &MlContext) -> Result<MlGraphBuilder, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn input(this: &MlGraphBuilder, name: &str, descriptor: &Object) -> Result<JsValue, JsValue>;

    /// `elements` are a `Float16Array`, or a `Uint16Array` in browsers without it.
    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_f16(
        this: &MlGraphBuilder,
        descriptor: &Object,
        elements: &Object,
    ) -> Result<JsValue, JsValue>;

    /// Like all below, `elements` reach the browser as a view of wasm's memory, of the kind of typed array that it wants for the
    /// descriptor's type; it copies them before it returns.
    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_f32(
        this: &MlGraphBuilder,
        descriptor: &Object,
        elements: &[f32],
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_i32(
        this: &MlGraphBuilder,
        descriptor: &Object,
        elements: &[i32],
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_u32(
        this: &MlGraphBuilder,
        descriptor: &Object,
        elements: &[u32],
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_i8(this: &MlGraphBuilder, descriptor: &Object, elements: &[i8]) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = constant)]
    pub(super) fn constant_u8(this: &MlGraphBuilder, descriptor: &Object, elements: &[u8]) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub(crate) fn add(this: &MlGraphBuilder, a: &JsValue, b: &JsValue) -> Result<JsValue, JsValue>;

    /// `outputs` are operands by the names that they get.
    #[wasm_bindgen(method, catch)]
    pub(crate) async fn build(this: &MlGraphBuilder, outputs: &Object) -> Result<MlGraph, JsValue>;

    #[wasm_bindgen(js_name = MLGraph)]
    pub(crate) type MlGraph;

    /// Where the browser says that the graph runs; absent in the standard.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn devices(this: &MlGraph) -> Option<Array>;

    #[wasm_bindgen(method, catch, js_name = destroy)]
    pub(super) fn destroy_graph(this: &MlGraph) -> Result<(), JsValue>;

    #[wasm_bindgen(js_name = MLTensor)]
    #[derive(Clone)]
    pub(super) type MlTensor;

    #[wasm_bindgen(method, catch, js_name = destroy)]
    pub(super) fn destroy_tensor(this: &MlTensor) -> Result<(), JsValue>;

    /// Absent in browsers of before 2025.
    #[wasm_bindgen(extends = Object)]
    pub(super) type Float16Array;

    #[wasm_bindgen(constructor, catch)]
    pub(super) fn new(buffer: &ArrayBuffer) -> Result<Float16Array, JsValue>;
}
