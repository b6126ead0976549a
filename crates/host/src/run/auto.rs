//! `auto`: the fastest platform that runs, found by measuring once per model, shape of input, browser and adapter, and
//! remembered.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::{Engine, Platform};
use webnibble_common::result::{BrowserInfo, Candidate, Choice, RunRecord, Times};
use webnibble_common::wire::{ErrorCode, RunOptions};

use super::chain::{self, Extent, Route, Start};
use super::fill::input_info;
use super::load::UNLOAD_LIMIT;
use super::platform::{missing, with_platform_named};
use super::prepared::{PreparedModel, resolve_for};
use super::request::{Input, RunRequest, tell};
use crate::cache::cache_dir;
use crate::disk::{hex, write_whole};
use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;

/// What is measured, in the order in which equals are preferred.
const CANDIDATES: [Platform; 3] = [Platform::Webgpu, Platform::Webnn, Platform::Wasm];

/// Runs of each candidate, after its first and one to warm up.
const RUNS: u32 = 5;

/// Raised when what is measured changes: what was measured before is then no longer believed.
const REVISION: u32 = 2;

/// What was measured, in a file of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// When.
    timestamp: String,
    /// Milliseconds of each platform, or why it did not run.
    candidates: Vec<(Platform, Result<f64, String>)>,
}

impl Measured {
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

/// Checks the options, before anything is started for them: at least one platform has to take them.
///
/// # Errors
/// Why the first platform does not take them.
pub(super) fn check_options(request: &RunRequest, model: &Model) -> Result<(), HostError> {
    let resolved = CANDIDATES.map(|platform| resolve_for(request, model, platform).map(drop));
    if resolved.iter().any(Result::is_ok) { Ok(()) } else { resolved.into_iter().collect() }
}

/// Chooses the platform, and fills the record with a run on it. Never simulates.
pub(super) async fn fill(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    start: Option<&Start>,
) -> Result<(), HostError> {
    if let Model::Onnx(only) = &**model
        && route_of(request, CANDIDATES[0]) == Route::Native
    {
        // No platform would run it, whatever is measured.
        return Err(only.not_native().into());
    }
    let file = file_of(&key(model, request, host.info(), host.capabilities()));
    fill_with(&file, host, record, request, model, start).await
}

/// The same, with what was measured before in a file.
async fn fill_with(
    file: &Path,
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    start: Option<&Start>,
) -> Result<(), HostError> {
    record.browser = Some(host.info().clone());
    if let Some(memory) = read(file)
        && let Some(best) = memory.best()
    {
        record.choice = Some(memory.choice(true));
        match run_on(host, record, request, model, best, start).await {
            // What ran then does not run now: look again.
            Err(error) if leaves_other_platforms_open(route_of(request, best), &error) => {
                tracing::debug!("{best} was the fastest, but fails now: {error}");
                record.choice = None;
            }
            outcome => return outcome,
        }
    }
    let memory = measure_all(host, request, model).await?;
    record.choice = Some(memory.choice(false));
    let Some(best) = memory.best() else {
        let reason = memory.choice(false).reason;
        let hint = "`webnibble doctor` says what the browser lacks".into();
        return Err(HostError::PlatformUnavailable { platform: Platform::Auto.to_string(), reason, hint });
    };
    if let Err(error) = write(file, &memory) {
        tracing::warn!("the choice cannot be remembered in {}: {error}", file.display());
    }
    run_on(host, record, request, model, best, start).await
}

async fn run_on(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    platform: Platform,
    start: Option<&Start>,
) -> Result<(), HostError> {
    let prepared = PreparedModel::new(request, Arc::clone(model), platform).await?;
    prepared.describe(record, request);
    let routes = [route_of(request, platform)];
    chain::follow(host, record, request, &prepared, &routes, Extent::Whole(start)).await.map(drop)
}

/// The only route: no platform is chosen for what another engine, or a stand-in, does on it.
fn route_of(request: &RunRequest, platform: Platform) -> Route {
    chain::routes(platform, request.options.engine.unwrap_or(Engine::Native), false)[0]
}

/// Measures every candidate; one that fails says why.
///
/// # Errors
/// What fails on every platform alike.
async fn measure_all(host: &Host, request: &RunRequest, model: &Arc<Model>) -> Result<Measured, HostError> {
    let mut candidates = Vec::new();
    for platform in CANDIDATES {
        let measured = match candidate(host, request, model, platform).await {
            Ok(ms) => Ok(ms),
            Err(error) if leaves_other_platforms_open(route_of(request, platform), &error) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        candidates.push((platform, measured));
    }
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(Measured { timestamp, candidates })
}

/// Whether a failure leaves other platforms open. Options do, since [`check_options`] found one that takes them; an input
/// that does not fit does not, whatever engine says so.
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
    model: &Arc<Model>,
    platform: Platform,
) -> Result<f64, HostError> {
    let device = request.options.settings.execution_provider;
    if let Some(error) = missing(host.capabilities(), platform, device) {
        return Err(error);
    }
    tell(request, &format!("measuring {platform}"), 0, 0);
    let prepared =
        PreparedModel { loaded_as: "auto".into(), ..PreparedModel::new(request, Arc::clone(model), platform).await? };
    measure(host, request, &prepared).await.map_err(|error| with_platform_named(error, platform, host.capabilities()))
}

/// Median time of a few inferences of the caller's input, by the route that is taken when the platform is chosen.
async fn measure(host: &Host, request: &RunRequest, prepared: &PreparedModel) -> Result<f64, HostError> {
    let PreparedModel { platform, loaded_as: name, .. } = prepared;
    chain::load(host, request, prepared, route_of(request, *platform)).await?;
    let options = RunOptions { warmup: None, runs: RUNS, profile: false, ..RunOptions::default() };
    let ran = chain::runs(host, request, prepared, options).await;
    let unloaded = host.unload(name, UNLOAD_LIMIT).await;
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
    let shape = (input_info(&request.input, &[]).kind, shape_class(&request.input));
    let parts = (REVISION, digest, options, shape, &browser.name, &browser.version, adapter, webnn, cores);
    // The derived form has every field, and changes when one is added.
    key.update(format!("{parts:?}"));
    hex(&key.finalize()[..12])
}

fn file_of(key: &str) -> PathBuf {
    cache_dir().join("choices").join(format!("{key}.json"))
}

/// What was measured before; `None` for a file that is not there or cannot be read.
fn read(file: &Path) -> Option<Measured> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn write(file: &Path, memory: &Measured) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(memory)?;
    write_whole(file, |file| file.write_all(&text))
}

#[cfg(test)]
#[path = "auto_tests.rs"]
mod tests;
