//! What a browser can do, found out once by the agent and sent to the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything detected in one page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `navigator.userAgent`.
    pub user_agent: String,
    /// `navigator.hardwareConcurrency`.
    pub hardware_concurrency: Option<u32>,
    /// WebGPU.
    pub webgpu: WebGpu,
    /// WebNN.
    pub webnn: WebNn,
    /// WebGL, found on an offscreen canvas.
    pub webgl: WebGl,
    /// WebAssembly.
    pub wasm: Wasm,
    /// `crossOriginIsolated`.
    pub cross_origin_isolated: bool,
    /// Origin private file system with synchronous handles.
    pub opfs: bool,
    /// Memory, as far as the browser tells.
    pub memory: Memory,
}

/// WebGPU: either an adapter, or the reason that there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebGpu {
    /// Whether `navigator.gpu` exists.
    pub present: bool,
    /// The adapter that the agent uses.
    pub adapter: Option<Adapter>,
    /// Why there is no adapter.
    pub error: Option<String>,
    /// `navigator.gpu.wgslLanguageFeatures`, sorted.
    pub wgsl_language_features: Vec<String>,
}

/// A WebGPU adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// `adapter.info.vendor`.
    pub vendor: String,
    /// `adapter.info.architecture`.
    pub architecture: String,
    /// `adapter.info.device`; empty where the browser hides it.
    pub device: String,
    /// `adapter.info.description`; empty where the browser hides it.
    pub description: String,
    /// Whether it is a GPU: not a fallback adapter, and not a software rasterizer by name.
    pub hardware: bool,
    /// Features, sorted.
    pub features: Vec<String>,
    /// Limits by WebGPU's names.
    pub limits: BTreeMap<String, u64>,
    /// Smallest and largest subgroup, where the adapter tells.
    pub subgroup_size: Option<(u32, u32)>,
}

/// WebNN, device by device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebNn {
    /// Whether `navigator.ml` exists. Says nothing of a backend.
    pub present: bool,
    /// `cpu`, `gpu`, `npu`.
    pub devices: BTreeMap<String, WebNnDevice>,
}

/// What asking for one WebNN device gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebNnDevice {
    /// Whether `createContext` gave a context.
    pub created: bool,
    /// Its error, if not.
    pub error: Option<String>,
    /// Devices that the browser says a graph landed on: its claim.
    pub claimed_devices: Option<Vec<String>>,
    /// Data types that each operator takes for its first operand, from `opSupportLimits()`.
    pub operators: BTreeMap<String, Vec<String>>,
}

/// WebGL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebGl {
    /// 0, 1 or 2.
    pub version: u32,
    /// The unmasked renderer, where told.
    pub renderer: Option<String>,
}

/// WebAssembly features, each found by validating a small module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wasm {
    /// 128-bit SIMD.
    pub simd: bool,
    /// Relaxed SIMD.
    pub relaxed_simd: bool,
    /// Shared memory and atomics.
    pub threads: bool,
}

/// Memory figures; `None` where the browser does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// `navigator.deviceMemory`, rounded by the browser.
    pub device_gib: Option<f64>,
    /// `performance.memory.jsHeapSizeLimit`.
    pub js_heap_limit_bytes: Option<u64>,
}
