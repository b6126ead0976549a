//! The record of a run, built once: of how far the run got, and of its answer or its error.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use webnibble_common::capabilities::Adapter;
use webnibble_common::generate::Generated;
use webnibble_common::options::{BrowserKind, Platform};
use webnibble_common::package::PackageMeta;
use webnibble_common::profiles::{self, ResolvedSettings, Source};
use webnibble_common::quant::Bits;
use webnibble_common::record::{
    BrowserInfo, Choice, Fallback, ImplementationType, InitializationTime, InputInfo, MemoryReduction, MemoryUse,
    ModelInfo, OptionValue, Output, PerformanceMetrics, ProfileRow, QuantizationInfo, RunInfo, RunRecord,
    SCHEMA_VERSION, Status, Times, TokensPerSec, WebNnInfo,
};
use webnibble_common::wire::{Adjustment, KernelTime, LoadReport};
use webnibble_models::output::{self, Answers};

use super::answer::{OnnxForm, PageAnswer, fallback_of};
use super::prepared::PreparedModel;
use super::request::{RunRequest, input_info};
use super::simulate::Simulated;
use crate::error::HostError;
use crate::loader::Model;
use crate::machine;

/// How far a run got: each is there once it is known, whatever comes of the run.
pub(super) struct Known {
    pub(super) began: Timestamp,
    /// The input as the model takes it.
    pub(super) input: Option<InputInfo>,
    /// How `auto` chose.
    pub(super) choice: Option<Choice>,
    /// The model for the platform that is tried.
    pub(super) prepared: Option<Arc<PreparedModel>>,
    pub(super) browser: Option<BrowserInfo>,
    /// Routes that failed, and what came after each.
    pub(super) steps: Vec<Fallback>,
    /// What the page set otherwise before it failed.
    pub(super) adjustments: Vec<Adjustment>,
}

impl Known {
    /// Nothing yet of a run that begins now.
    pub(super) fn begin() -> Self {
        Self {
            began: Timestamp::now(),
            input: None,
            choice: None,
            prepared: None,
            browser: None,
            steps: Vec::new(),
            adjustments: Vec::new(),
        }
    }

    /// Takes up a model that was made ready for a platform: whatever was tried on another one is no matter any more.
    pub(super) fn prepared(&mut self, prepared: PreparedModel) -> Arc<PreparedModel> {
        let prepared = Arc::new(prepared);
        self.prepared = Some(Arc::clone(&prepared));
        self.steps.clear();
        prepared
    }
}

/// Where an answer came from.
pub(super) enum Answer {
    /// The page.
    Page(Box<PageAnswer>),
    /// This machine, without a browser.
    Here(Box<Simulated>),
}

/// The record of a run that is over. Of one that failed it says how far it got, and calls nothing anything that gave no
/// answer.
pub(super) fn record(request: &RunRequest, known: &Known, outcome: Result<Answer, HostError>) -> RunRecord {
    let (answer, error) = match outcome {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error)),
    };
    let prepared = known.prepared.as_deref();
    let quantization_bits =
        prepared.and_then(|prepared| Bits::try_from(prepared.package.header.meta.quantization.bits).ok());
    let ran = match (answer, prepared) {
        (Some(Answer::Page(answer)), Some(prepared)) => Ran::in_page(*answer, prepared, request, known),
        (Some(Answer::Here(simulated)), Some(prepared)) => Ran::here(*simulated, prepared, request, known),
        _ => Ran { adjustments: known.adjustments.clone(), input: known.input.clone(), ..Ran::default() },
    };
    let (options, fallbacks) = kept(known, &ran.adjustments);
    let input = ran.input.unwrap_or_else(|| input_info(&request.input, &[]));
    let foreign = ran.onnx.as_ref().is_some_and(|onnx| !onnx.exported);
    RunRecord {
        status: if error.is_some() { Status::Error } else { Status::Ok },
        error: error.map(|error| error.info()),
        model: prepared.map(|prepared| model_info(prepared, request, ran.onnx.as_ref())),
        input: Some(input),
        implementation_type: ran.implementation_type,
        is_simulation: ran.implementation_type.map(ImplementationType::is_simulation),
        simulated_in: ran.simulated_in.map(str::to_owned),
        using_transformers_js: ran.implementation_type.map(|_| ran.onnx.is_some()),
        fallbacks,
        choice: known.choice.clone(),
        options,
        browser: known.browser.clone(),
        adapter: ran.adapter,
        webnn: ran.webnn,
        kernels: ran.kernels,
        quantization: prepared
            .filter(|_| !foreign)
            .and_then(|prepared| quantization(prepared, ran.activation_bits, ran.implementation_type)),
        performance_metrics: PerformanceMetrics {
            quantization_bits: quantization_bits.filter(|_| !foreign),
            ..ran.metrics
        },
        profile: ran.profile,
        output: ran.output,
        ..blank(request, known.began)
    }
}

