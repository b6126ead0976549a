//! What a caller can choose.

use serde::{Deserialize, Serialize};

/// Where a model is asked to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// WGSL kernels on a GPU, or on the browser's software adapter.
    Webgpu,
    /// The CPU executor in WebAssembly.
    Wasm,
}
