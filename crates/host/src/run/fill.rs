//! From reports of the page to the fields of the record.

use webnibble_common::package::PackageMeta;
use webnibble_common::profiles::{self, OptionsError, Resolved, ResolvedSettings, Source};
use webnibble_common::quant::Bits;
use webnibble_common::result::{
    BrowserInfo, Fallback, ImplementationType, InitializationTime, InputInfo, MemoryReduction, ModelInfo, OptionValue,
    PerformanceMetrics, ProfileRow, QuantizationInfo, RunRecord, Times, TokensKept,
};
use webnibble_common::wire::{Adjustment, ErrorCode, LoadReport, RunReport};

use super::request::Input;
use crate::browser::BrowserMemory;
use crate::error::HostError;

pub(super) fn model_info(meta: &PackageMeta, source: &str, digest: &str) -> ModelInfo {
    let task = if meta.sentence.is_some() { "sentence-embedding" } else { "feature-extraction" };
    ModelInfo {
        name: meta.name.clone(),
        family: meta.family.clone(),
        task: task.into(),
        parameters: meta.parameters,
        source: source.to_owned(),
        digest: digest.to_owned(),
        onnx_file: None,
    }
}

/// What the package says of itself, not what was asked for.
pub(super) fn quantization_info(meta: &PackageMeta, settings: &ResolvedSettings) -> QuantizationInfo {
    let made = &meta.quantization;
    let bits = |bits: u8| Bits::try_from(bits).unwrap_or(Bits::B32);
    let (granularity, group_size) = profiles::granularity_parts(made.granularity);
    QuantizationInfo {
        bits: bits(made.bits),
        scheme: made.scheme,
        granularity: granularity.into(),
        group_size,
        mixed_precision: made.mixed_precision,
        attention_bits: bits(made.attention_bits),
        embedding_bits: bits(made.embedding_bits),
        // What was asked for, until the page says what it does.
        activation_bits: settings.activation_bits.value,
        bits_by_tensor: meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format.bits)).collect(),
        // Until something runs.
        experimental: false,
    }
}

pub(super) fn fill_loaded(record: &mut RunRecord, loaded: &LoadReport, meta: &PackageMeta) {
    record.implementation_type = Some(loaded.implementation_type);
    record.is_simulation = Some(loaded.implementation_type.is_simulation());
    record.simulated_in = loaded.implementation_type.is_simulation().then(|| "page".to_owned());
    record.using_transformers_js = Some(false);
    record.adapter.clone_from(&loaded.adapter);
    record.webnn.clone_from(&loaded.webnn);
    if let Some(quantization) = &mut record.quantization {
        quantization.activation_bits = loaded.activation_bits;
    }
    let metrics = &mut record.performance_metrics;
    // What it takes to load a stand-in is not what it takes to load the platform.
    metrics.initialization_time_ms = (!loaded.implementation_type.is_simulation()).then_some(InitializationTime {
        total: loaded.total_ms,
        fetch: loaded.fetch_ms,
        upload: Some(loaded.upload_ms),
        compile: loaded.compile_ms,
        choosing: loaded.choosing_ms,
    });
    metrics.memory.weights_bytes = Some(loaded.weights_bytes);
    metrics.memory.wasm_heap_bytes = Some(loaded.wasm_heap_bytes);
    metrics.memory_reduction_percent = Some(memory_reduction(meta, loaded.weights_bytes));
}

/// The ONNX form that transformers.js has.
pub(super) struct OnnxForm {
    /// Its path in the model's folder.
    pub(super) file: String,
    pub(super) digest: String,
    /// Whether it has the very weights of the package.
    pub(super) exported: bool,
}