/// What an answer says in a record.
#[derive(Default)]
struct Ran {
    implementation_type: Option<ImplementationType>,
    simulated_in: Option<&'static str>,
    /// The form that transformers.js ran.
    onnx: Option<OnnxForm>,
    input: Option<InputInfo>,
    /// What the page set otherwise than it was asked to.
    adjustments: Vec<Adjustment>,
    adapter: Option<Adapter>,
    webnn: Option<WebNnInfo>,
    kernels: Option<BTreeMap<String, String>>,
    /// As the page computes, where it said so.
    activation_bits: Option<Bits>,
    metrics: PerformanceMetrics,
    profile: Option<Vec<ProfileRow>>,
    output: Option<Output>,
}

impl Ran {
    fn in_page(answer: PageAnswer, prepared: &PreparedModel, request: &RunRequest, known: &Known) -> Self {
        let metrics = metrics(&answer, prepared, request);
        let PageAnswer { answered, .. } = answer;
        let (loaded, report) = (answered.loaded.report, answered.measured.report);
        let prompt_name = known.input.as_ref().and_then(|input| input.prompt_name.clone());
        Self {
            implementation_type: Some(report.implementation_type),
            simulated_in: loaded.implementation_type.is_simulation().then_some("page"),
            onnx: answered.loaded.onnx,
            input: Some(InputInfo { prompt_name, ..input_info(&request.input, &report.tokens_kept) }),
            adjustments: report.adjustments,
            adapter: loaded.adapter,
            webnn: report.webnn.or(loaded.webnn),
            kernels: (!report.variants.is_empty()).then_some(report.variants),
            activation_bits: Some(loaded.activation_bits),
            metrics,
            profile: report.kernels.map(|kernels| kernels.into_iter().map(profile_row).collect()),
            output: match report.generated {
                Some(Generated { text, tokens, finish_reason, .. }) => {
                    Some(Output::Text { text, tokens, finish_reason })
                }
                None => {
                    let answers = Answers::of(&prepared.package.header.meta);
                    output::answer(&answered.measured.outputs, &request.outputs, &answers)
                }
            },
        }
    }

    fn here(simulated: Simulated, prepared: &PreparedModel, request: &RunRequest, known: &Known) -> Self {
        let meta = &prepared.package.header.meta;
        let Simulated { outputs, run_ms, weights_bytes, compared } = simulated;
        Self {
            implementation_type: Some(match prepared.platform {
                Platform::Webnn => ImplementationType::SimulatedWebnn,
                _ => ImplementationType::SimulatedWebgpu,
            }),
            simulated_in: Some("host"),
            input: known.input.clone(),
            metrics: PerformanceMetrics {
                cpu_time_ms: Times::of(&run_ms),
                memory: MemoryUse { weights_bytes: Some(weights_bytes), ..MemoryUse::default() },
                memory_reduction_percent: Some(memory_reduction(meta, weights_bytes)),
                quantization_error: compared.error,
                not_compared: compared.reason,
                ..PerformanceMetrics::default()
            },
            output: output::answer(&outputs, &request.outputs, &Answers::of(meta)),
            ..Self::default()
        }
    }
}

/// What the page measured. The times of a stand-in are never the platform's; what transformers.js does not tell is not
/// known: its memory is its own, and of somebody else's file not even the bits of its weights are known, but for its name.
fn metrics(answer: &PageAnswer, prepared: &PreparedModel, request: &RunRequest) -> PerformanceMetrics {
    let answered = &answer.answered;
    let (loaded, report) = (&answered.loaded.report, &answered.measured.report);
    let (onnx, meta) = (answered.loaded.onnx.as_ref(), &prepared.package.header.meta);
    let real = !report.implementation_type.is_simulation();
    let times = Times::of(&report.run_ms);
    let items = input_info(&request.input, &report.tokens_kept).batch * report.run_ms.len();
    let total_ms: f64 = report.run_ms.iter().sum();
    let gpu_ms = report.gpu_ms.as_ref().or(answer.timestamped.as_ref());
    let generated = report.generated.as_ref().filter(|_| real);
    PerformanceMetrics {
        start_to_first_result_ms: answered.start,
        initialization_time_ms: initialization_time(loaded, onnx),
        first_inference_time_ms: real.then_some(report.first_ms),
        warmup: (real && !report.run_ms.is_empty()).then_some(report.warmup),
        inference_time_ms: times.filter(|_| real),
        cpu_time_ms: times.filter(|_| !real),
        gpu_time_ms: gpu_ms.and_then(|times| Times::of(times)),
        throughput_items_per_sec: (total_ms > 0.0 && real).then(|| items as f64 / total_ms * 1e3),
        time_to_first_token_ms: generated.map(|generated| generated.prefill_ms),
        tokens_per_sec: generated.map(tokens_per_sec),
        memory: memory(answer),
        memory_reduction_percent: reduction(loaded, onnx, meta),
        quantization_error: answer.compared.error,
        not_compared: answer.compared.reason.clone(),
        engine_ratio: answer.ratio,
        ..PerformanceMetrics::default()
    }
}

