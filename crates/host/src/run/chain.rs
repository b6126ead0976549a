//! From the platform that was asked for to what runs: one route after another, each step in the record with its reason.

use std::time::Instant;

use webnibble_common::options::{Engine, LaunchOptions, Platform};
use webnibble_common::profiles::Source;
use webnibble_common::result::{ErrorInfo, Fallback, RunRecord, StartToFirstResult};
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RunOptions, RunReport};
use webnibble_models::output;

use super::compare::compare;
use super::fill::{
    OnnxForm, check_kept, fill_browser, fill_browser_memory, fill_loaded, fill_ran, fill_transformers_js,
};
use super::load::{LOAD_LIMIT, RUN_LIMIT, load_options, load_package};
use super::platform::{missing, with_platform_named};
use super::prepared::PreparedModel;
use super::request::{RunRequest, tell};
use crate::browser::BrowserError;
use crate::error::HostError;
use crate::host::Host;
use crate::loader::{Model, PackageFile};
use crate::onnx::{self, OnnxOptions};
use crate::session::RunOutcome;
use crate::task::blocking;
use crate::time::ms_since;

/// A way to an answer on the platform that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Our kernels and graphs.
    Native,
    /// transformers.js.
    TransformersJs,
    /// The CPU executor stands in.
    Simulation,
}

/// The routes to an answer, in the order in which they are tried.
pub(super) fn routes(platform: Platform, engine: Engine, fallback: bool) -> Vec<Route> {
    let mut routes = match engine {
        Engine::Native => vec![Route::Native, Route::TransformersJs],
        Engine::TransformersJs => vec![Route::TransformersJs, Route::Native],
    };
    // The CPU executor is the wasm platform: it cannot stand in for itself.
    if platform != Platform::Wasm {
        routes.push(Route::Simulation);
    }
    routes.truncate(if fallback { routes.len() } else { 1 });
    routes
}

/// Whether a browser that cannot be started leaves a route open. Not one that the caller named, nor a window that was asked
/// for: then that is what is wrong.
pub(super) fn needs_no_browser(error: &HostError, launch: &LaunchOptions, routes: &[Route]) -> bool {
    let named = launch.browser_binary.is_some() || launch.driver.is_some() || launch.webdriver.is_some();
    let error: Option<&BrowserError> = error.failure();
    let no_browser = matches!(
        error,
        Some(
            BrowserError::NotFound { .. }
                | BrowserError::DriverNotFound { .. }
                | BrowserError::VersionMismatch { .. }
                | BrowserError::TooOld { .. }
                | BrowserError::DoesNotRun { .. }
                | BrowserError::Start { .. }
        )
    );
    let no_window = launch.headless == Some(false) && matches!(error, Some(BrowserError::Start { .. }));
    no_browser && !named && !no_window && routes.len() > 1 && routes.last() == Some(&Route::Simulation)
}

impl Route {
    /// As the record names it.
    fn name(self, platform: Platform) -> String {
        match self {
            Route::Native => format!("{platform} by native"),
            Route::TransformersJs => format!("{platform} by transformers-js"),
            Route::Simulation => format!("simulated {platform}"),
        }
    }
}

/// One step of the chain, for the record.
pub(super) fn step(platform: Platform, from: Route, to: Route, why: &ErrorInfo) -> Fallback {
    let (from, to) = (from.name(platform), to.name(platform));
    Fallback { from, to, code: why.code.clone(), reason: why.message.clone() }
}

/// When a run began, and when it had its model: for the time to its first answer.
pub(super) struct Start {
    pub(super) began: Instant,
    /// Finding and opening the model.
    pub(super) model_ms: f64,
}

/// How far a route is followed.
#[derive(Clone, Copy)]
pub(super) enum Extent<'a> {
    /// To the last measured run, of a run that began so.
    Whole(Option<&'a Start>),
    /// To the first answer: the model stays loaded, and somebody else measures.
    First,
}

