//! One model, one browser, one answer: the record of a run.
//!
//! `chain` goes from what was asked for to what runs, `platform` says what the page lacks, `auto` finds the platform by
//! measuring, `simulate` stands in where there is no browser, and `fill` writes what was reported into the record.
//!
//! [`run`] always gives a record. It is filled step by step, so that a run that fails says how far it got; nothing in it
//! is made up: what was not measured stays null, and what really ran is what the page's backend reported.

use std::sync::Arc;
use std::time::{Duration, Instant};

use webnibble_common::options::{BrowserKind, Engine, Options, Platform};
use webnibble_common::profiles::{self, Context, Resolved, ResolvedSettings, Source, Sourced};
use webnibble_common::quant::Bits;
use webnibble_common::result::{
    InputInfo, OptionValue, PerformanceMetrics, QuantizationError, QuantizationInfo, RunInfo, RunRecord,
    SCHEMA_VERSION, Status,
};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RemoteError, RunInput, Stage};

use crate::browser::default_gpu_profile;
use crate::error::HostError;
use crate::host::{Host, ms_since};
use crate::loader::{self, Model};
use crate::machine;
use crate::prepare::{self, Package};
use crate::reference::{self, Reference};
use crate::session::ProgressSink;

mod auto;
mod chain;
mod fill;
mod platform;
mod simulate;
mod turns;

use chain::Extent;
use fill::{clear_run, input_info, model_info, quantization_info};
pub(crate) use platform::missing;
pub use turns::{References, run_in_turns};

/// How long loading a package may take, pipelines included.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// How long freeing a model may take.
const UNLOAD_LIMIT: Duration = Duration::from_secs(20);

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
    let began = Instant::now();
    let mut record = empty(&request);
    let outcome = answer(&mut record, &request, began).await;
    finish(record, outcome)
}

/// The same in a browser that runs already. It runs on, and the model is freed.
pub async fn run_on(host: &Host, request: RunRequest) -> RunRecord {
    run_until(host, &request, std::future::pending()).await
}

/// The same, given up when `stop` is done before it.
pub(crate) async fn run_until(host: &Host, request: &RunRequest, stop: impl Future<Output = ()>) -> RunRecord {
    let mut record = empty(request);
    let outcome = tokio::select! {
        outcome = answer_on(host, &mut record, request) => outcome,
        () = stop => Err(cancelled()),
    };
    if let Some(model) = &record.model
        && let Err(error) = host.unload(&model.name, UNLOAD_LIMIT).await
    {
        tracing::debug!("{} was not loaded: {error}", model.name);
    }
    finish(record, outcome)
}

/// Why a run ended that nobody waits for.
pub(crate) fn cancelled() -> HostError {
    RemoteError::new(ErrorCode::Cancelled, "the run was cancelled", "").into()
}

/// The record of a run for which no browser could be started.
pub fn not_started(request: &RunRequest, error: &HostError) -> RunRecord {
    let mut record = empty(request);
    record.performance_metrics.quantization_bits = request.options.settings.bits;
    record.status = Status::Error;
    record.error = Some(error.info());
    let asked = request.options.launch.browser.unwrap_or(BrowserKind::Chrome);
    let settings = &request.options.settings;
    let typed = [
        ("browser", Some(asked.name().into())),
        ("browser_binary", request.options.launch.browser_binary.clone().map(serde_json::Value::from)),
        ("activation_bits", settings.activation_bits.map(|bits| u8::from(bits).into())),
        ("scheme", settings.scheme.and_then(|scheme| serde_json::to_value(scheme).ok())),
        ("granularity", settings.granularity.map(|one| profiles::granularity_parts(one).0.into())),
        ("group_size", settings.granularity.and_then(|one| profiles::granularity_parts(one).1).map(Into::into)),
        ("threads", settings.threads.map(Into::into)),
        ("mixed_precision", settings.mixed_precision.map(Into::into)),
    ];
    for (name, value) in typed {
        if let Some(value) = value {
            record.options.insert(name.into(), OptionValue { value, source: Source::Explicit });
        }
    }
    record
}

/// The record before anything is known.
fn empty(request: &RunRequest) -> RunRecord {
    RunRecord {
        schema_version: SCHEMA_VERSION,
        status: Status::Ok,
        error: None,
        run: RunInfo {
            timestamp: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: machine::info(),
            revision: machine::revision(&request.revision),
        },
        model: None,
        input: Some(input_info(&request.input, &[])),
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
    }
}

fn finish(mut record: RunRecord, outcome: Result<(), HostError>) -> RunRecord {
    if let Err(error) = outcome {
        clear_run(&mut record);
        record.status = Status::Error;
        record.error = Some(error.info());
    }
    record
}