/// How fast the prompt was read, and how fast what follows its first token came.
fn tokens_per_sec(generated: &Generated) -> TokensPerSec {
    let following_ms: f64 = generated.token_ms.iter().sum();
    TokensPerSec {
        prefill: generated.prompt_tokens as f64 / generated.prefill_ms * 1e3,
        decode: (following_ms > 0.0).then(|| generated.token_ms.len() as f64 / following_ms * 1e3),
    }
}

/// What it takes to load a stand-in is not what it takes to load the platform.
fn initialization_time(loaded: &LoadReport, onnx: Option<&OnnxForm>) -> Option<InitializationTime> {
    (!loaded.implementation_type.is_simulation()).then_some(InitializationTime {
        total: loaded.total_ms,
        fetch: loaded.fetch_ms,
        upload: onnx.is_none().then_some(loaded.upload_ms),
        compile: loaded.compile_ms,
        choosing: loaded.choosing_ms,
    })
}

fn memory(answer: &PageAnswer) -> MemoryUse {
    let (loaded, report) = (&answer.answered.loaded, &answer.answered.measured.report);
    let ours = loaded.onnx.is_none();
    MemoryUse {
        weights_bytes: ours.then_some(loaded.report.weights_bytes),
        gpu_peak_bytes: report.gpu_peak_bytes,
        wasm_heap_bytes: ours.then_some(report.wasm_heap_bytes),
        browser_rss_bytes: answer.memory.resident_bytes,
        browser_pss_bytes: answer.memory.proportional_bytes,
    }
}

fn reduction(loaded: &LoadReport, onnx: Option<&OnnxForm>, meta: &PackageMeta) -> Option<MemoryReduction> {
    let reduction = memory_reduction(meta, loaded.weights_bytes);
    match onnx {
        None => Some(reduction),
        Some(onnx) => onnx.exported.then_some(MemoryReduction { measured: None, ..reduction }),
    }
}

/// Memory against the same model in f16, of two bytes a weight.
pub(super) fn memory_reduction(meta: &PackageMeta, weights_bytes: u64) -> MemoryReduction {
    let f16_bytes = meta.parameters as f64 * 2.0;
    MemoryReduction {
        nominal: Bits::try_from(meta.quantization.bits).unwrap_or(Bits::B32).nominal_reduction_percent(),
        measured: (meta.parameters > 0).then(|| (1.0 - weights_bytes as f64 / f16_bytes) * 100.0),
    }
}

fn profile_row(kernel: KernelTime) -> ProfileRow {
    let KernelTime { operator, kernel, ms, bytes } = kernel;
    ProfileRow { operator, kernel, ms, bytes }
}

/// The options as they were set in the end, and every request that was not kept, in the order in which that showed.
fn kept(known: &Known, adjustments: &[Adjustment]) -> (BTreeMap<String, OptionValue>, Vec<Fallback>) {
    let resolved = known.prepared.as_deref().map(|prepared| &prepared.resolved);
    let mut options = resolved.map(profiles::Resolved::record).unwrap_or_default();
    let mut fallbacks = resolved.map(|resolved| resolved.fallbacks.clone()).unwrap_or_default();
    let window = known.browser.as_ref().map(window_adjustment);
    fallbacks.extend(window.iter().filter_map(|window| adjust(&mut options, window)));
    fallbacks.extend(known.steps.iter().cloned());
    fallbacks.extend(adjustments.iter().filter_map(|adjustment| adjust(&mut options, adjustment)));
    (options, fallbacks)
}

/// Sets an option as the page set it. What failed, or what was asked for and not kept, is a fallback.
fn adjust(options: &mut BTreeMap<String, OptionValue>, adjustment: &Adjustment) -> Option<Fallback> {
    let asked = options.get_mut(&adjustment.option).filter(|asked| asked.value != adjustment.value)?;
    let fallback = fallback_of(asked, adjustment);
    let explicit = asked.source == Source::Explicit;
    *asked = OptionValue { value: adjustment.value.clone(), source: Source::Platform };
    (explicit || adjustment.code.is_some()).then_some(fallback)
}

