//! One model, one browser, one answer: the record of a run.
//!
//! [`run`] always gives a record. It is filled step by step, so that a run that fails says how far it got; nothing in it
//! is made up: what was not measured stays null, and what really ran is what the page's backend reported.

use std::sync::Arc;
use std::time::Duration;

use webnibble_common::options::{BrowserKind, Engine, Options, Platform};
use webnibble_common::package::PackageMeta;
use webnibble_common::profiles::{self, Context, Resolved, ResolvedSettings};
use webnibble_common::quant::Bits;
use webnibble_common::result::{
    InitializationTime, InputInfo, MemoryReduction, ModelInfo, Output, PerformanceMetrics, ProfileRow,
    QuantizationError, QuantizationInfo, RunInfo, RunRecord, SCHEMA_VERSION, Status, TensorOutput, Times,
};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RemoteError, RunInput, RunOptions, RunReport, Stage};

use crate::browser::default_gpu_profile;
use crate::error::HostError;
use crate::host::Host;
use crate::loader::{self, Model, PackageFile};
use crate::machine;
use crate::prepare;
use crate::reference::{self, Reference};
use crate::session::ProgressSink;

/// How long loading a package may take, pipelines included.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// How long all runs of one request may take.
const RUN_LIMIT: Duration = Duration::from_secs(600);

/// What to run.
#[derive(Clone)]
pub struct RunRequest {
    /// A name, folder or package, as [`loader::find`] takes it.
    pub model: String,
    /// What the caller chose.
    pub options: Options,
    /// What to run the model on.
    pub input: Input,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Revision of this build, for the record; empty where it is not known.
    pub revision: String,
    /// Hears how far the run is, from any thread.
    pub progress: Option<RunProgressSink>,
}

/// What to run a model on.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Texts or token ids, one batch.
    Given(RunInput),
    /// Tensors by the names of the graph's inputs.
    Tensors(Vec<(String, Tensor)>),
}

