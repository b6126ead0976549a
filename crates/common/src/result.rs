//! The result record: what ran, where, and how it was measured.
//!
//! One [`RunRecord`] is what `webnibble run --json` prints and what a row of `bench` is. Fields come in the order of this
//! file, names are stable once released, every unit is in the name, and a figure that was not measured is `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capabilities::Adapter;
use crate::options::{Engine, Platform};
use crate::profiles::Source;
use crate::quant::{Bits, Scheme};
use crate::warmup::Warmup;
use crate::wire::ErrorCode;

/// Version of the record's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// What really ran. Only a backend decides this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImplementationType {
    /// WebGPU, on hardware or on a software adapter: see `adapter.hardware`.
    RealWebgpu,
    /// WebNN.
    RealWebnn,
    /// The CPU executor, asked for as the `wasm` platform.
    RealWasm,
    /// The CPU executor standing in for WebGPU.
    SimulatedWebgpu,
    /// The CPU executor standing in for WebNN.
    SimulatedWebnn,
}

impl ImplementationType {
    /// Whether the CPU executor stood in for the platform that was asked for.
    pub fn is_simulation(self) -> bool {
        matches!(self, ImplementationType::SimulatedWebgpu | ImplementationType::SimulatedWebnn)
    }
}

impl std::fmt::Display for ImplementationType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ImplementationType::RealWebgpu => "REAL_WEBGPU",
            ImplementationType::RealWebnn => "REAL_WEBNN",
            ImplementationType::RealWasm => "REAL_WASM",
            ImplementationType::SimulatedWebgpu => "SIMULATED_WEBGPU",
            ImplementationType::SimulatedWebnn => "SIMULATED_WEBNN",
        })
    }
}

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

impl From<crate::wire::RemoteError> for ErrorInfo {
    fn from(error: crate::wire::RemoteError) -> Self {
        Self { code: error.code.name(), message: error.message, hint: error.hint }
    }
}

impl ErrorCode {
    /// Its name in JSON.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            other => unreachable!("codes are strings, found {other:?}"),
        }
    }
}

/// When, where and with which build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// When the run began: RFC 3339, UTC.
    pub timestamp: String,
    /// The machine.
    pub host: HostInfo,
    /// Version of webnibble, with the revision that it was built from where that is known.
    pub revision: String,
}

/// The machine that the host runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Operating system and architecture.
    pub os: String,
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Logical cores that this process may use.
    pub cores: usize,
}

/// The model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its family: `bert`.
    pub family: String,
    /// What it does: `sentence-embedding`.
    pub task: String,
    /// Weights that the graph uses, before quantization.
    pub parameters: u64,
    /// Where it came from, as it was given.
    pub source: String,
    /// Digest of what ran: of the package, or of an ONNX file that somebody else made.
    pub digest: String,
    /// The ONNX file, by its path in the model's folder, where transformers.js ran one: of the package's weights where
    /// `digest` is the package's.
    #[serde(default)]
    pub onnx_file: Option<String>,
}

/// What the model was run on. One of length, size and seconds says how large it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// `text`, `ids`, `tensors`, `image` or `audio`.
    pub kind: String,
    /// Items in one run.
    pub batch: usize,
    /// Tokens of the longest item, special ones included.
    pub sequence_length: Option<usize>,
    /// Width and height, of images.
    pub size: Option<[u32; 2]>,
    /// Length, of audio.
    pub seconds: Option<f64>,
    /// Of each text, how many of its tokens ran; `None` where there are no texts, or they were not tokenized yet.
    pub tokens_kept: Option<Vec<TokensKept>>,
    /// Name of the prompt that was put before each text; `None` where there was none.
    pub prompt_name: Option<String>,
}

/// How much of a text ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensKept {
    /// Tokens that ran, special ones included.
    pub kept: usize,
    /// Tokens that the text has, special ones included.
    pub of: usize,
}

impl TokensKept {
    /// Whether the text was cut.
    pub fn is_cut(self) -> bool {
        self.kept < self.of
    }
}

/// One step from what was asked for to what ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// What was tried.
    pub from: String,
    /// What was tried next.
    pub to: String,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
}

/// How `auto` chose a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Why.
    pub reason: String,
    /// What was measured.
    pub candidates: Vec<Candidate>,
}

/// One platform that `auto` looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub platform: Platform,
    /// Median time of an inference; `None` where it does not run.
    pub ms: Option<f64>,
}