/// Starts the browser that is asked for, and answers in it; without one, simulates where that is allowed.
async fn answer(record: &mut RunRecord, request: &RunRequest, began: Instant) -> Result<(), HostError> {
    tell(request, "looking for the model", 0, 0);
    let model = load_model(record, request).await?;
    let start = Start { began, model_ms: ms_since(began) };
    tell(request, "starting the browser", 0, 0);
    // Side by side: each waits for most of its time. A model that cannot be prepared ends the browser's start; one
    // whose options are wrong fails before it.
    let starting = async { Ok(start_host(request).await) };
    let (prepared, started) = tokio::try_join!(prepare_for(record, request, &model), starting)?;
    match (started, &prepared) {
        (Ok(host), _) => {
            let outcome = follow(&host, record, request, &model, prepared.as_ref(), Some(&start)).await;
            host.shutdown().await;
            outcome
        }
        (Err(error), Some(prepared)) => {
            let routes = chain::routes(prepared.platform, record.engine, prepared.resolved.fallback.value);
            if !chain::needs_no_browser(&error, &request.options.launch, &routes) || matches!(*model, Model::Onnx(_)) {
                return Err(error);
            }
            let steps = routes.windows(2).map(|pair| chain::step(prepared.platform, pair[0], pair[1], &error.info()));
            record.fallbacks.extend(steps);
            simulate::fill(record, request, prepared).await
        }
        (Err(error), None) => Err(error),
    }
}

/// When a run began, and when it had its model: for the time to its first answer.
struct Start {
    began: Instant,
    /// Finding and opening the model.
    model_ms: f64,
}

/// Answers in a browser that runs.
async fn answer_on(host: &Host, record: &mut RunRecord, request: &RunRequest) -> Result<(), HostError> {
    let model = load_model(record, request).await?;
    let prepared = prepare_for(record, request, &model).await?;
    follow(host, record, request, &model, prepared.as_ref(), None).await
}

/// The model made ready for the platform that is asked for; nothing for `auto`, which finds it first.
async fn prepare_for(
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
) -> Result<Option<Prepared>, HostError> {
    if record.platform == Platform::Auto {
        return Ok(None);
    }
    let prepared = Prepared::new(request, Arc::clone(model), record.platform).await?;
    prepared.describe(record, request);
    Ok(Some(prepared))
}

/// On the platform that was asked for, or on what the chain says comes after it; `auto` where nothing is prepared.
async fn follow(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    prepared: Option<&Prepared>,
    start: Option<&Start>,
) -> Result<(), HostError> {
    match prepared {
        None => auto::fill(host, record, request, model, start).await,
        Some(prepared) => {
            let routes = chain::routes(prepared.platform, record.engine, prepared.resolved.fallback.value);
            chain::follow(host, record, request, prepared, &routes, Extent::Whole(start)).await.map(drop)
        }
    }
}

/// A model made ready for a platform: what every route to it runs.
struct Prepared {
    model: Arc<Model>,
    platform: Platform,
    resolved: Resolved,
    package: Package,
    /// Its name in the page.
    loaded_as: String,
    /// Time that finding or making the package took.
    took_ms: f64,
}

impl Prepared {
    /// Resolves the options for `platform` and finds or makes the package.
    async fn new(request: &RunRequest, model: Arc<Model>, platform: Platform) -> Result<Self, HostError> {
        let resolved = resolve_for(request, &model, platform)?;
        let began = Instant::now();
        let package = package(&model, &resolved.settings, platform, request).await?;
        let (loaded_as, took_ms) = (package.header.meta.name.clone(), ms_since(began));
        Ok(Self { model, platform, resolved, package, loaded_as, took_ms })
    }

    /// How the weights are stored; nothing of those that somebody else quantized.
    fn quantization(&self) -> Option<QuantizationInfo> {
        let known = !matches!(*self.model, Model::Onnx(_));
        known.then(|| quantization_info(&self.package.header.meta, &self.resolved.settings))
    }

    /// Options, model and quantization, for the record.
    fn describe(&self, record: &mut RunRecord, request: &RunRequest) {
        let meta = &self.package.header.meta;
        record.options = self.resolved.record();
        record.fallbacks.clone_from(&self.resolved.fallbacks);
        record.model = Some(model_info(meta, &request.model, &self.package.header.digest));
        record.quantization = self.quantization();
        record.performance_metrics.quantization_bits = Bits::try_from(meta.quantization.bits).ok();
    }
}

/// What every option of a request is, for its model.
fn resolve_for(request: &RunRequest, model: &Model, platform: Platform) -> Result<Resolved, HostError> {
    let settings = prepare::settings_for(model, &request.options.settings, platform)?;
    let resolved = resolve(&Options { settings, ..request.options.clone() }, platform, family(model));
    match model {
        Model::Folder(_) | Model::Onnx(_) => resolved,
        Model::Package(package) => prepare::as_made(resolved, &package.header.meta, platform),
    }
}

/// What every option is, for a model of `family` on this machine.
///
/// # Errors
/// When options contradict themselves, or cannot be kept where no fallback is allowed.
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
        Model::Onnx(model) => model.config.family(),
    }
}

fn tell(request: &RunRequest, what: &str, done: u64, total: u64) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what, done, total });
    }
}

