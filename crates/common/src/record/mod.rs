//! The result record: what ran, where, and how it was measured.
//!
//! One [`RunRecord`] is what `webnibble run --json` prints and what a row of `bench` is. Fields come in the order of these
//! files, names are stable once released, every unit is in the name, and a figure that was not measured is `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capabilities::Adapter;
use crate::error::RemoteError;
use crate::options::{Engine, Platform};

mod about;
mod metrics;
#[cfg(test)]
mod tests;
mod times;

pub use crate::fallback::Fallback;
pub use crate::implementation::ImplementationType;
pub use crate::io::{Output, TensorOutput};
pub use crate::options::OptionValue;
pub use crate::tokens::TokensKept;
pub use crate::webnn::WebNnInfo;
pub use about::{BrowserInfo, Candidate, Choice, HostInfo, InputInfo, ModelInfo, QuantizationInfo, RunInfo};
pub use metrics::{
    EngineRatio, InitializationTime, MemoryReduction, MemoryUse, PerformanceMetrics, ProfileRow, QuantizationError,
    StartToFirstResult, TokensPerSec,
};
pub use times::Times;

/// Version of the record's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of one model in one browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether there is an answer.
    pub status: Status,
    /// Why there is none.
    pub error: Option<ErrorInfo>,
    /// When, where and with which build.
    pub run: RunInfo,
    /// The model.
    pub model: Option<ModelInfo>,
    /// What it was run on.
    pub input: Option<InputInfo>,
    /// The platform that was asked for.
    pub platform: Platform,
    /// The engine that was asked for.
    pub engine: Engine,
    /// What really ran, as the backend says; `None` where there is no answer.
    pub implementation_type: Option<ImplementationType>,
    /// Whether the CPU executor stood in; `None` where nothing ran.
    pub is_simulation: Option<bool>,
    /// `page` or `host`, for a simulation.
    pub simulated_in: Option<String>,
    /// Whether transformers.js computed; `None` where nothing ran.
    pub using_transformers_js: Option<bool>,
    /// What was tried first, step by step.
    pub fallbacks: Vec<Fallback>,
    /// How `auto` chose.
    pub choice: Option<Choice>,
    /// Every option, with its source.
    pub options: BTreeMap<String, OptionValue>,
    /// The browser.
    pub browser: Option<BrowserInfo>,
    /// The WebGPU adapter that ran the model.
    pub adapter: Option<Adapter>,
    /// What WebNN did.
    pub webnn: Option<WebNnInfo>,
    /// The variant of each kernel that ran.
    pub kernels: Option<BTreeMap<String, String>>,
    /// How the weights are stored.
    pub quantization: Option<QuantizationInfo>,
    /// What was measured.
    pub performance_metrics: PerformanceMetrics,
    /// Time of each kernel.
    pub profile: Option<Vec<ProfileRow>>,
    /// The answer.
    pub output: Option<Output>,
}

/// Whether there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is.
    Ok,
    /// There is none: see `error`.
    Error,
}

/// A failure, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// What kind of failure: an [`ErrorCode`], or a word of the host.
    pub code: String,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it; empty where nothing can be said.
    pub hint: String,
}

impl From<RemoteError> for ErrorInfo {
    fn from(error: RemoteError) -> Self {
        Self { code: error.code.name(), message: error.message, hint: error.hint }
    }
}