/// Hears how far a run is.
pub type RunProgressSink = Arc<dyn Fn(RunProgress<'_>) + Send + Sync>;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunProgress<'a> {
    /// A step on this machine, in bytes or weights; a total of 0 is unknown.
    Host {
        /// What is being done.
        what: &'a str,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// A step in the page.
    Page {
        /// What is being done.
        stage: Stage,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

/// Runs a model once and writes down everything about it. A failure is a record too, with its `error` filled.
pub async fn run(request: RunRequest) -> RunRecord {
    let mut record = RunRecord {
        schema_version: SCHEMA_VERSION,
        status: Status::Ok,
        error: None,
        run: RunInfo {
            timestamp: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: machine::info(),
            revision: machine::revision(&request.revision),
        },
        model: None,
        input: None,
        platform: request.options.platform.unwrap_or(Platform::Webgpu),
        engine: request.options.engine.unwrap_or(Engine::Native),
        implementation_type: None,
        is_simulation: None,
        simulated_in: None,
        using_transformers_js: None,
        fallbacks: Vec::new(),
        choice: None,
        options: Default::default(),
        browser: None,
        adapter: None,
        webnn: None,
        kernels: None,
        quantization: None,
        performance_metrics: PerformanceMetrics::default(),
        profile: None,
        output: None,
    };
    if let Err(error) = fill(&mut record, &request).await {
        record.status = Status::Error;
        record.error = Some(error.info());
    }
    record
}

async fn fill(record: &mut RunRecord, request: &RunRequest) -> Result<(), HostError> {
    check_platform(record.platform, record.engine)?;
    tell(request, "looking for the model", 0, 0);
    let model = load_model(request).await?;
    let options =
        Options { settings: prepare::settings_for(&model, &request.options.settings)?, ..request.options.clone() };
    let resolved = resolve(&options, record.platform, family(&model))?;
    record.options = resolved.record();
    record.fallbacks.clone_from(&resolved.fallbacks);
    record.performance_metrics.quantization_bits = Some(resolved.settings.bits.value);
    let package = package(&model, &resolved.settings, request).await?;
    let meta = &package.header.meta;
    record.model = Some(model_info(meta, &request.model, &package.header.digest));
    record.quantization = Some(quantization_info(meta, &resolved.settings));
    record.performance_metrics.quantization_bits = Bits::try_from(meta.quantization.bits).ok();

    tell(request, "starting the browser", 0, 0);
    let host = start_host(request).await?;
    let outcome = run_in(&host, record, request, &resolved, &package, &model).await;
    host.shutdown().await;
    outcome
}

async fn run_in(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    resolved: &Resolved,
    package: &PackageFile,
    model: &Arc<Model>,
) -> Result<(), HostError> {
    record.browser = Some(host.info().clone());
    check_adapter(host, record.platform)?;
    let name = package.header.meta.name.as_str();
    let load =
        host.load(name, &package.path, &package.header.digest, load_options(record.platform, resolved), LOAD_LIMIT);
    let loaded = load.await.map_err(|error| unavailable(error, record.platform))?;
    fill_loaded(record, &loaded, &package.header.meta);

    let options = RunOptions {
        warmup: resolved.warmup.value,
        runs: resolved.runs.value,
        profile: resolved.profile.value,
        deadline_ms: None,
    };
    let pending = match &request.input {
        Input::Given(input) => host.session().run(name, input.clone(), options, RUN_LIMIT),
        Input::Tensors(tensors) => host.session().run_tensors(name, tensors.clone(), options, RUN_LIMIT),
    };
    let (report, outputs) = host.explain(pending.wait().await).await?;
    fill_ran(record, &report, &request.input);
    record.performance_metrics.memory.browser_rss_bytes = host.browser_rss_bytes();
    record.output = output_of(&outputs, package.header.meta.sentence.is_some());

    tell(request, "comparing with f32", 0, 0);
    record.performance_metrics.quantization_error = compare(model, &request.input, outputs).await;
    Ok(())
}

/// Platforms and engines that are words of the command line, but not built yet.
fn check_platform(platform: Platform, engine: Engine) -> Result<(), HostError> {
    if engine == Engine::TransformersJs {
        let (what, instead) = ("engine `transformers-js`".into(), "leave --engine out: our own kernels run".into());
        return Err(HostError::NotYet { what, instead });
    }
    match platform {
        Platform::Webgpu | Platform::Wasm => Ok(()),
        Platform::Webnn | Platform::Auto => Err(HostError::PlatformUnavailable {
            platform: platform.to_string(),
            reason: "it is not there yet".into(),
            hint: "use --platform webgpu or --platform wasm".into(),
        }),
    }
}

/// What every option is, for a model of `family` on this machine.
///
/// # Errors
/// When options contradict themselves.
pub fn resolve(options: &Options, platform: Platform, family: &str) -> Result<Resolved, HostError> {
    let headless = options.launch.headless.unwrap_or(true);
    let context = Context {
        platform,
        browser: options.launch.browser.unwrap_or(BrowserKind::Chrome),
        family,
        gpu: options.launch.gpu.unwrap_or_else(|| default_gpu_profile(headless)),
    };
    Ok(profiles::resolve(options, context)?)
}

/// The family of a model, as packages name it.
pub fn family(model: &Model) -> &str {
    match model {
        Model::Folder(folder) => folder.config.family(),
        Model::Package(package) => &package.header.meta.family,
    }
}

fn tell(request: &RunRequest, what: &str, done: u64, total: u64) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what, done, total });
    }
}

/// Finds and opens the model, away from the runtime: it may be fetched, and is read.
async fn load_model(request: &RunRequest) -> Result<Arc<Model>, HostError> {
    let request = request.clone();
    blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
        Ok(Arc::new(Model::load(&request.model, &mut progress)?))
    })
    .await
}

/// The package to run: the model itself, or what the quantizer makes of it, or made of it before.
async fn package(
    model: &Arc<Model>,
    settings: &ResolvedSettings,
    request: &RunRequest,
) -> Result<PackageFile, HostError> {
    let (model, settings, request) = (Arc::clone(model), settings.clone(), request.clone());
    blocking(move || prepare::package(&model, &settings, &mut |at| tell(&request, at.what, at.done, at.total))).await
}

