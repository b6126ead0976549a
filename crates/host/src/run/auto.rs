//! `auto`: the fastest platform that runs, found by measuring once per model, browser and adapter, and remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use webnibble_common::capabilities::Capabilities;
use webnibble_common::options::Platform;
use webnibble_common::result::{BrowserInfo, Candidate, Choice, RunRecord, Times};
use webnibble_common::wire::RunOptions;

use super::chain::{self, Extent};
use super::{LOAD_LIMIT, Prepared, RunRequest, Start, load_options, tell};
use crate::error::HostError;
use crate::host::Host;
use crate::loader::{Model, cache_dir};

/// What is measured, in the order in which equals are preferred.
const CANDIDATES: [Platform; 3] = [Platform::Webgpu, Platform::Webnn, Platform::Wasm];

/// Runs of each candidate, after its first and one to warm up.
const RUNS: u32 = 5;

/// What was measured, in a file of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// When.
    timestamp: String,
    /// Milliseconds of each platform, or why it did not run.
    candidates: Vec<(Platform, Result<f64, String>)>,
}

impl Memory {
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

/// Chooses the platform, and fills the record with a run on it. Never simulates.
pub(super) async fn fill(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    start: Option<&Start>,
) -> Result<(), HostError> {
    record.browser = Some(host.info().clone());
    let file = file_of(&key(model, request, host.info(), host.capabilities()));
    if let Some(memory) = read(&file)
        && let Some(best) = memory.best()
    {
        record.choice = Some(memory.choice(true));
        match run_on(host, record, request, model, best, start).await {
            Ok(()) => return Ok(()),
            // What ran then does not run now: look again.
            Err(error) => tracing::debug!("{best} was the fastest, but fails now: {error}"),
        }
    }
    let memory = measure_all(host, request, model).await?;
    record.choice = Some(memory.choice(false));
    let Some(best) = memory.best() else {
        let reason = memory.choice(false).reason;
        let hint = "`webnibble doctor` says what the browser lacks".into();
        return Err(HostError::PlatformUnavailable { platform: Platform::Auto.to_string(), reason, hint });
    };
    if let Err(error) = write(&file, &memory) {
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
    let prepared = Prepared::new(request, Arc::clone(model), platform).await?;
    prepared.describe(record, request);
    let first = chain::routes(platform, record.engine, false);
    chain::follow(host, record, request, &prepared, &first, Extent::Whole(start)).await.map(drop)
}

/// Measures every candidate; one that fails says why.
async fn measure_all(host: &Host, request: &RunRequest, model: &Arc<Model>) -> Result<Memory, HostError> {
    let mut candidates = Vec::new();
    for platform in CANDIDATES {
        let device = request.options.settings.execution_provider;
        let measured = match chain::missing(host.capabilities(), platform, device) {
            Some(error) => Err(error.to_string()),
            None => match measure(host, request, model, platform).await {
                Ok(ms) => Ok(ms),
                Err(error) if host.session().is_connected() => Err(error.to_string()),
                // A page that is gone measures nothing any more.
                Err(error) => return Err(error),
            },
        };
        candidates.push((platform, measured));
    }
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(Memory { timestamp, candidates })
}

/// Median time of a few inferences of the caller's input.
async fn measure(host: &Host, request: &RunRequest, model: &Arc<Model>, platform: Platform) -> Result<f64, HostError> {
    tell(request, &format!("measuring {platform}"), 0, 0);
    let prepared = Prepared { loaded_as: "auto".into(), ..Prepared::new(request, Arc::clone(model), platform).await? };
    let (package, name) = (&prepared.package, prepared.loaded_as.as_str());
    let options = load_options(platform, &prepared.resolved);
    host.load(name, &package.path, &package.header.digest, options, LOAD_LIMIT).await?;
    let options = RunOptions { warmup: 1, runs: RUNS, profile: false, deadline_ms: None };
    let ran = chain::runs(host, request, &prepared, options).await;
    host.unload(name, LOAD_LIMIT).await?;
    let (report, _) = ran?;
    let times = Times::of(&report.run_ms).ok_or_else(|| HostError::PlatformUnavailable {
        platform: platform.to_string(),
        reason: "it gave no times".into(),
        hint: String::new(),
    })?;
    Ok(times.p50)
}

/// What a choice holds for: model, options, browser and what it computes on.
fn key(model: &Model, request: &RunRequest, browser: &BrowserInfo, capabilities: &Capabilities) -> String {
    let mut key = Sha256::new();
    let digest = match model {
        Model::Folder(folder) => format!("{:?}", folder.digest()),
        Model::Package(package) => package.header.digest.clone(),
    };
    let adapter = capabilities.webgpu.adapter.as_ref();
    let adapter =
        adapter.map(|adapter| (&adapter.vendor, &adapter.architecture, &adapter.device, &adapter.description));
    let webnn: Vec<_> = capabilities.webnn.devices.iter().map(|(name, device)| (name, device.created)).collect();
    let options = (&request.options.settings, request.options.engine);
    let cores = capabilities.hardware_concurrency;
    let parts = (digest, options, &browser.name, &browser.version, adapter, webnn, cores);
    // The derived form has every field, and changes when one is added.
    key.update(format!("{parts:?}"));
    key.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn file_of(key: &str) -> PathBuf {
    cache_dir().join("choices").join(format!("{key}.json"))
}

/// What was measured before; `None` for a file that is not there or cannot be read.
fn read(file: &Path) -> Option<Memory> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Writes in one step, so that who reads at the same time never sees half of it.
fn write(file: &Path, memory: &Memory) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(temporary.as_file(), memory)?;
    temporary.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        let candidates = vec![
            (Platform::Webgpu, Ok(20.5)),
            (Platform::Webnn, Err("no navigator.ml".to_owned())),
            (Platform::Wasm, Ok(9.25)),
        ];
        Memory { timestamp: "2026-01-02T03:04:05Z".into(), candidates }
    }

    #[test]
    fn the_fastest_that_runs_is_chosen_and_the_rest_is_told() {
        assert_eq!(memory().best(), Some(Platform::Wasm));
        let choice = memory().choice(false);
        let told =
            "wasm is the fastest, measured now: webgpu 20.50 ms, webnn does not run (no navigator.ml), wasm 9.25 ms";
        assert_eq!(choice.reason, told);
        assert_eq!(choice.candidates[1], Candidate { platform: Platform::Webnn, ms: None });
        let none = Memory { candidates: vec![(Platform::Wasm, Err("it broke".into()))], ..memory() };
        assert_eq!(none.best(), None);
    }

    #[test]
    fn a_choice_is_remembered_and_a_damaged_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("choices").join("k.json");
        assert_eq!(read(&file), None);
        write(&file, &memory()).unwrap();
        assert_eq!(read(&file), Some(memory()));
        assert!(memory().choice(true).reason.contains("remembered from 2026-01-02T03:04:05Z"));
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), None);
    }
}