/// What transformers.js does not tell is not known: its memory is its own. Of somebody else's file not even the bits of its
/// weights are known, but for its name.
pub(super) fn fill_transformers_js(record: &mut RunRecord, onnx: &OnnxForm) {
    record.using_transformers_js = Some(true);
    let metrics = &mut record.performance_metrics;
    if let Some(time) = &mut metrics.initialization_time_ms {
        time.upload = None;
    }
    metrics.memory.weights_bytes = None;
    metrics.memory.wasm_heap_bytes = None;
    if let Some(reduction) = &mut metrics.memory_reduction_percent {
        reduction.measured = None;
    }
    if !onnx.exported {
        record.quantization = None;
        (metrics.quantization_bits, metrics.memory_reduction_percent) = (None, None);
    }
    if let Some(model) = &mut record.model {
        model.onnx_file = Some(onnx.file.clone());
        if !onnx.exported {
            model.digest.clone_from(&onnx.digest);
        }
    }
}

/// Takes back what was written of a run that gave no answer, or whose measuring failed: nothing ran that could be named.
pub(super) fn clear_run(record: &mut RunRecord) {
    (record.implementation_type, record.is_simulation, record.simulated_in) = (None, None, None);
    record.using_transformers_js = None;
    (record.adapter, record.webnn) = (None, None);
    (record.kernels, record.profile, record.output) = (None, None, None);
    let quantization_bits = record.performance_metrics.quantization_bits;
    record.performance_metrics = PerformanceMetrics { quantization_bits, ..PerformanceMetrics::default() };
}

/// The browser; where its window is not as was asked for, that is an option that was not kept.
pub(super) fn fill_browser(record: &mut RunRecord, browser: &BrowserInfo) {
    record.browser = Some(browser.clone());
    let kept =
        record.options.get("headless").is_none_or(|asked| asked.value == serde_json::Value::Bool(browser.headless));
    if !kept {
        let reason = match browser.headless {
            true => "there is no display that its window could be seen on",
            false => "it was started with a window, or has no headless mode",
        };
        let (option, value) = ("headless".to_owned(), browser.headless.into());
        adjust(record, &Adjustment { option, value, code: None, reason: format!("{}: {reason}", browser.name) });
    }
}

pub(super) fn fill_browser_memory(record: &mut RunRecord, memory: BrowserMemory) {
    let filled = &mut record.performance_metrics.memory;
    (filled.browser_rss_bytes, filled.browser_pss_bytes) = (memory.resident_bytes, memory.proportional_bytes);
}

/// Memory against the same model in f16, of two bytes a weight.
pub(super) fn memory_reduction(meta: &PackageMeta, weights_bytes: u64) -> MemoryReduction {
    let f16_bytes = meta.parameters as f64 * 2.0;
    MemoryReduction {
        nominal: Bits::try_from(meta.quantization.bits).unwrap_or(Bits::B32).nominal_reduction_percent(),
        measured: (meta.parameters > 0).then(|| (1.0 - weights_bytes as f64 / f16_bytes) * 100.0),
    }
}

pub(super) fn fill_ran(record: &mut RunRecord, report: &RunReport, input: &Input) {
    let simulated = report.implementation_type.is_simulation();
    record.implementation_type = Some(report.implementation_type);
    record.is_simulation = Some(simulated);
    let prompt_name = record.input.as_ref().and_then(|input| input.prompt_name.clone());
    let info = InputInfo { prompt_name, ..input_info(input, &report.tokens_kept) };
    let metrics = &mut record.performance_metrics;
    // The times of a stand-in are never the platform's.
    metrics.first_inference_time_ms = (!simulated).then_some(report.first_ms);
    metrics.warmup = (!simulated && !report.run_ms.is_empty()).then_some(report.warmup);
    let times = Times::of(&report.run_ms);
    (metrics.inference_time_ms, metrics.cpu_time_ms) = if simulated { (None, times) } else { (times, None) };
    metrics.gpu_time_ms = report.gpu_ms.as_deref().and_then(Times::of);
    let total_ms: f64 = report.run_ms.iter().sum();
    metrics.throughput_items_per_sec =
        (total_ms > 0.0 && !simulated).then(|| (info.batch * report.run_ms.len()) as f64 / total_ms * 1e3);
    metrics.memory.gpu_peak_bytes = report.gpu_peak_bytes;
    if record.using_transformers_js != Some(true) {
        metrics.memory.wasm_heap_bytes = Some(report.wasm_heap_bytes);
    }
    record.input = Some(info);
    if let Some(quantization) = &mut record.quantization {
        let small = quantization.bits_by_tensor.values().any(|bits| *bits < Bits::B8);
        quantization.experimental = small && report.implementation_type == ImplementationType::RealWebnn;
    }
    if report.webnn.is_some() {
        record.webnn.clone_from(&report.webnn);
    }
    for adjustment in &report.adjustments {
        adjust(record, adjustment);
    }
    record.kernels = (!report.variants.is_empty()).then(|| report.variants.clone());
    record.profile = report.kernels.as_ref().map(|kernels| {
        let row = |kernel: &webnibble_common::wire::KernelTime| ProfileRow {
            operator: kernel.operator.clone(),
            kernel: kernel.kernel.clone(),
            ms: kernel.ms,
            bytes: kernel.bytes,
        };
        kernels.iter().map(row).collect()
    });
}

