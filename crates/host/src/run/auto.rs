//! `auto`: the fastest platform that runs, found by measuring once per model, shape of input, browser and adapter, and
//! remembered.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::Platform;
use webnibble_common::profiles::Resolved;
use webnibble_common::record::{BrowserInfo, Candidate, Choice, Times};
use webnibble_common::wire::{ErrorCode, RunOptions};

use super::answer::{Answered, Route};
use super::chain;
use super::platform::{missing, with_platform_named};
use super::prepared::{CANDIDATES, Opened, PreparedModel};
use super::record::Known;
use super::request::{Input, RunRequest, tell};
use super::route::{Assignment, Start, UNLOAD_LIMIT, load, run_options, runs};
use crate::disk::{cache_dir, hex, write_whole};
use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;

/// Runs of each candidate, after its first and one to warm up.
const RUNS: u32 = 5;

/// Raised when what is measured changes: what was measured before is then no longer believed.
const REVISION: u32 = 2;

/// What was measured, in a file of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measurements {
    /// When.
    timestamp: String,
    /// Milliseconds of each platform, or why it did not run.
    candidates: Vec<(Platform, Result<f64, String>)>,
}

impl Measurements {
    /// The fastest platform that ran.
    fn best(&self) -> Option<Platform> {
        let ran = self.candidates.iter().filter_map(|(platform, ms)| Some((*platform, *ms.as_ref().ok()?)));
        ran.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(platform, _)| platform)
    }

    fn choice(&self, remembered: bool) -> Choice {
        let told = self.candidates.iter().map(|(platform, ms)| match ms {
            Ok(ms) => format!("{platform} {ms:.2} ms"),
            Err(reason) => format!("{platform} does not run ({reason})"),
        });
        let told = told.collect::<Vec<_>>().join(", ");
        let best = self.best().map_or("none runs".to_owned(), |best| format!("{best} is the fastest"));
        let when = if remembered { format!("remembered from {}", self.timestamp) } else { "measured now".into() };
        let candidate = |(platform, ms): &(Platform, Result<f64, String>)| Candidate {
            platform: *platform,
            ms: ms.as_ref().ok().copied(),
        };
        Choice {
            reason: format!("{best}, {when}: {told}"),
            candidates: self.candidates.iter().map(candidate).collect(),
        }
    }
}

/// Chooses the platform, and answers on it. Never simulates.
pub(super) async fn follow(
    host: &Host,
    known: &mut Known,
    request: &RunRequest,
    opened: &Opened,
    start: Option<&Start>,
) -> Result<Chosen, HostError> {
    if let Model::Onnx(only) = &*opened.model
        && route_of(request, CANDIDATES[0]) == Route::Native
    {
        // No platform would run it, whatever is measured.
        return Err(only.not_native().into());
    }
    let file = file_of(&key(&opened.model, request, host.info(), host.capabilities()));
    follow_with(&file, host, known, request, opened, start).await
}

/// The model on the platform that was chosen, and what it gave there.
pub(super) type Chosen = (Arc<PreparedModel>, Answered);

/// The same, with what was measured before in a file.
async fn follow_with(
    file: &Path,
    host: &Host,
    known: &mut Known,
    request: &RunRequest,
    opened: &Opened,
    start: Option<&Start>,
) -> Result<Chosen, HostError> {
    known.browser = Some(host.info().clone());
    if let Some(memory) = read(file)
        && let Some(best) = memory.best()
        && let Ok(resolved) = opened.resolved(best)
    {
        known.choice = Some(memory.choice(true));
        let prepared = PreparedModel::new(request, opened, best, resolved).await;
        match run_on(host, known, request, prepared, start).await {
            // What ran then does not run now: look again.
            Err(error) if leaves_other_platforms_open(route_of(request, best), &error) => {
                tracing::debug!("{best} was the fastest, but fails now: {error}");
                known.choice = None;
            }
            outcome => return outcome,
        }
    }
    let memory = measure_all(host, request, opened).await?;
    known.choice = Some(memory.choice(false));
    let best = memory.best().and_then(|best| Some((best, opened.resolved(best).ok()?)));
    let Some((best, resolved)) = best else {
        let reason = memory.choice(false).reason;
        let hint = "`webnibble doctor` says what the browser lacks".into();
        return Err(HostError::PlatformUnavailable { platform: Platform::Auto.to_string(), reason, hint });
    };
    if let Err(error) = write(file, &memory) {
        tracing::warn!("the choice cannot be remembered in {}: {error}", file.display());
    }
    let prepared = PreparedModel::new(request, opened, best, resolved).await;
    run_on(host, known, request, prepared, start).await
}

async fn run_on(
    host: &Host,
    known: &mut Known,
    request: &RunRequest,
    prepared: Result<PreparedModel, HostError>,
    start: Option<&Start>,
) -> Result<Chosen, HostError> {
    let prepared = known.prepared(prepared?);
    let work = Assignment { host, request, prepared: &prepared };
    let routes = [route_of(request, prepared.platform)];
    let answered = chain::follow(work, known, &routes, &run_options(&prepared.resolved), start).await?;
    Ok((prepared, answered))
}

/// The only route: no platform is chosen for what another engine, or a stand-in, does on it.
fn route_of(request: &RunRequest, platform: Platform) -> Route {
    chain::routes(platform, request.engine(), false)[0]
}

