//! From the platform that was asked for to what runs: one route after another, each step in the record with its reason.

use std::time::Instant;

use webnibble_common::capabilities::{Capabilities, WebNnDevice};
use webnibble_common::options::{Engine, ExecutionProvider, Platform};
use webnibble_common::result::{ErrorInfo, Fallback, RunRecord, StartToFirstResult};
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RunOptions, RunReport};

use super::fill::{fill_browser_memory, fill_loaded, fill_ran, fill_transformers_js, output_of, quantization_info};
use super::{Input, LOAD_LIMIT, Prepared, RUN_LIMIT, RunRequest, Start, blocking, compare, load_options, tell};
use crate::advice;
use crate::error::HostError;
use crate::host::{Host, ms_since};
use crate::loader::PackageFile;
use crate::onnx::{self, OnnxOptions};
use crate::session::RunOutcome;

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

/// Whether a browser that cannot be started leaves a route open.
pub(super) fn needs_no_browser(error: &HostError, routes: &[Route]) -> bool {
    let no_browser = matches!(
        error,
        HostError::BrowserNotFound { .. }
            | HostError::DriverNotFound { .. }
            | HostError::VersionMismatch { .. }
            | HostError::BrowserTooOld { .. }
            | HostError::BrowserStart { .. }
    );
    no_browser && routes.len() > 1 && routes.last() == Some(&Route::Simulation)
}

