//! What was found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use webnibble_common::options::Platform;
use webnibble_common::quant::Bits;
use webnibble_common::record::{BrowserInfo, RunInfo, Times};

use crate::ratio::Ratio;

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// When, on which machine, with which build.
    pub run: RunInfo,
    /// The model.
    pub model: String,
    /// Length of the input; its batch is 1.
    pub tokens: usize,
    /// One for each platform and number of threads.
    pub sessions: Vec<VersusSession>,
}

/// One browser session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersusSession {
    /// Where.
    pub platform: Platform,
    /// Threads that were asked for, on wasm.
    pub threads: Option<u32>,
    /// The browser; `None` where it did not start.
    pub browser: Option<BrowserInfo>,
    /// Why there is nothing, where there is nothing.
    pub error: Option<String>,
    /// Contestants, ours first.
    pub rows: Vec<VersusRow>,
    /// Ours against theirs.
    pub comparisons: Vec<Comparison>,
}

/// What one contestant gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersusRow {
    /// `webnibble` or `onnxruntime-web`.
    pub engine: String,
    /// How its weights are stored and computed with.
    pub form: String,
    /// Bits of its weights.
    pub bits: Bits,
    /// What really ran, as the page says.
    pub implementation_type: Option<String>,
    /// Versions, kernels, or where its operators went.
    pub details: BTreeMap<String, String>,
    /// Why it did not run.
    pub error: Option<String>,
    /// From the request to readiness.
    pub load_ms: Option<f64>,
    /// The first run.
    pub first_ms: Option<f64>,
    /// Measured runs.
    pub times_ms: Option<Times>,
    /// Every measured run, in order.
    pub run_ms: Vec<f64>,
    /// Of its answer and that of the same model in f32 on this machine.
    pub cosine_f32: Option<f64>,
}

/// Ours against one of theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Form of ours.
    pub ours: String,
    /// Form of theirs.
    pub theirs: String,
    /// `same weights`, or `their best` of all forms.
    pub kind: String,
    /// Our median by theirs: below 1 is ours the faster.
    pub ratio: Ratio,
    /// Of the two answers.
    pub cosine: Option<f64>,
}