/// Finds and opens the model, and sees that options and input fit it, before a browser is started for it. Away from the
/// runtime: a model may be fetched, and is read.
async fn load_model(record: &mut RunRecord, request: &RunRequest) -> Result<Arc<Model>, HostError> {
    let (request, platform) = (request.clone(), record.platform);
    let (model, input) = blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
        let model = Arc::new(Model::load(&request.model, &mut progress)?);
        match platform {
            Platform::Auto => auto::check_options(&request, &model)?,
            platform => drop(resolve_for(&request, &model, platform)?),
        }
        let input = fitting_input(&model, &request.input)?;
        Ok((model, input))
    })
    .await?;
    record.input = Some(input);
    Ok(model)
}

/// What the model takes of an input: the prompt, and how many tokens of each text.
fn fitting_input(model: &Model, input: &Input) -> Result<InputInfo, HostError> {
    let (tokens_kept, prompt_name) = match input {
        Input::Tensors(_) | Input::Given(RunInput::Tensors { .. }) => (Vec::new(), None),
        Input::Given(given) => {
            let encoded = reference::encoder_of(model)?.encode(given).map_err(HostError::Text)?;
            (encoded.map(|encoded| encoded.tokens_kept).unwrap_or_default(), prompt_name(model, given)?)
        }
    };
    Ok(InputInfo { prompt_name, ..input_info(input, &tokens_kept) })
}

/// Name of the prompt that is put before texts.
fn prompt_name(model: &Model, input: &RunInput) -> Result<Option<String>, HostError> {
    let RunInput::Text { prompt, .. } = input else { return Ok(None) };
    let prompt =
        prompt.of(model.sentence().map(|sentence| &sentence.prompts)).map_err(|error| HostError::Text(error.into()))?;
    Ok(prompt.map(|prompt| prompt.name.to_owned()))
}

/// The package to run: the model itself, or what the quantizer makes of it, or made of it before.
async fn package(
    model: &Arc<Model>,
    settings: &ResolvedSettings,
    platform: Platform,
    request: &RunRequest,
) -> Result<Package, HostError> {
    // Of runs side by side, the first makes the package, and the others find it in the store.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let (model, settings, request) = (Arc::clone(model), settings.clone(), request.clone());
    blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
        match &*model {
            Model::Onnx(only) => Ok(Package::given(only.facts(settings.bits.value, &mut progress)?)),
            _ => prepare::package(&model, &settings, platform, &mut progress),
        }
    })
    .await
}

/// Has the page load a package under the name `model`. One of the store that turns out to be damaged is made again, and
/// loaded once more.
///
/// # Errors
/// What the page says, or that it is gone or late; when the package is damaged and is the caller's, or cannot be made again.
pub(crate) async fn load_package(
    host: &Host,
    model: &str,
    package: &Package,
    options: LoadOptions,
    limit: Duration,
) -> Result<LoadReport, HostError> {
    match host.load(model, &package.path, &package.header.digest, options.clone(), limit).await {
        Err(error) if package.may_be_damaged(&error) => {
            let package = package.clone();
            let whole = blocking(move || package.mended(error)).await?;
            host.load(model, &whole.path, &whole.header.digest, options, limit).await
        }
        loaded => loaded,
    }
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

/// How the page is to run a package.
pub fn load_options(platform: Platform, resolved: &Resolved) -> LoadOptions {
    LoadOptions {
        execution_provider: resolved.settings.execution_provider.value,
        prefer_device: resolved.settings.execution_provider.source != Source::Explicit,
        experimental_precision: resolved.settings.experimental_precision.value,
        activation_bits: resolved.settings.activation_bits.value,
        lowering: resolved.settings.lowering.value.clone(),
        threads: resolved.settings.threads.value,
        portable_kernels: chosen(resolved.settings.portable_kernels),
        shader_precompilation: resolved.settings.shader_precompilation.value,
        chunked_operations: chosen(resolved.settings.chunked_operations),
        workgroup_size: resolved.settings.workgroup_size.value,
        half_tiles: resolved.settings.half_tiles.value,
        ..LoadOptions::on(platform)
    }
}

/// A switch that somebody has a say in; where nobody has, the page decides by what it finds.
fn chosen(switch: Sourced<bool>) -> Option<bool> {
    (switch.source != Source::Default).then_some(switch.value)
}

/// Compares with the model in f32, where its weights are at hand. A reference that fails leaves the figure null.
async fn compare(prepared: &Prepared, request: &RunRequest, outputs: &[(String, Tensor)]) -> Option<QuantizationError> {
    reference::quantization_error(outputs, &in_f32(&prepared.model, &request.input).await?)
}

/// What the model answers in f32.
async fn in_f32(model: &Arc<Model>, input: &Input) -> Option<Vec<(String, Tensor)>> {
    let (model, input) = (Arc::clone(model), input.clone());
    let computed = blocking(move || {
        let Some(reference) = Reference::of(&model)? else { return Ok(None) };
        Ok(Some(match &input {
            Input::Given(input) => reference.outputs(input)?,
            Input::Tensors(tensors) => reference.outputs_of(tensors)?,
        }))
    });
    computed.await.unwrap_or_else(|error| {
        tracing::warn!("no comparison with f32: {error}");
        None
    })
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