/// An option's value and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionValue {
    /// The value; null where there is none.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub source: Source,
}

/// The browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrowserInfo {
    /// Its name as its driver says: `chrome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was started so that nobody sees a window of it.
    pub headless: bool,
    /// `navigator.userAgent`.
    pub user_agent: String,
    /// From starting the driver to the page's first message.
    pub start_ms: f64,
}

/// What WebNN did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebNnInfo {
    /// The device asked for.
    pub requested: String,
    /// Devices that the browser says the graph landed on: its claim.
    pub reported_devices: Option<Vec<String>>,
    /// How weights were given to the graph.
    pub lowering: String,
    /// Parts of the input, each with graphs of its own, that are computed side by side; `None` where the engine does not
    /// tell.
    #[serde(default)]
    pub parallel_parts: Option<usize>,
    /// Where lowering and parts come from: `measured` at this load, or `remembered` from one before; `None` where neither
    /// was chosen by measuring.
    #[serde(default)]
    pub choice: Option<String>,
    /// Operators of the graph, counted.
    pub operators: BTreeMap<String, usize>,
}

/// How the weights are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationInfo {
    /// Bits of the linear weights.
    pub bits: Bits,
    /// Where zero lies.
    pub scheme: Scheme,
    /// `group`, `channel` or `tensor`.
    pub granularity: String,
    /// Weights that share a scale, by group.
    pub group_size: Option<usize>,
    /// Whether attention has its own bits.
    pub mixed_precision: bool,
    /// Bits of attention projections.
    pub attention_bits: Bits,
    /// Bits of embedding tables.
    pub embedding_bits: Bits,
    /// Bits of activations.
    pub activation_bits: Bits,
    /// Bits of every tensor of the graph.
    pub bits_by_tensor: BTreeMap<String, Bits>,
    /// Whether a format was used that is not known to be good: weights of fewer than 8 bits on WebNN.
    pub experimental: bool,
}

/// What was measured. Of a simulation the times are null but for `cpu_time_ms`: a stand-in's are not the platform's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMetrics {
    /// From the beginning of a run to its first answer; `None` where the browser ran already.
    pub start_to_first_result_ms: Option<StartToFirstResult>,
    /// Loading the package.
    pub initialization_time_ms: Option<InitializationTime>,
    /// The first inference of this shape, with what it has to prepare.
    pub first_inference_time_ms: Option<f64>,
    /// Runs between the first and the measured ones; `None` where nothing was measured, and for a stand-in.
    #[serde(default)]
    pub warmup: Option<Warmup>,
    /// Input written to output read, on the platform asked for.
    pub inference_time_ms: Option<Times>,
    /// The same, where the CPU executor stood in.
    pub cpu_time_ms: Option<Times>,
    /// Time on the GPU from the first kernel to the last, by timestamp queries: of runs that `inference_time_ms` does not
    /// have where a benchmark made it, of the same runs under `--profile`.
    pub gpu_time_ms: Option<Times>,
    /// Items of the batch times measured runs, by the time of these runs.
    pub throughput_items_per_sec: Option<f64>,
    /// Of models that generate.
    pub tokens_per_sec: Option<TokensPerSec>,
    /// Memory.
    pub memory: MemoryUse,
    /// Whole model against f16.
    pub memory_reduction_percent: Option<MemoryReduction>,
    /// Bits of the linear weights.
    pub quantization_bits: Option<Bits>,
    /// Outputs against those of the same model in f32.
    pub quantization_error: Option<QuantizationError>,
    /// The time beside another engine's, where engines were compared.
    pub engine_ratio: Option<EngineRatio>,
}

/// Median time by that of another engine, for the same model, input, browser and platform.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineRatio {
    /// The other engine.
    pub to: Engine,
    /// Ratio of the medians: below 1 is faster than the other.
    pub of_medians: f64,
    /// Lower end of the 95 % interval of a bootstrap over runs.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether they ran turn by turn with both loaded; otherwise one after the other, as both did not fit.
    pub interleaved: bool,
}

