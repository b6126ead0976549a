//! Loading a model: how it is to be run, and what loading gave and took.

use serde::{Deserialize, Serialize};

use crate::capabilities::Adapter;
use crate::implementation::ImplementationType;
use crate::options::{Engine, ExecutionProvider, Platform};
use crate::quant::Bits;
use crate::webnn::WebNnInfo;

/// How a model is to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// `webgpu`, `webnn` or `wasm`.
    pub platform: Platform,
    /// Who computes. What is loaded is a package for `native`, and a folder with ONNX files for `transformers-js`.
    #[serde(default = "native")]
    pub engine: Engine,
    /// The CPU executor stands in for the platform, and says so.
    #[serde(default)]
    pub simulate: bool,
    /// WebNN's device; the context's own choice where it is not given.
    #[serde(default)]
    pub execution_provider: Option<ExecutionProvider>,
    /// The device is a preference: where it cannot be had, the context's own choice is taken.
    #[serde(default)]
    pub prefer_device: bool,
    /// WebNN: formats that it takes, but that are not known to be good.
    #[serde(default)]
    pub experimental_precision: bool,
    /// 8 computes linears in int8: on WebNN by the package's activation ranges, on wasm by those of each group of each
    /// token; 32 in floats.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// WebNN: how weights are given to the graph; chosen by measuring where it is not given.
    #[serde(default)]
    pub lowering: Option<String>,
    /// Threads of the CPU executor, what the machine has where it is not given; parts of the input that WebNN computes side
    /// by side, as many as are measured to pay where it is not given.
    #[serde(default)]
    pub threads: Option<u32>,
    /// Only core WebGPU: no features, the limits that every adapter has. `false` never takes its kernels; where it is not
    /// given they are taken when others fail to build.
    #[serde(default)]
    pub portable_kernels: Option<bool>,
    /// Build every pipeline before the first inference; otherwise while it is prepared.
    #[serde(default)]
    pub shader_precompilation: bool,
    /// Cut weights and dispatches into parts: `true` for bindings and times that browsers take well, `false` never; where
    /// it is not given, what the adapter cannot bind whole.
    #[serde(default)]
    pub chunked_operations: Option<bool>,
    /// Workgroup size of kernels that take one.
    #[serde(default)]
    pub workgroup_size: Option<[u32; 3]>,
    /// Keep tiles of matrix products in f16.
    #[serde(default)]
    pub half_tiles: bool,
    /// The deadline of the whole request.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

impl LoadOptions {
    /// Our own engine on a platform, with nothing else chosen.
    pub fn on(platform: Platform) -> Self {
        Self {
            platform,
            engine: native(),
            simulate: false,
            execution_provider: None,
            prefer_device: false,
            experimental_precision: false,
            activation_bits: floats(),
            lowering: None,
            threads: None,
            portable_kernels: None,
            shader_precompilation: false,
            chunked_operations: None,
            workgroup_size: None,
            half_tiles: false,
            deadline_ms: None,
        }
    }
}

fn native() -> Engine {
    Engine::Native
}

fn floats() -> Bits {
    Bits::B32
}

/// What loading gave and took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What will really run, as the backend says.
    pub implementation_type: ImplementationType,
    /// The adapter, for WebGPU.
    pub adapter: Option<Adapter>,
    /// The context and the graph, for WebNN.
    #[serde(default)]
    pub webnn: Option<WebNnInfo>,
    /// Bits that activations really have: 8 where linears are computed in int8.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// Time of the whole request.
    pub total_ms: f64,
    /// From the request for the package to its last byte.
    pub fetch_ms: f64,
    /// Part of `fetch_ms` spent handing bytes to buffers.
    pub upload_ms: f64,
    /// Building pipelines, graphs or a session, where it was done while loading.
    pub compile_ms: Option<f64>,
    /// Running what was built, to choose the fastest; WebNN does so once for each kind of model.
    #[serde(default)]
    pub choosing_ms: Option<f64>,
    /// Bytes fetched.
    pub package_bytes: u64,
    /// Bytes of weights in the backend's memory.
    pub weights_bytes: u64,
    /// Pages of wasm memory so far, in bytes.
    pub wasm_heap_bytes: u64,
}
