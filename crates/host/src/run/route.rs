//! One route: load the model in the page, run it there, and say what that gave. What is loaded, run and measured here is
//! also what `auto`, turns and comparisons are made of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use webnibble_common::options::Platform;
use webnibble_common::profiles::{Resolved, Source};
use webnibble_common::record::StartToFirstResult;
use webnibble_common::wire::{LoadOptions, LoadReport, RunOptions, Stage};

use super::answer::{Answered, Loaded, Measured, OnnxForm, Route, check_kept};
use super::prepared::PreparedModel;
use super::request::{RunRequest, tell};
use crate::error::HostError;
use crate::host::Host;
use crate::loader::{Model, PackageFile};
use crate::onnx::{self, OnnxOptions};
use crate::prepare::Package;
use crate::session::{Progress, RunOutcome};
use crate::task::{blocking, ms_since};

/// How long loading a package may take, pipelines included.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// How long all runs of one request may take.
const RUN_LIMIT: Duration = Duration::from_secs(600);

/// How long freeing a model may take.
pub(super) const UNLOAD_LIMIT: Duration = Duration::from_secs(20);

/// What is run, and where.
#[derive(Clone, Copy)]
pub(super) struct Assignment<'a> {
    pub(super) host: &'a Host,
    pub(super) request: &'a RunRequest,
    pub(super) prepared: &'a PreparedModel,
}

/// When a run began, and what it took until its first answer: for the time to that.
pub(super) struct Start {
    pub(super) began: Instant,
    /// Finding and opening the model.
    pub(super) model_ms: f64,
    pub(super) first_answer: FirstAnswer,
}

/// When the page said that the first run of a request was over.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstAnswer(Arc<Mutex<Option<Instant>>>);

impl FirstAnswer {
    /// Hears how far the page is: warm-up and measured runs come after the first one.
    pub(super) fn hear(&self, at: Progress) {
        if at.stage == Stage::Warmup || at.stage == Stage::Run && at.done > 0 {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    }

    /// When that was, if the page said so; the next request has a first run of its own.
    fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Loads, and runs as often as `options` say, in one request.
///
/// # Errors
/// What the page says; that it did not keep what was asked for, where no fallback is allowed.
pub(super) async fn attempt(
    work: Assignment<'_>,
    route: Route,
    options: &RunOptions,
    start: Option<&Start>,
) -> Result<Answered, HostError> {
    let began = Instant::now();
    let loaded = load(work, route).await?;
    let load_ms = ms_since(began);
    start.map(|start| start.first_answer.take());
    let requested = Instant::now();
    let measured = Measured::from(runs(work, options.clone()).await?);
    let report = &measured.report;
    tracing::debug!(
        "first inference {:.0} ms, {:.0} of these to prepare its shape",
        report.first_ms,
        report.prepare_ms
    );
    let first_answer = start.and_then(|start| Some((start, start.first_answer.take()?)));
    let real = !report.implementation_type.is_simulation();
    let start = first_answer.filter(|_| real).map(|(start, answered)| StartToFirstResult {
        total: ms_between(start.began, answered),
        model: start.model_ms,
        package: work.prepared.took_ms,
        browser: work.host.startup().browser_ms,
        page: work.host.startup().page_ms,
        load: load_ms,
        first_inference: ms_between(requested, answered),
    });
    Ok(Answered { route, loaded, measured, start })
}

fn ms_between(began: Instant, ended: Instant) -> f64 {
    ended.duration_since(began).as_secs_f64() * 1e3
}

/// How often a prepared model is run for its record, and what is measured.
pub(super) fn run_options(resolved: &Resolved) -> RunOptions {
    RunOptions {
        warmup: resolved.warmup.value,
        runs: resolved.runs.value,
        profile: resolved.profile.value,
        ..RunOptions::default()
    }
}

/// Has the page load the model for a route.
pub(super) async fn load(work: Assignment<'_>, route: Route) -> Result<Loaded, HostError> {
    let Assignment { host, prepared, .. } = work;
    let options = load_options(prepared.platform, &prepared.resolved);
    match (route, &*prepared.model) {
        (Route::TransformersJs, _) => load_onnx(work, options).await,
        (_, Model::Onnx(only)) => Err(HostError::NotYet {
            what: format!("the native engine for ONNX weights, which is all that {} has,", only.name),
            instead: only.not_native().to_string(),
        }),
        (Route::Native | Route::Simulation, _) => {
            let options = LoadOptions { simulate: route == Route::Simulation, ..options };
            let report = load_package(host, &prepared.loaded_as, &prepared.package, options, LOAD_LIMIT).await?;
            Ok(Loaded { report, onnx: None })
        }
    }
}

/// Has transformers.js load the model's ONNX form.
async fn load_onnx(work: Assignment<'_>, options: LoadOptions) -> Result<Loaded, HostError> {
    let Assignment { host, request, prepared } = work;
    tell(request, "writing ONNX", 0, 0);
    let (model, package, platform) = (prepared.model.clone(), prepared.package.clone(), prepared.platform);
    let prepare = move |file: &PackageFile| {
        // Not trusted to be there still; of a model in ONNX form alone there is none.
        let file = if let Model::Onnx(_) = *model { file.clone() } else { PackageFile::open(&file.path)? };
        onnx::prepare(&model, &file, OnnxOptions::of(platform))
    };
    let folder = blocking(move || package.read(prepare)).await?;
    let (file, digest) = (folder.model_file.clone(), folder.digest.clone());
    let onnx = OnnxForm { file, digest, exported: folder.exported };
    let report = host.load_onnx(&prepared.loaded_as, folder, options, LOAD_LIMIT).await?;
    Ok(Loaded { report, onnx: Some(onnx) })
}

/// Runs a model that is loaded on the request's input, and reads the outputs that it names.
pub(super) async fn runs(work: Assignment<'_>, options: RunOptions) -> Result<RunOutcome, HostError> {
    let Assignment { host, request, prepared } = work;
    let name = prepared.loaded_as.as_str();
    let generate = request.generate.then(|| request.options.generation.clone());
    let options = RunOptions { outputs: request.outputs.clone(), generate, ..options };
    let ran = host.run(name, request.input.clone(), options, RUN_LIMIT).await?;
    check_kept(&prepared.resolved, &ran.0)?;
    Ok(ran)
}

/// Frees a model, as far as it was loaded.
pub(super) async fn unload(host: &Host, name: &str) {
    if let Err(error) = host.unload(name, UNLOAD_LIMIT).await {
        tracing::debug!("{name} was not loaded: {error}");
    }
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
            let whole = blocking(move || package.repaired(error)).await?;
            host.load(model, &whole.path, &whole.header.digest, options, limit).await
        }
        loaded => loaded,
    }
}

/// How the page is to run a package.
pub fn load_options(platform: Platform, resolved: &Resolved) -> LoadOptions {
    let settings = &resolved.settings;
    LoadOptions {
        prefer_device: settings.execution_provider.source != Source::Explicit,
        settings: settings.for_page(),
        ..LoadOptions::on(platform)
    }
}