/// From the beginning of a run to its first answer, by the host's clock, in ms. The package is looked for or made while
/// the browser starts, so the parts are more than the total; where a route before failed, or platforms were measured to
/// choose one, they are less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartToFirstResult {
    /// All of it.
    pub total: f64,
    /// Finding and opening the model.
    pub model: f64,
    /// Finding its package, or making it.
    pub package: f64,
    /// Server, driver and browser, to an empty page.
    pub browser: f64,
    /// The page, from being opened to having told what it can do.
    pub page: f64,
    /// From the request to load the package to the page's word that it is loaded.
    pub load: f64,
    /// From the request for the first inference to its answer.
    pub first_inference: f64,
}

/// Time of loading a package, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitializationTime {
    /// The whole request.
    pub total: f64,
    /// From the request for the package to its last byte.
    pub fetch: f64,
    /// Part of `fetch` spent handing bytes to buffers; `None` where the engine does not tell.
    pub upload: Option<f64>,
    /// Building pipelines, graphs or a session, where it was done while loading.
    pub compile: Option<f64>,
    /// Running what was built, to choose the fastest; `None` where nothing was measured.
    #[serde(default)]
    pub choosing: Option<f64>,
}

/// Times of several runs, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median.
    pub p50: f64,
    /// 90th percentile: the smallest time that nine tenths of the runs do not exceed.
    pub p90: f64,
    /// Smallest.
    pub min: f64,
    /// Number of runs.
    pub runs: usize,
}

impl Times {
    /// Statistics of `times_ms`; `None` where there are none, or one of them is not a number.
    pub fn of(times_ms: &[f64]) -> Option<Times> {
        if times_ms.is_empty() || times_ms.iter().any(|time| !time.is_finite()) {
            return None;
        }
        let mut sorted = times_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        let runs = sorted.len();
        let middle = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0;
        let ninth_tenth = (runs * 9).div_ceil(10) - 1;
        Some(Times { p50: middle, p90: sorted[ninth_tenth], min: sorted[0], runs })
    }

    /// Whether the 90th percentile is more than 25 % over the median: then the median says little.
    pub fn spread_widely(self) -> bool {
        self.p90 > 1.25 * self.p50
    }
}

/// Speed of models that generate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensPerSec {
    /// Of the prompt.
    pub prefill: f64,
    /// Of what is generated.
    pub decode: f64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Weights in the backend's memory.
    pub weights_bytes: Option<u64>,
    /// Most bytes of GPU buffers at once, weights included.
    pub gpu_peak_bytes: Option<u64>,
    /// Pages of wasm memory; these never shrink, so this is their peak.
    pub wasm_heap_bytes: Option<u64>,
    /// Resident memory of the browser's processes after the run. Pages that processes share are counted in each.
    pub browser_rss_bytes: Option<u64>,
    /// Proportional memory of the same processes: a page that several share is divided among them. Linux alone tells.
    pub browser_pss_bytes: Option<u64>,
}

/// Memory against the same model in f16, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryReduction {
    /// By the bits of the linear weights alone.
    pub nominal: f64,
    /// By the bytes of all weights: less than nominal while embeddings stay f16.
    pub measured: Option<f64>,
}

/// Outputs against those of the same model in f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationError {
    /// Mean of the absolute differences.
    pub mean_abs: f64,
    /// Root of the mean squared difference.
    pub rmse: f64,
    /// Mean of the items' cosines.
    pub cosine: f64,
}

/// Time of one kernel in one inference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileRow {
    /// The value that it makes.
    pub operator: String,
    /// Kernel and variant.
    pub kernel: String,
    /// Time, by timestamp queries.
    pub ms: f64,
    /// Bytes of its bindings.
    pub bytes: u64,
}

/// The answer: one of these, told apart by its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Output {
    /// One vector an item.
    Embeddings {
        /// The vectors.
        embeddings: Vec<Vec<f32>>,
    },
    /// Classes, likeliest first.
    Labels {
        /// The classes.
        labels: Vec<Label>,
    },
    /// What was said.
    Transcript {
        /// The transcript.
        transcript: Transcript,
    },
    /// What was generated.
    Tokens {
        /// Token ids.
        tokens: Vec<u32>,
        /// Why it ended.
        finish_reason: String,
    },
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Raw numbers.
    Tensor {
        /// The tensor.
        tensor: TensorOutput,
    },
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Name of the class.
    pub label: String,
    /// Its probability.
    pub probability: f32,
}

/// What was said, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// Piece by piece.
    pub segments: Vec<Segment>,
}

/// A piece of a transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// First second.
    pub start: f64,
    /// Last second.
    pub end: f64,
    /// What was said.
    pub text: String,
}

/// Raw numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorOutput {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
