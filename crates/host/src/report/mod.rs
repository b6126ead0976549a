//! Results for people: a Markdown table, and one HTML page that holds everything it needs.

mod compare;
mod html;
mod markdown;
#[cfg(test)]
pub(crate) mod testing;

use webnibble_common::result::RunRecord;

pub use compare::{Change, compare, comparison_table};
pub use html::html;
pub use markdown::markdown;

/// A result in the words of a table.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Row {
    /// `chrome 156.0`.
    pub browser: String,
    /// The platform that was asked for.
    pub platform: String,
    /// Who computed.
    pub engine: String,
    /// Name of the model.
    pub model: String,
    /// Bits of the linear weights, and of activations where these are quantized too.
    pub bits: String,
    /// Items in one run.
    pub batch: Option<usize>,
    /// Tokens of the longest item.
    pub sequence_length: Option<usize>,
    /// What ran.
    pub implementation_type: Option<String>,
    /// `hardware` or `software`, for WebGPU.
    pub adapter: Option<String>,
    /// Loading, first inference and later ones.
    pub load_ms: Option<f64>,
    /// The first inference of its shape.
    pub first_ms: Option<f64>,
    /// Median of later ones, on the platform or, for a simulation, on the CPU.
    pub p50_ms: Option<f64>,
    /// 90th percentile.
    pub p90_ms: Option<f64>,
    /// Smallest.
    pub min_ms: Option<f64>,
    /// Number of runs.
    pub runs: Option<usize>,
    /// GPU time.
    pub gpu_ms: Option<f64>,
    /// Weights in the backend's memory.
    pub weights_bytes: Option<u64>,
    /// Most bytes of GPU buffers.
    pub gpu_peak_bytes: Option<u64>,
    /// Memory of wasm.
    pub wasm_heap_bytes: Option<u64>,
    /// Resident memory of the browser's processes.
    pub browser_rss_bytes: Option<u64>,
    /// Mean cosine to f32.
    pub cosine: Option<f64>,
    /// Steps of the fallback chain, or why nothing ran.
    pub note: String,
}

impl Row {
    /// A record in the words of a table.
    pub fn of(record: &RunRecord) -> Self {
        let metrics = &record.performance_metrics;
        let times = metrics.inference_time_ms.or(metrics.cpu_time_ms);
        let input = record.input.as_ref();
        let option = |name: &str| record.options.get(name).and_then(|option| option.value.as_str().map(str::to_owned));
        let browser = match &record.browser {
            Some(browser) => format!("{} {}", browser.name, major(&browser.version)),
            None => option("browser").unwrap_or_else(|| "-".into()),
        };
        Self {
            browser,
            platform: record.platform.to_string(),
            engine: record.engine.to_string(),
            model: record.model.as_ref().map_or_else(|| "-".into(), |model| model.name.clone()),
            bits: bits(record),
            batch: input.map(|input| input.batch),
            sequence_length: input.and_then(|input| input.sequence_length),
            implementation_type: record.implementation_type.map(|kind| kind.to_string()),
            adapter: record.adapter.as_ref().map(|a| if a.hardware { "hardware" } else { "software" }.to_owned()),
            load_ms: metrics.initialization_time_ms.map(|time| time.total),
            first_ms: metrics.first_inference_time_ms,
            p50_ms: times.map(|times| times.p50),
            p90_ms: times.map(|times| times.p90),
            min_ms: times.map(|times| times.min),
            runs: times.map(|times| times.runs),
            gpu_ms: metrics.gpu_time_ms.map(|times| times.p50),
            weights_bytes: metrics.memory.weights_bytes,
            gpu_peak_bytes: metrics.memory.gpu_peak_bytes,
            wasm_heap_bytes: metrics.memory.wasm_heap_bytes,
            browser_rss_bytes: metrics.memory.browser_rss_bytes,
            cosine: metrics.quantization_error.map(|error| error.cosine),
            note: note(record),
        }
    }

    /// What is measured, whatever came of it: rows of two reports that agree in this are compared.
    pub fn key(&self) -> String {
        let browser = self.browser.split(' ').next().unwrap_or_default();
        let input = (self.batch.unwrap_or(0), self.sequence_length.unwrap_or(0));
        format!("{browser} {} {} {} {} bits {}×{}", self.platform, self.engine, self.model, self.bits, input.0, input.1)
    }

    /// Who measured what, for the legend of a chart.
    pub fn series(&self) -> String {
        let engine = if self.engine == "native" { String::new() } else { format!(" ({})", self.engine) };
        format!("{} {}{engine}", self.browser, self.platform)
    }
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

fn bits(record: &RunRecord) -> String {
    let metrics = &record.performance_metrics;
    let Some(weights) = metrics.quantization_bits else { return "-".into() };
    let activations = record.quantization.as_ref().map(|made| u8::from(made.activation_bits));
    match activations {
        Some(activations @ 1..=8) => format!("{weights}/{activations}"),
        _ => weights.to_string(),
    }
}

fn note(record: &RunRecord) -> String {
    let steps = record.fallbacks.iter().map(|step| format!("{} → {}: {}", step.from, step.to, step.reason));
    let error = record.error.iter().map(|error| error.message.clone());
    steps.chain(error).collect::<Vec<_>>().join("; ")
}

/// A time as a table shows it.
fn ms(time: Option<f64>) -> String {
    match time {
        None => "–".into(),
        Some(time) if time >= 100.0 => format!("{time:.0}"),
        Some(time) if time >= 10.0 => format!("{time:.1}"),
        Some(time) => format!("{time:.2}"),
    }
}