/// One step of the chain, for the record.
pub(super) fn step(platform: Platform, from: Route, to: Route, why: &ErrorInfo) -> Fallback {
    let name = |route| match route {
        Route::Native => format!("{platform} by native"),
        Route::TransformersJs => format!("{platform} by transformers-js"),
        Route::Simulation => format!("simulated {platform}"),
    };
    Fallback { from: name(from), to: name(to), code: why.code.clone(), reason: why.message.clone() }
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

/// Tries one route after another until one gives an answer, or fails for a reason that all share.
pub(super) async fn follow(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &Prepared,
    routes: &[Route],
    extent: Extent<'_>,
) -> Result<Answered, HostError> {
    record.browser = Some(host.info().clone());
    let platform = prepared.platform;
    let device = prepared.resolved.settings.execution_provider.value;
    let mut routes = routes.iter().copied().peekable();
    while let Some(route) = routes.next() {
        let outcome = match (missing(host.capabilities(), platform, device), route) {
            // Whatever engine asks: the page has no such thing.
            (Some(error), Route::Native | Route::TransformersJs) => Err(error),
            _ => attempt(host, record, request, prepared, route, extent).await,
        };
        let error = match outcome {
            Ok(first) => return Ok(Answered { route, first }),
            Err(error) => of_platform(error, platform, host.capabilities()),
        };
        match routes.peek() {
            Some(next) if goes_on(&error) => {
                tracing::debug!("{route:?} failed, {next:?} comes next: {error}");
                record.fallbacks.push(step(platform, route, *next, &error.info()));
            }
            _ => return Err(error),
        }
    }
    unreachable!("there is at least one route, and the last one ends in an answer or an error")
}

/// One route: load, run, fill the record. The report of the first run.
async fn attempt(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &Prepared,
    route: Route,
    extent: Extent<'_>,
) -> Result<RunReport, HostError> {
    let requested = Instant::now();
    let loaded = load(host, record, request, prepared, route).await?;
    let (load_ms, requested) = (ms_since(requested), Instant::now());
    fill_loaded(record, &loaded, &prepared.package.header.meta);
    if route == Route::TransformersJs {
        fill_transformers_js(record);
    }
    let (first, _) = runs(host, request, prepared, RunOptions::default()).await?;
    if let Extent::Whole(Some(start)) = extent {
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

/// Has the page load the model for a route.
async fn load(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &Prepared,
    route: Route,
) -> Result<LoadReport, HostError> {
    let (package, resolved) = (&prepared.package, &prepared.resolved);
    // A route before this one may have had other weights.
    record.quantization = Some(quantization_info(&package.header.meta, &resolved.settings));
    let options = load_options(prepared.platform, resolved);
    match route {
        Route::TransformersJs => load_onnx(host, record, request, prepared, options).await,
        Route::Native | Route::Simulation => {
            let options = LoadOptions { simulate: route == Route::Simulation, ..options };
            host.load(&prepared.loaded_as, &package.path, &package.header.digest, options, LOAD_LIMIT).await
        }
    }
}

/// Warms up and measures what gave its first answer, and compares the last one with the model in f32.
async fn measure(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &Prepared,
    first: &RunReport,
) -> Result<(), HostError> {
    let resolved = &prepared.resolved;
    let options = RunOptions {
        warmup: resolved.warmup.value,
        runs: resolved.runs.value,
        profile: resolved.profile.value,
        deadline_ms: None,
    };
    let (report, outputs) = runs(host, request, prepared, options).await?;
    // This request's own first run is none any more.
    fill_ran(record, &RunReport { first_ms: first.first_ms, ..report }, &request.input);
    fill_browser_memory(record, host.browser_memory());
    record.output = output_of(&outputs, prepared.package.header.meta.sentence.is_some());

    tell(request, "comparing with f32", 0, 0);
    record.performance_metrics.quantization_error = compare(prepared, request, &outputs).await;
    Ok(())
}

/// Runs a model that is loaded on the request's input.
pub(super) async fn runs(
    host: &Host,
    request: &RunRequest,
    prepared: &Prepared,
    options: RunOptions,
) -> Result<RunOutcome, HostError> {
    let name = prepared.loaded_as.as_str();
    let pending = match &request.input {
        Input::Given(input) => host.session().run(name, input.clone(), options, RUN_LIMIT),
        Input::Tensors(tensors) => host.session().run_tensors(name, tensors.clone(), options, RUN_LIMIT),
    };
    host.explain(pending.wait().await).await
}

/// Has transformers.js load the model's ONNX form.
async fn load_onnx(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    prepared: &Prepared,
    options: LoadOptions,
) -> Result<LoadReport, HostError> {
    tell(request, "writing ONNX", 0, 0);
    let (model, path, platform) = (prepared.model.clone(), prepared.package.path.clone(), prepared.platform);
    let folder = blocking(move || {
        let package = PackageFile::open(&path)?;
        onnx::prepare(&model, &package, OnnxOptions::of(platform))
    })
    .await?;
    if !folder.exported {
        // Somebody else's file: what its weights are is known by its name alone.
        record.quantization = None;
    }
    host.load_onnx(&prepared.loaded_as, folder, options, LOAD_LIMIT).await
}

/// Failures of a platform or of an engine, after which another route may still give the answer. An input that does not
/// fit, a package that is damaged or a page that is gone would fail on every route; a device that was lost is an
/// accident, not something that the platform cannot do.
fn goes_on(error: &HostError) -> bool {
    match error {
        HostError::PlatformUnavailable { .. } | HostError::NotYet { .. } => true,
        HostError::Remote { error, .. } => matches!(
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

/// Why the page cannot have the platform at all, by what it detected: said before weights are sent for nothing.
pub(crate) fn missing(
    capabilities: &Capabilities,
    platform: Platform,
    device: Option<ExecutionProvider>,
) -> Option<HostError> {
    let reason = match platform {
        Platform::Webgpu => missing_webgpu(capabilities),
        Platform::Webnn => missing_webnn(capabilities, device),
        Platform::Wasm | Platform::Auto => None,
    };
    reason.map(|reason| unavailable(platform, reason, capabilities))
}

fn missing_webgpu(capabilities: &Capabilities) -> Option<String> {
    let webgpu = &capabilities.webgpu;
    match (&webgpu.adapter, &webgpu.error, webgpu.present) {
        (Some(_), ..) => None,
        (None, Some(error), _) => Some(error.clone()),
        (None, None, true) => Some("the browser gave no adapter".into()),
        (None, None, false) => Some("the page has no navigator.gpu".into()),
    }
}

fn missing_webnn(capabilities: &Capabilities, device: Option<ExecutionProvider>) -> Option<String> {
    let webnn = &capabilities.webnn;
    if !webnn.present {
        let old = advice::too_old_for_webnn(capabilities).map(|why| format!(": {why}")).unwrap_or_default();
        return Some(format!("the page has no navigator.ml{old}"));
    }
    let wanted = |name: &str| device.is_none_or(|device| device.name() == name);
    let devices: Vec<_> = webnn.devices.iter().filter(|(name, _)| wanted(name)).collect();
    if devices.iter().any(|(_, found)| found.created) {
        return None;
    }
    let error = |found: &WebNnDevice| found.error.clone().unwrap_or_else(|| "no context".into());
    let mut errors: Vec<String> = devices.iter().map(|(name, found)| format!("{name}: {}", error(found))).collect();
    if devices.windows(2).all(|pair| pair[0].1.error == pair[1].1.error) {
        // Mostly all devices fail alike.
        let names: Vec<_> = devices.iter().map(|(name, _)| name.as_str()).collect();
        errors =
            devices.first().map(|(_, found)| format!("{}: {}", names.join(", "), error(found))).into_iter().collect();
    }
    let errors = errors.join("; ");
    Some(format!("navigator.ml is there, but gave no context ({errors})"))
}

fn unavailable(platform: Platform, reason: String, capabilities: &Capabilities) -> HostError {
    let hint = advice::hint(platform, capabilities);
    HostError::PlatformUnavailable { platform: platform.to_string(), reason, hint }
}

/// Names a platform that turned out to be missing, or to refuse the model, only when the model was loaded.
fn of_platform(error: HostError, platform: Platform, capabilities: &Capabilities) -> HostError {
    match error {
        HostError::Remote { error, .. }
            if matches!(
                (error.code, platform),
                (ErrorCode::WebgpuUnavailable, Platform::Webgpu)
                    | (ErrorCode::WebnnUnavailable | ErrorCode::Unsupported, Platform::Webnn)
            ) =>
        {
            let hint = error.hint.clone();
            match unavailable(platform, error.message, capabilities) {
                HostError::PlatformUnavailable { platform, reason, .. } if !hint.is_empty() => {
                    HostError::PlatformUnavailable { platform, reason, hint }
                }
                other => other,
            }
        }
        other => other,
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
