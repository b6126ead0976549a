//! Running a loaded model: how often, what is read of it, and what running gave and took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::generate::Generated;
use crate::implementation::ImplementationType;
use crate::io::TensorInfo;
use crate::options::GenerationOptions;
use crate::tokens::TokensKept;
use crate::warmup::Warmup;
use crate::webnn::WebNnInfo;

/// How often to run, what to read, and what to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Runs before the measured ones, after the first; where it is not given, until times are steady. Where nothing is
    /// measured there are none but those that are given.
    #[serde(default)]
    pub warmup: Option<u32>,
    /// Measured runs; with 0, the first gives the answer.
    #[serde(default)]
    pub runs: u32,
    /// Time each kernel with timestamp queries.
    #[serde(default)]
    pub profile: bool,
    /// The model's outputs that are read, by name; where none is named, what its answer is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Have the model go on from its input, a text or a row of ids, token by token, in `part` messages as they come. It does
    /// so once: `warmup`, `runs` and `outputs` have no meaning then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerationOptions>,
    /// The deadline of the whole request.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// What running gave and took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// What really ran.
    pub implementation_type: ImplementationType,
    /// Outputs in order; their bytes travelled in binary frames.
    pub outputs: Vec<TensorInfo>,
    /// Tokens of each text that ran, special ones included; empty for tensors.
    pub token_counts: Vec<usize>,
    /// Whether a text was cut to the model's limit.
    pub truncated: bool,
    /// Of each text, how many of its tokens ran; empty for tensors.
    #[serde(default)]
    pub tokens_kept: Vec<TokensKept>,
    /// Preparing buffers, bind groups and missing pipelines for this shape; 0 when it was cached.
    pub prepare_ms: f64,
    /// The first run for this shape, preparation included; of generated text, until its first token.
    pub first_ms: f64,
    /// What was run between the first run and the measured ones.
    pub warmup: Warmup,
    /// Each measured run: input written to output read.
    pub run_ms: Vec<f64>,
    /// What was generated, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// GPU time of each measured run, with `profile`, where the adapter has timestamps.
    pub gpu_ms: Option<Vec<f64>>,
    /// Time of each kernel in the last run, with `profile`.
    pub kernels: Option<Vec<KernelTime>>,
    /// The context and the graph that ran, for WebNN.
    #[serde(default)]
    pub webnn: Option<WebNnInfo>,
    /// Variant that was chosen for each operator kind.
    pub variants: BTreeMap<String, String>,
    /// Options that were set otherwise.
    #[serde(default)]
    pub adjustments: Vec<Adjustment>,
    /// Dispatches of one inference.
    pub dispatches: Option<u32>,
    /// Most bytes of GPU buffers at once, weights included.
    pub gpu_peak_bytes: Option<u64>,
    /// Pages of wasm memory so far, in bytes.
    pub wasm_heap_bytes: u64,
}

/// An option that a backend set otherwise than it was asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Its name, as the record has it.
    pub option: String,
    /// What it is now.
    pub value: serde_json::Value,
    /// What failed, where something did; nothing where a limit of the adapter was known to demand it.
    pub code: Option<ErrorCode>,
    /// Why.
    pub reason: String,
}

/// Time of one dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelTime {
    /// Name of the value that it makes.
    pub operator: String,
    /// Kernel and variant.
    pub kernel: String,
    /// Time in ms, by timestamp queries.
    pub ms: f64,
    /// Bytes of its bindings.
    pub bytes: u64,
}