/// Measures every candidate; one that fails says why.
///
/// # Errors
/// What fails on every platform alike.
async fn measure_all(host: &Host, request: &RunRequest, opened: &Opened) -> Result<Measurements, HostError> {
    let device = request.options.settings.execution_provider;
    let mut candidates = Vec::new();
    for platform in CANDIDATES {
        let measured = match (missing(host.capabilities(), platform, device), opened.resolved(platform)) {
            (Some(error), _) => Err(error.to_string()),
            (None, Err(told)) => Err(told.to_owned()),
            (None, Ok(resolved)) => match candidate(host, request, opened, platform, resolved).await {
                Ok(ms) => Ok(ms),
                Err(error) if leaves_other_platforms_open(route_of(request, platform), &error) => {
                    Err(error.to_string())
                }
                Err(error) => return Err(error),
            },
        };
        candidates.push((platform, measured));
    }
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(Measurements { timestamp, candidates })
}

/// Whether a failure leaves other platforms open. Options do, since the model was opened for at least one platform
/// that takes them; an input that does not fit does not, whatever engine says so.
fn leaves_other_platforms_open(route: Route, error: &HostError) -> bool {
    match error {
        HostError::Options(_) | HostError::PackageFixed { .. } => true,
        HostError::Remote { error, .. } if error.code == ErrorCode::BadInput => false,
        other => chain::may_fall_back(route, other),
    }
}

async fn candidate(
    host: &Host,
    request: &RunRequest,
    opened: &Opened,
    platform: Platform,
    resolved: &Resolved,
) -> Result<f64, HostError> {
    tell(request, &format!("measuring {platform}"), 0, 0);
    let prepared = PreparedModel::new(request, opened, platform, resolved).await?;
    let prepared = PreparedModel { loaded_as: "auto".into(), ..prepared };
    let measured = measure(Assignment { host, request, prepared: &prepared }).await;
    measured.map_err(|error| with_platform_named(error, platform, host.capabilities()))
}

/// Median time of a few inferences of the caller's input, by the route that is taken when the platform is chosen.
async fn measure(work: Assignment<'_>) -> Result<f64, HostError> {
    let PreparedModel { platform, loaded_as: name, .. } = work.prepared;
    load(work, route_of(work.request, *platform)).await?;
    let options = RunOptions { warmup: None, runs: RUNS, profile: false, ..RunOptions::default() };
    let ran = runs(work, options).await;
    let unloaded = work.host.unload(name, UNLOAD_LIMIT).await;
    let (report, _) = ran?;
    unloaded?;
    let times = Times::of(&report.run_ms).ok_or_else(|| HostError::PlatformUnavailable {
        platform: platform.to_string(),
        reason: "it gave no times".into(),
        hint: String::new(),
    })?;
    Ok(times.p50)
}

/// Shapes that are alike to every platform: as many items, of the same length, each up to a power of two. A text's length is
/// that in bytes, since its tokens are counted in the page.
fn shape_class(input: &Input) -> Vec<usize> {
    let batch = |lengths: &mut dyn Iterator<Item = usize>| {
        let (count, longest) = lengths.fold((0, 0), |(count, longest), length| (count + 1, longest.max(length)));
        vec![count, longest]
    };
    let extents = match input {
        Input::Text { texts, .. } => batch(&mut texts.iter().map(String::len)),
        Input::Ids { ids, .. } => batch(&mut ids.iter().map(Vec::len)),
        // Whatever their sizes, they are resized to one.
        Input::Image { images } => vec![images.len()],
        Input::Tensors { tensors } => tensors.iter().flat_map(|(_, tensor)| tensor.shape().to_vec()).collect(),
    };
    extents.into_iter().map(|extent| extent.checked_next_power_of_two().unwrap_or(usize::MAX)).collect()
}

/// What a choice holds for: model, options, shape of the input, browser and what it computes on.
fn key(model: &Model, request: &RunRequest, browser: &BrowserInfo, capabilities: &Capabilities) -> String {
    let mut key = Sha256::new();
    let digest = match model {
        Model::Folder(folder) => format!("{:?}", folder.digest()),
        Model::Package(package) => package.header.digest.clone(),
        Model::Onnx(model) => format!("{:?}", model.files),
    };
    let adapter = capabilities.webgpu.adapter.as_ref();
    let adapter =
        adapter.map(|adapter| (&adapter.vendor, &adapter.architecture, &adapter.device, &adapter.description));
    let webnn: Vec<_> = capabilities.webnn.devices.iter().map(|(name, device)| (name, device.created)).collect();
    let options = (&request.options.settings, request.options.engine, request.options.fallback);
    let cores = capabilities.hardware_concurrency;
    let shape = (request.input.kind(), shape_class(&request.input));
    let parts = (REVISION, digest, options, shape, &browser.name, &browser.version, adapter, webnn, cores);
    // The derived form has every field, and changes when one is added.
    key.update(format!("{parts:?}"));
    hex(&key.finalize()[..12])
}

fn file_of(key: &str) -> PathBuf {
    cache_dir().join("choices").join(format!("{key}.json"))
}

/// What was measured before; `None` for a file that is not there or cannot be read.
fn read(file: &Path) -> Option<Measurements> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn write(file: &Path, memory: &Measurements) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(memory)?;
    write_whole(file, |file| file.write_all(&text))
}

#[cfg(test)]
#[path = "auto_tests.rs"]
mod tests;
