//! What was measured.

use serde::{Deserialize, Serialize};

use super::times::Times;
use crate::options::Engine;
use crate::quant::Bits;
use crate::warmup::Warmup;

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
    /// From the prompt's tokens given to the first one chosen, of models that generate.
    #[serde(default)]
    pub time_to_first_token_ms: Option<f64>,
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
    /// Why outputs were not compared with f32, where they could have been: the model is large, and nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
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

/// Speed of models that generate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokensPerSec {
    /// Of the prompt.
    pub prefill: f64,
    /// Of what is generated behind the first token; `None` where nothing is.
    pub decode: Option<f64>,
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