/// The first answer of a route.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) route: Route,
    pub(super) first: RunReport,
}

/// Tries one route after another until one gives an answer, or fails for a reason that all share. A route that failed
/// leaves its step in the record, and nothing else: what did not run is not called anything.
///
/// # Errors
/// The reason that all share, or else why the first route failed.
pub(super) async fn follow(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &PreparedModel,
    routes: &[Route],
    extent: Extent<'_>,
) -> Result<Answered, HostError> {
    fill_browser(record, host.info());
    let platform = prepared.platform;
    let device = prepared.resolved.settings.execution_provider;
    // What a profile prefers is not asked for: another device will do.
    let device = device.value.filter(|_| device.source == Source::Explicit);
    let only_onnx = matches!(*prepared.model, Model::Onnx(_));
    // What is tried first is said to fail; of the rest transformers.js alone can run such a model.
    let possible = |route: &Route| !only_onnx || *route == routes[0] || *route == Route::TransformersJs;
    let routes: Vec<Route> = routes.iter().copied().filter(possible).collect();
    let mut first = None;
    for (index, route) in routes.iter().copied().enumerate() {
        let before = record.clone();
        let outcome = match (missing(host.capabilities(), platform, device), route) {
            // Whatever engine asks: the page has no such thing.
            (Some(error), Route::Native | Route::TransformersJs) => Err(error),
            _ => attempt(host, record, request, prepared, route, extent).await,
        };
        let error = match outcome {
            Ok(first) => return Ok(Answered { route, first }),
            Err(error) => with_platform_named(error, platform, host.capabilities()),
        };
        *record = before;
        let Some(next) = routes.get(index + 1).filter(|_| may_fall_back(route, &error)) else {
            return Err(error_of_chain(first, route, platform, error));
        };
        tracing::debug!("{route:?} failed, {next:?} comes next: {error}");
        record.fallbacks.push(step(platform, route, *next, &error.info()));
        first.get_or_insert(error);
    }
    unreachable!("there is at least one route, and the last one ends in an answer or an error")
}

/// What to say of a chain that gave no answer: a reason that every route shares, as of an input that does not fit, else why
/// what was asked for failed, with what came last.
fn error_of_chain(first: Option<HostError>, last_route: Route, platform: Platform, last: HostError) -> HostError {
    match first {
        Some(first) if may_fall_back(last_route, &last) => HostError::EveryRoute {
            first: Box::new(first),
            last_route: last_route.name(platform),
            last: Box::new(last),
        },
        _ => last,
    }
}

/// One route: load, run, fill the record. The report of the first run.
async fn attempt(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &PreparedModel,
    route: Route,
    extent: Extent<'_>,
) -> Result<RunReport, HostError> {
    let requested = Instant::now();
    let loaded = load(host, request, prepared, route).await?;
    let (load_ms, requested) = (ms_since(requested), Instant::now());
    fill_loaded(record, &loaded.report, &prepared.package.header.meta);
    if let Some(onnx) = &loaded.onnx {
        fill_transformers_js(record, onnx);
    }
    let (first, _) = runs(host, request, prepared, RunOptions::default()).await?;
    if let (Extent::Whole(Some(start)), false) = (extent, first.implementation_type.is_simulation()) {
        record.performance_metrics.start_to_first_result_ms = Some(StartToFirstResult {
            total: ms_since(start.began),
            model: start.model_ms,
            package: prepared.took_ms,
            browser: host.startup().browser_ms,
            page: host.startup().page_ms,
            load: load_ms,
            first_inference: ms_since(requested),
        });
    }
    tracing::debug!("first inference {:.0} ms, {:.0} of these to prepare its shape", first.first_ms, first.prepare_ms);
    fill_ran(record, &first, &request.input);
    if let Extent::Whole(_) = extent {
        measure(host, record, request, prepared, &first).await?;
    }
    Ok(first)
}

