//! Running a loaded model: what on, how often, and what running gave and took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::implementation::ImplementationType;
use crate::prompt::PromptChoice;
use crate::tensor::DType;
use crate::tokens::TokensKept;
use crate::warmup::Warmup;
use crate::webnn::WebNnInfo;

/// What a model is run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunInput {
    /// Texts, tokenized in the page: one batch, padded to the longest.
    Text {
        /// The texts.
        texts: Vec<String>,
        /// Cut texts over the model's limit instead of refusing them.
        #[serde(default)]
        truncate: bool,
        /// What is put before each text.
        #[serde(default, skip_serializing_if = "PromptChoice::is_default")]
        prompt: PromptChoice,
    },
    /// Token ids, one list a text.
    Ids {
        /// The ids, special tokens included.
        ids: Vec<Vec<u32>>,
        /// Cut lists over the model's limit instead of refusing them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncate: bool,
    },
    /// Tensors by the graph's input names; bytes follow in binary frames, `part` counting through them in this order.
    Tensors {
        /// Names, types and shapes.
        tensors: Vec<TensorInfo>,
    },
}

impl RunInput {
    /// Texts after the model's default prompt, none of them cut.
    pub fn texts(texts: Vec<String>) -> Self {
        RunInput::Text { texts, truncate: false, prompt: PromptChoice::Default }
    }

    /// Token ids, no list cut.
    pub fn ids(ids: Vec<Vec<u32>>) -> Self {
        RunInput::Ids { ids, truncate: false }
    }
}

/// How often to run, and what to measure.
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
    /// The deadline of the whole request.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// A tensor whose bytes travel in binary frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
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
    /// The first run for this shape, preparation included.
    pub first_ms: f64,
    /// What was run between the first run and the measured ones.
    pub warmup: Warmup,
    /// Each measured run: input written to output read.
    pub run_ms: Vec<f64>,
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