/// Runs what computes or reads for long on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            let message = format!("a task of the host failed: {error}");
            Err(RemoteError::new(ErrorCode::Internal, message, "").into())
        }
    }
}

async fn start_host(request: &RunRequest) -> Result<Host, HostError> {
    let mut builder = Host::builder().launch(request.options.launch.clone()).verbose(request.verbose);
    if let Some(progress) = request.progress.clone() {
        let sink: ProgressSink = Arc::new(move |at| {
            progress(RunProgress::Page { stage: at.stage, done: at.done, total: at.total });
        });
        builder = builder.progress(sink);
    }
    builder.start().await
}

/// A page without an adapter cannot run on WebGPU: said before weights are sent for nothing.
fn check_adapter(host: &Host, platform: Platform) -> Result<(), HostError> {
    let webgpu = &host.capabilities().webgpu;
    if platform != Platform::Webgpu || webgpu.adapter.is_some() {
        return Ok(());
    }
    let reason = match (&webgpu.error, webgpu.present) {
        (Some(error), _) => error.clone(),
        (None, true) => "the browser gave no adapter".into(),
        (None, false) => "the page has no navigator.gpu".into(),
    };
    Err(no_webgpu(reason))
}

fn no_webgpu(reason: String) -> HostError {
    HostError::PlatformUnavailable {
        platform: Platform::Webgpu.to_string(),
        reason,
        hint:
            "`webnibble doctor` says more; --gpu software takes the browser's software adapter, --platform wasm needs \
               none. Simulation is not there yet"
                .into(),
    }
}

/// Names a platform that turned out to be missing only when the model was loaded.
fn unavailable(error: HostError, platform: Platform) -> HostError {
    match error {
        HostError::Remote { error, .. }
            if error.code == ErrorCode::WebgpuUnavailable && platform == Platform::Webgpu =>
        {
            no_webgpu(error.message)
        }
        other => other,
    }
}

/// How the page is to run a package.
pub fn load_options(platform: Platform, resolved: &Resolved) -> LoadOptions {
    LoadOptions {
        execution_provider: resolved.settings.execution_provider.value,
        experimental_precision: resolved.settings.experimental_precision.value,
        activation_bits: resolved.settings.activation_bits.value,
        lowering: resolved.settings.lowering.value.clone(),
        threads: resolved.settings.threads.value,
        portable_kernels: resolved.settings.portable_kernels.value,
        shader_precompilation: resolved.settings.shader_precompilation.value,
        ..LoadOptions::on(platform)
    }
}

fn model_info(meta: &PackageMeta, source: &str, digest: &str) -> ModelInfo {
    let task = if meta.sentence.is_some() { "sentence-embedding" } else { "feature-extraction" };
    ModelInfo {
        name: meta.name.clone(),
        family: meta.family.clone(),
        task: task.into(),
        parameters: meta.parameters,
        source: source.to_owned(),
        digest: digest.to_owned(),
    }
}

/// What the package says of itself, not what was asked for.
fn quantization_info(meta: &PackageMeta, settings: &ResolvedSettings) -> QuantizationInfo {
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
        activation_bits: settings.activation_bits.value,
        bits_by_tensor: meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format.bits)).collect(),
        experimental: settings.experimental_precision.value,
    }
}

fn fill_loaded(record: &mut RunRecord, loaded: &LoadReport, meta: &PackageMeta) {
    record.implementation_type = Some(loaded.implementation_type);
    record.is_simulation = Some(loaded.implementation_type.is_simulation());
    record.simulated_in = loaded.implementation_type.is_simulation().then(|| "page".to_owned());
    record.using_transformers_js = Some(false);
    record.adapter.clone_from(&loaded.adapter);
    let metrics = &mut record.performance_metrics;
    metrics.initialization_time_ms = Some(InitializationTime {
        total: loaded.total_ms,
        fetch: loaded.fetch_ms,
        upload: loaded.upload_ms,
        compile: loaded.compile_ms,
    });
    metrics.memory.weights_bytes = Some(loaded.weights_bytes);
    metrics.memory.wasm_heap_bytes = Some(loaded.wasm_heap_bytes);
    metrics.memory_reduction_percent = Some(memory_reduction(meta, loaded.weights_bytes));
}