/// The browser's window as it is: where that is not as was asked for, the option was not kept.
fn window_adjustment(browser: &BrowserInfo) -> Adjustment {
    let reason = match browser.headless {
        true => "there is no display that its window could be seen on",
        false => "it was started with a window, or has no headless mode",
    };
    let (option, value) = ("headless".to_owned(), browser.headless.into());
    Adjustment { option, value, code: None, reason: format!("{}: {reason}", browser.name) }
}

fn model_info(prepared: &PreparedModel, request: &RunRequest, onnx: Option<&OnnxForm>) -> ModelInfo {
    let header = &prepared.package.header;
    let meta = &header.meta;
    let task = match request.generate {
        true => "text-generation",
        false => Answers::of(meta).task().unwrap_or("feature-extraction"),
    };
    let digest = onnx.filter(|onnx| !onnx.exported).map_or(&header.digest, |onnx| &onnx.digest);
    ModelInfo {
        name: meta.name.clone(),
        family: meta.family.clone(),
        task: task.into(),
        parameters: meta.parameters,
        source: request.model.clone(),
        digest: digest.clone(),
        onnx_file: onnx.map(|onnx| onnx.file.clone()),
    }
}

/// How the weights are stored, and what ran; nothing of weights that somebody else quantized.
fn quantization(
    prepared: &PreparedModel,
    activation_bits: Option<Bits>,
    ran: Option<ImplementationType>,
) -> Option<QuantizationInfo> {
    if matches!(*prepared.model, Model::Onnx(_)) {
        return None;
    }
    Some(quantization_info(&prepared.package.header.meta, &prepared.resolved.settings, activation_bits, ran))
}

/// What the package says of itself, not what was asked for; of activations the latter, until the page says what it does.
pub(super) fn quantization_info(
    meta: &PackageMeta,
    settings: &ResolvedSettings,
    activation_bits: Option<Bits>,
    ran: Option<ImplementationType>,
) -> QuantizationInfo {
    let made = &meta.quantization;
    let bits = |bits: u8| Bits::try_from(bits).unwrap_or(Bits::B32);
    let (granularity, group_size) = profiles::granularity_parts(made.granularity);
    let bits_by_tensor: BTreeMap<_, _> =
        meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format.bits)).collect();
    let small = bits_by_tensor.values().any(|bits| *bits < Bits::B8);
    QuantizationInfo {
        bits: bits(made.bits),
        scheme: made.scheme,
        granularity: granularity.into(),
        group_size,
        mixed_precision: made.mixed_precision,
        attention_bits: bits(made.attention_bits),
        embedding_bits: bits(made.embedding_bits),
        activation_bits: activation_bits.unwrap_or(settings.activation_bits.value),
        bits_by_tensor,
        // Of what ran, not of what was allowed.
        experimental: small && ran == Some(ImplementationType::RealWebnn),
    }
}

/// The record of a run for which no browser could be started.
pub fn not_started(request: &RunRequest, error: &HostError) -> RunRecord {
    let browser = request.options.launch.browser.unwrap_or(BrowserKind::Chrome);
    let mut options = profiles::asked(&request.options);
    options.insert("browser".into(), OptionValue { value: browser.name().into(), source: Source::Explicit });
    let quantization_bits = request.options.settings.bits;
    RunRecord {
        status: Status::Error,
        error: Some(error.info()),
        options,
        performance_metrics: PerformanceMetrics { quantization_bits, ..PerformanceMetrics::default() },
        ..blank(request, Timestamp::now())
    }
}

/// The record of a run of which nothing is known but what was asked for.
fn blank(request: &RunRequest, began: Timestamp) -> RunRecord {
    RunRecord {
        schema_version: SCHEMA_VERSION,
        status: Status::Ok,
        error: None,
        run: RunInfo {
            timestamp: began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: machine::info(),
            revision: machine::revision(&request.revision),
        },
        model: None,
        input: Some(input_info(&request.input, &[])),
        platform: request.platform(),
        engine: request.engine(),
        implementation_type: None,
        is_simulation: None,
        simulated_in: None,
        using_transformers_js: None,
        fallbacks: Vec::new(),
        choice: None,
        options: BTreeMap::new(),
        browser: None,
        adapter: None,
        webnn: None,
        kernels: None,
        quantization: None,
        performance_metrics: PerformanceMetrics::default(),
        profile: None,
        output: None,
    }
}