/// Writes an option down as the page set it. What failed, or what was asked for and not kept, is a fallback. Every report
/// of a model says so again: what stands there already is no news.
fn adjust(record: &mut RunRecord, adjustment: &Adjustment) {
    let Some(asked) = record.options.get_mut(&adjustment.option) else { return };
    if asked.value == adjustment.value {
        return;
    }
    let fallback = fallback_of(asked, adjustment);
    let explicit = asked.source == Source::Explicit;
    *asked = OptionValue { value: adjustment.value.clone(), source: Source::Platform };
    if explicit || adjustment.code.is_some() {
        record.fallbacks.push(fallback);
    }
}

fn fallback_of(asked: &OptionValue, adjustment: &Adjustment) -> Fallback {
    let Adjustment { option, value, code, reason } = adjustment;
    Fallback {
        from: format!("{option} {}", asked.value),
        to: format!("{option} {value}"),
        code: code.unwrap_or(ErrorCode::Unsupported).name(),
        reason: reason.clone(),
    }
}

/// Whether a run kept what was asked for, where no fallback is allowed. What nobody asked for may be set otherwise, such as
/// portable kernels after others failed to build.
///
/// # Errors
/// [`OptionsError::NotKept`] of the first request that was not kept.
pub(super) fn check_kept(resolved: &Resolved, report: &RunReport) -> Result<(), HostError> {
    if resolved.fallback.value || report.adjustments.is_empty() {
        return Ok(());
    }
    let options = resolved.record();
    for adjustment in &report.adjustments {
        let asked = options.get(&adjustment.option).filter(|asked| asked.source == Source::Explicit);
        if let Some(asked) = asked.filter(|asked| asked.value != adjustment.value) {
            return Err(OptionsError::not_kept(&fallback_of(asked, adjustment)).into());
        }
    }
    Ok(())
}

/// What is known of an input; lengths of texts are known once they are tokenized.
pub(super) fn input_info(input: &Input, tokens_kept: &[TokensKept]) -> InputInfo {
    let batch = match input {
        Input::Text { texts, .. } => texts.len(),
        Input::Ids { ids, .. } => ids.len(),
        Input::Tensors { tensors } => {
            tensors.first().and_then(|(_, tensor)| tensor.shape().first().copied()).unwrap_or(1)
        }
    };
    let longest = match (input, tokens_kept) {
        (Input::Ids { ids, .. }, []) => ids.iter().map(Vec::len).max(),
        _ => tokens_kept.iter().map(|tokens| tokens.kept).max(),
    };
    InputInfo {
        kind: input.kind().into(),
        batch,
        sequence_length: longest,
        size: None,
        seconds: None,
        tokens_kept: (!tokens_kept.is_empty()).then(|| tokens_kept.to_vec()),
        prompt_name: None,
    }
}