/// Memory against the same model in f16, of two bytes a weight.
fn memory_reduction(meta: &PackageMeta, weights_bytes: u64) -> MemoryReduction {
    let f16_bytes = meta.parameters as f64 * 2.0;
    MemoryReduction {
        nominal: Bits::try_from(meta.quantization.bits).unwrap_or(Bits::B32).nominal_reduction_percent(),
        measured: (meta.parameters > 0).then(|| (1.0 - weights_bytes as f64 / f16_bytes) * 100.0),
    }
}

fn fill_ran(record: &mut RunRecord, report: &RunReport, input: &Input) {
    let simulated = report.implementation_type.is_simulation();
    record.implementation_type = Some(report.implementation_type);
    record.is_simulation = Some(simulated);
    let info = input_info(input, report);
    let metrics = &mut record.performance_metrics;
    metrics.first_inference_time_ms = Some(report.first_ms);
    let times = Times::of(&report.run_ms);
    // The time of a stand-in is never the platform's.
    (metrics.inference_time_ms, metrics.cpu_time_ms) = if simulated { (None, times) } else { (times, None) };
    metrics.gpu_time_ms = report.gpu_ms.as_deref().and_then(Times::of);
    let total_ms: f64 = report.run_ms.iter().sum();
    metrics.throughput_items_per_sec =
        (total_ms > 0.0).then(|| (info.batch * report.run_ms.len()) as f64 / total_ms * 1e3);
    metrics.memory.gpu_peak_bytes = report.gpu_peak_bytes;
    metrics.memory.wasm_heap_bytes = Some(report.wasm_heap_bytes);
    record.input = Some(info);
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

fn input_info(input: &Input, report: &RunReport) -> InputInfo {
    let (kind, batch) = match input {
        Input::Given(RunInput::Text { texts, .. }) => ("text", texts.len()),
        Input::Given(RunInput::Ids { ids }) => ("ids", ids.len()),
        Input::Given(RunInput::Tensors { .. }) => ("tensors", 0),
        Input::Tensors(tensors) => {
            ("tensors", tensors.first().and_then(|(_, tensor)| tensor.shape().first().copied()).unwrap_or(1))
        }
    };
    let longest = report.token_counts.iter().copied().max();
    InputInfo { kind: kind.into(), batch, sequence_length: longest, size: None, seconds: None }
}

/// The answer: the first output, as embeddings where it is one vector an item.
fn output_of(outputs: &[(String, Tensor)], sentence: bool) -> Option<Output> {
    let (_, tensor) = outputs.first()?;
    let data = tensor.as_f32().ok()?;
    Some(match tensor.shape() {
        [_, width] if sentence => {
            Output::Embeddings { embeddings: data.chunks((*width).max(1)).map(<[f32]>::to_vec).collect() }
        }
        shape => Output::Tensor { tensor: TensorOutput { shape: shape.to_vec(), data: data.to_vec() } },
    })
}

/// Compares with the model in f32, where its weights are at hand. A reference that fails leaves the figure null.
async fn compare(model: &Arc<Model>, input: &Input, outputs: Vec<(String, Tensor)>) -> Option<QuantizationError> {
    let (model, input) = (Arc::clone(model), input.clone());
    let compared = tokio::task::spawn_blocking(move || {
        let Some(reference) = Reference::of(&model)? else { return Ok(None) };
        let expected = match &input {
            Input::Given(input) => reference.outputs(input)?,
            Input::Tensors(tensors) => reference.outputs_of(tensors)?,
        };
        Ok::<_, reference::ReferenceError>(reference::quantization_error(&outputs, &expected))
    });
    match compared.await {
        Ok(Ok(error)) => error,
        Ok(Err(error)) => {
            tracing::warn!("no comparison with f32: {error}");
            None
        }
        Err(error) => {
            tracing::warn!("no comparison with f32: {error}");
            None
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
