//! From the platform that was asked for to what runs: one route after another, each step told with its reason.

use webnibble_common::options::{Engine, LaunchOptions, Platform};
use webnibble_common::profiles::Source;
use webnibble_common::record::{ErrorInfo, Fallback};
use webnibble_common::wire::{ErrorCode, RunOptions};

use super::answer::{Answered, Route};
use super::platform::{missing, with_platform_named};
use super::record::Known;
use super::route::{Assignment, Start, attempt};
use crate::browser::BrowserError;
use crate::error::HostError;
use crate::loader::Model;

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

/// A route as the record names it.
fn name_of(route: Route, platform: Platform) -> String {
    match route {
        Route::Native => format!("{platform} by native"),
        Route::TransformersJs => format!("{platform} by transformers-js"),
        Route::Simulation => format!("simulated {platform}"),
    }
}

/// One step of the chain, for the record.
pub(super) fn step(platform: Platform, from: Route, to: Route, why: &ErrorInfo) -> Fallback {
    let (from, to) = (name_of(from, platform), name_of(to, platform));
    Fallback { from, to, code: why.code.clone(), reason: why.message.clone() }
}

/// Tries one route after another until one gives an answer, or fails for a reason that all share. Of a route that failed
/// its step is known, and nothing else: what did not run is not called anything.
///
/// # Errors
/// The reason that all share, or else why the first route failed.
pub(super) async fn follow(
    work: Assignment<'_>,
    known: &mut Known,
    routes: &[Route],
    options: &RunOptions,
    start: Option<&Start>,
) -> Result<Answered, HostError> {
    known.browser = Some(work.host.info().clone());
    let (platform, routes) = (work.prepared.platform, possible(routes, &work.prepared.model));
    let mut first = None;
    for (index, route) in routes.iter().copied().enumerate() {
        let error = match attempt_if_there(work, route, options, start).await {
            Ok(answered) => return Ok(answered),
            Err(error) => with_platform_named(error, platform, work.host.capabilities()),
        };
        let Some(next) = routes.get(index + 1).filter(|_| may_fall_back(route, &error)) else {
            return Err(error_of_chain(first, route, platform, error));
        };
        tracing::debug!("{route:?} failed, {next:?} comes next: {error}");
        known.steps.push(step(platform, route, *next, &error.info()));
        first.get_or_insert(error);
    }
    unreachable!("there is at least one route, and the last one ends in an answer or an error")
}

/// The routes that a model can take. One in ONNX form alone is for transformers.js; what is tried first is said to fail.
fn possible(routes: &[Route], model: &Model) -> Vec<Route> {
    let only_onnx = matches!(model, Model::Onnx(_));
    let possible = |route: &Route| !only_onnx || *route == routes[0] || *route == Route::TransformersJs;
    routes.iter().copied().filter(possible).collect()
}

/// One route, where the page has the platform at all: whatever engine asks, what is not there is not.
async fn attempt_if_there(
    work: Assignment<'_>,
    route: Route,
    options: &RunOptions,
    start: Option<&Start>,
) -> Result<Answered, HostError> {
    let device = work.prepared.resolved.settings.execution_provider;
    // What a profile prefers is not asked for: another device will do.
    let device = device.value.filter(|_| device.source == Source::Explicit);
    match (missing(work.host.capabilities(), work.prepared.platform, device), route) {
        (Some(error), Route::Native | Route::TransformersJs) => Err(error),
        _ => attempt(work, route, options, start).await,
    }
}

/// What to say of a chain that gave no answer: a reason that every route shares, as of an input that does not fit, else why
/// what was asked for failed, with what came last.
fn error_of_chain(first: Option<HostError>, last_route: Route, platform: Platform, last: HostError) -> HostError {
    match first {
        Some(first) if may_fall_back(last_route, &last) => HostError::EveryRoute {
            first: Box::new(first),
            last_route: name_of(last_route, platform),
            last: Box::new(last),
        },
        _ => last,
    }
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
