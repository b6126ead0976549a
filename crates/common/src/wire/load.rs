//! Loading a model: how it is to be run, and what loading gave and took.

use serde::{Deserialize, Serialize};

use crate::capabilities::Adapter;
use crate::implementation::ImplementationType;
use crate::options::{Engine, PageSettings, Platform};
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
    /// WebNN's device is a preference: where it cannot be had, the context's own choice is taken.
    #[serde(default)]
    pub prefer_device: bool,
    /// The options of the table that the page takes, side by side with the others.
    #[serde(flatten)]
    pub settings: PageSettings,
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
            prefer_device: false,
            settings: PageSettings::default(),
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