/// What the page loaded.
pub(super) struct Loaded {
    report: LoadReport,
    /// For transformers.js.
    onnx: Option<OnnxForm>,
}

/// Has the page load the model for a route.
pub(super) async fn load(
    host: &Host,
    request: &RunRequest,
    prepared: &PreparedModel,
    route: Route,
) -> Result<Loaded, HostError> {
    let package = &prepared.package;
    let options = load_options(prepared.platform, &prepared.resolved);
    match (route, &*prepared.model) {
        (Route::TransformersJs, _) => load_onnx(host, request, prepared, options).await,
        (_, Model::Onnx(only)) => Err(HostError::NotYet {
            what: format!("the native engine for ONNX weights, which is all that {} has,", only.name),
            instead: only.not_native().to_string(),
        }),
        (Route::Native | Route::Simulation, _) => {
            let options = LoadOptions { simulate: route == Route::Simulation, ..options };
            let report = load_package(host, &prepared.loaded_as, package, options, LOAD_LIMIT).await?;
            Ok(Loaded { report, onnx: None })
        }
    }
}

/// Warms up and measures what gave its first answer, and compares the last one with the model in f32.
async fn measure(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &PreparedModel,
    first: &RunReport,
) -> Result<(), HostError> {
    let resolved = &prepared.resolved;
    let options = RunOptions {
        warmup: resolved.warmup.value,
        runs: resolved.runs.value,
        profile: resolved.profile.value,
        ..RunOptions::default()
    };
    let (report, outputs) = runs(host, request, prepared, options).await?;
    // This request's own first run is none any more.
    fill_ran(record, &RunReport { first_ms: first.first_ms, ..report }, &request.input);
    fill_browser_memory(record, host.browser_memory());
    record.output = output::answer(&outputs, &request.outputs, prepared.package.header.meta.sentence.is_some());

    tell(request, "comparing with f32", 0, 0);
    record.performance_metrics.quantization_error = compare(prepared, request, &outputs).await;
    Ok(())
}

/// Runs a model that is loaded on the request's input.
pub(super) async fn runs(
    host: &Host,
    request: &RunRequest,
    prepared: &PreparedModel,
    options: RunOptions,
) -> Result<RunOutcome, HostError> {
    let name = prepared.loaded_as.as_str();
    let options = RunOptions { outputs: request.outputs.clone(), ..options };
    let ran = host.run(name, request.input.clone(), options, RUN_LIMIT).await?;
    check_kept(&prepared.resolved, &ran.0)?;
    Ok(ran)
}

/// Has transformers.js load the model's ONNX form.
async fn load_onnx(
    host: &Host,
    request: &RunRequest,
    prepared: &PreparedModel,
    options: LoadOptions,
) -> Result<Loaded, HostError> {
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

/// Whether another route may still give the answer. Of ours and of simulation only failures of the platform leave that
/// open: an input that does not fit, a package that is damaged or a page that is gone would fail on every route, and a
/// device that was lost is an accident, not something that the platform cannot do. Of transformers.js every failure may
/// be its own, or that of its file: ours decides what is wrong with an input.
pub(super) fn may_fall_back(route: Route, error: &HostError) -> bool {
    match (route, error) {
        (Route::TransformersJs, HostError::Remote { error, .. }) => {
            !matches!(error.code, ErrorCode::Disconnected | ErrorCode::Cancelled | ErrorCode::Deadline)
        }
        (Route::TransformersJs, _) | (_, HostError::PlatformUnavailable { .. } | HostError::NotYet { .. }) => true,
        (_, HostError::Remote { error, .. }) => matches!(
            error.code,
            ErrorCode::WebgpuUnavailable
                | ErrorCode::WebnnUnavailable
                | ErrorCode::EngineFailed
                | ErrorCode::Unsupported
                | ErrorCode::Validation
                | ErrorCode::OutOfMemory
        ),
        _ => false,
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
