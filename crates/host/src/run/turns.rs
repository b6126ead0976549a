//! Runs of one model in one page, turn by turn: how a matrix compares engines.
//!
//! All are loaded, then they run in rounds, a few runs each, the order turning round from one round to the next, so that
//! what the machine does besides falls on all alike. Who does not fit beside the others runs when they are freed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use webnibble_common::options::Engine;
use webnibble_common::profiles::Source;
use webnibble_common::record::{EngineRatio, ImplementationType, RunRecord};
use webnibble_common::wire::{ErrorCode, RunOptions};

use super::answer::{Answered, PageAnswer, Route};
use super::chain;
use super::prepared::{Opened, PreparedModel, prepare};
use super::record::{Answer, Known, record};
use super::request::{RunRequest, tell};
use super::rotation::{Turn, rotation};
use super::route::{Assignment, run_options, runs, unload};
use crate::browser::BrowserMemory;
use crate::error::HostError;
use crate::host::Host;
use crate::ratio::Ratio;
use crate::reference::{Compared, InF32, in_f32};

/// Runs of one before the next one's turn.
const TURN: u32 = 2;

/// What measured runs of one model may take together where nobody said how many there are to be.
const BUDGET_MS: f64 = 10_000.0;

/// As many are measured whatever they take.
const LEAST_RUNS: u32 = 3;

/// Most runs with timestamps, after those that are measured: timestamps take time themselves.
const TIMESTAMPED: u32 = 3;

/// The feature of WebGPU that gives timestamps.
const TIMESTAMPS: &str = "timestamp-query";

/// Answers in f32, by model and input: computed once, however many rows are compared with them.
#[derive(Debug, Default)]
pub struct References(Mutex<HashMap<String, Arc<InF32>>>);

impl References {
    async fn of(&self, work: Assignment<'_>) -> Arc<InF32> {
        let Assignment { request, prepared, .. } = work;
        let key = format!("{} {:?} {:?}", prepared.model.path().display(), request.input, request.outputs);
        let mut known = self.0.lock().await;
        if let Some(found) = known.get(&key) {
            return Arc::clone(found);
        }
        tell(request, "computing in f32", 0, 0);
        let computed = Arc::new(in_f32(&prepared.model, request.wanted_of(&prepared.tensors)).await);
        known.insert(key, Arc::clone(&computed));
        computed
    }
}

/// One who takes part.
struct Entry {
    request: RunRequest,
    known: Known,
    state: Result<Live, HostError>,
}

/// What is loaded, what it gave so far, and what was found out besides.
struct Live {
    prepared: Arc<PreparedModel>,
    answered: Answered,
    memory: BrowserMemory,
    /// Times on the GPU of runs of their own.
    timestamped: Option<Vec<f64>>,
    compared: Compared,
}

/// Runs requests in a browser that runs already, turn by turn where they are several. Each gives a record, in their order;
/// those that ran as they were asked to have their ratio to the first that did. The browser runs on, and every model is
/// freed. The requests name a platform each, and not `auto`.
pub async fn run_in_turns(host: &Host, requests: Vec<RunRequest>, references: &References) -> Vec<RunRecord> {
    let mut entries = Vec::new();
    for (index, request) in requests.into_iter().enumerate() {
        entries.push(Entry::open(host, request, index).await);
    }
    let crowded = crowded_out(&entries);
    for index in &crowded {
        entries[*index].close(host).await;
    }
    let others: Vec<usize> = (0..entries.len()).filter(|index| !crowded.contains(index)).collect();
    measure(host, &mut entries, &others, references).await;
    let restarted = others.into_iter().filter(|index| entries[*index].lost_its_model());
    let alone: Vec<usize> = crowded.into_iter().chain(restarted).collect();
    for index in &alone {
        let again = Entry::open(host, entries[*index].request.clone(), *index).await;
        entries[*index] = again;
        measure(host, &mut entries, &[*index], references).await;
    }
    let ratios = ratios(&entries, &alone);
    entries.into_iter().zip(ratios).map(|(entry, ratio)| entry.record(ratio)).collect()
}

/// Measures those that are live, and frees them.
async fn measure(host: &Host, entries: &mut [Entry], members: &[usize], references: &References) {
    let runs: Vec<u32> = members.iter().map(|index| entries[*index].runs()).collect();
    let alone = members.iter().filter(|index| entries[**index].state.is_ok()).count() == 1;
    for Turn { index, runs, .. } in rotation(&runs, TURN) {
        entries[members[index]].turn(host, runs).await;
    }
    for index in members {
        entries[*index].complete(host, alone, references).await;
        entries[*index].close(host).await;
    }
}

impl Entry {
    /// Loads, and runs for the first time.
    async fn open(host: &Host, request: RunRequest, index: usize) -> Self {
        let mut known = Known::begin();
        let state = Live::open(host, &mut known, &request, index).await;
        Self { request, known, state }
    }

    /// Measured runs that are wanted; none of what failed.
    fn runs(&self) -> u32 {
        self.state.as_ref().map_or(0, |live| live.plan().runs)
    }

    /// A few measured runs of what has not failed yet; the first of a turn warms up besides.
    async fn turn(&mut self, host: &Host, runs_now: u32) {
        let Ok(live) = &mut self.state else { return };
        let work = Assignment { host, request: &self.request, prepared: &live.prepared };
        let options = RunOptions { runs: runs_now, ..run_options(&live.prepared.resolved) };
        let warmup = if live.answered.measured.report.run_ms.is_empty() { options.warmup } else { Some(0) };
        match runs(work, RunOptions { warmup, ..options }).await {
            Ok(ran) => live.answered.measured.add(ran),
            Err(error) => {
                unload(host, &live.prepared.loaded_as).await;
                self.known.adjustments = std::mem::take(&mut live.answered.measured.report.adjustments);
                self.state = Err(error);
            }
        }
    }

    /// What is found out when all has been measured: times on the GPU, memory, and how far the answer is from that in f32.
    /// Memory of a browser in which others are loaded too is not this model's.
    async fn complete(&mut self, host: &Host, alone: bool, references: &References) {
        let Ok(live) = &mut self.state else { return };
        let prepared = Arc::clone(&live.prepared);
        let work = Assignment { host, request: &self.request, prepared: &prepared };
        if live.answered.measured.report.gpu_ms.is_none() {
            live.timestamped = live.gpu_ms(work).await;
        }
        if alone {
            live.memory = host.browser_memory();
        }
        live.compared = references.of(work).await.compared(&live.answered.measured.outputs);
    }

    /// Frees the model, as far as it was loaded.
    async fn close(&self, host: &Host) {
        if let Ok(live) = &self.state {
            unload(host, &live.prepared.loaded_as).await;
        }
    }

    /// Whether the page's Worker was restarted meanwhile, as when another engine breaks it: its models go with it.
    fn lost_its_model(&self) -> bool {
        self.state.as_ref().err().is_some_and(|error| error.info().code == ErrorCode::UnknownModel.name())
    }

    /// Times of measured runs, where it ran on the platform and by the engine that it was asked to.
    fn times_as_asked(&self) -> Option<&[f64]> {
        let answered = &self.state.as_ref().ok()?.answered;
        let route = match self.request.engine() {
            Engine::Native => Route::Native,
            Engine::TransformersJs => Route::TransformersJs,
        };
        (answered.route == route).then_some(&answered.measured.report.run_ms)
    }

    fn record(self, ratio: Option<EngineRatio>) -> RunRecord {
        let Self { request, known, state } = self;
        let answer = state.map(|Live { answered, memory, timestamped, compared, .. }| {
            Answer::Page(Box::new(PageAnswer { answered, memory, timestamped, compared, ratio }))
        });
        record(&request, &known, answer)
    }
}

/// How often a model runs.
struct RunPlan {
    runs: u32,
    timestamped: u32,
}

impl Live {
    /// What the caller asked for; where he did not, fewer runs of what is slow, as its first inference shows.
    fn plan(&self) -> RunPlan {
        let (runs, first) = (self.prepared.resolved.runs, &self.answered.measured.report);
        let affordable = (BUDGET_MS / (first.first_ms - first.prepare_ms).max(1.0)) as u32;
        if runs.source == Source::Explicit || affordable >= runs.value {
            return RunPlan { runs: runs.value, timestamped: TIMESTAMPED };
        }
        RunPlan { runs: runs.value.min(affordable.max(LEAST_RUNS)), timestamped: 1 }
    }

    async fn open(host: &Host, known: &mut Known, request: &RunRequest, index: usize) -> Result<Self, HostError> {
        let opened = Opened::of(request).await?;
        known.input = Some(opened.input.info.clone());
        let Some(prepared) = prepare(request, &opened).await? else {
            let instead = "name webgpu, webnn and wasm: a matrix has a row for each".into();
            return Err(HostError::NotYet { what: "a matrix of the platform `auto`".into(), instead });
        };
        // Engines of one model are loaded side by side.
        let loaded_as = format!("{} ({}, {index})", prepared.loaded_as, request.engine());
        let prepared = known.prepared(PreparedModel { loaded_as, ..prepared });
        let routes = chain::routes(prepared.platform, request.engine(), prepared.resolved.fallback.value);
        let work = Assignment { host, request, prepared: &prepared };
        match chain::follow(work, known, &routes, &RunOptions::default(), None).await {
            Ok(answered) => {
                let (memory, compared) = (BrowserMemory::default(), Compared::default());
                Ok(Self { prepared, answered, memory, timestamped: None, compared })
            }
            Err(error) => {
                // A model may have been loaded before it failed.
                unload(host, &prepared.loaded_as).await;
                Err(error)
            }
        }
    }

    /// Times on the GPU of a few more runs, where our kernels ran on an adapter that has timestamps.
    async fn gpu_ms(&self, work: Assignment<'_>) -> Option<Vec<f64>> {
        let adapter = work.host.capabilities().webgpu.adapter.as_ref()?;
        let ours = self.answered.route == Route::Native
            && self.answered.measured.report.implementation_type == ImplementationType::RealWebgpu;
        if !ours || !adapter.features.iter().any(|feature| feature == TIMESTAMPS) {
            return None;
        }
        let options =
            RunOptions { warmup: Some(0), runs: self.plan().timestamped, profile: true, ..RunOptions::default() };
        match runs(work, options).await {
            Ok((report, _)) => report.gpu_ms,
            Err(error) => {
                tracing::debug!("no time of the GPU: {error}");
                None
            }
        }
    }
}

/// Those that had no memory while others had theirs.
fn crowded_out(entries: &[Entry]) -> Vec<usize> {
    let code = ErrorCode::OutOfMemory.name();
    let short = |entry: &Entry| {
        let failed = entry.state.as_ref().err().is_some_and(|error| error.info().code == code);
        failed || entry.known.steps.iter().any(|step| step.code == code)
    };
    let (short, others): (Vec<usize>, Vec<usize>) = (0..entries.len()).partition(|index| short(&entries[*index]));
    if others.iter().any(|index| entries[*index].state.is_ok()) { short } else { Vec::new() }
}

/// The ratio of each that ran as asked to the first that did.
fn ratios(entries: &[Entry], alone: &[usize]) -> Vec<Option<EngineRatio>> {
    let base = entries.iter().enumerate().find_map(|(index, entry)| Some((index, entry.times_as_asked()?)));
    let ratio_of = |(index, entry): (usize, &Entry)| {
        let (base, theirs) = base.filter(|(base, _)| index > *base)?;
        let ratio = Ratio::of(entry.times_as_asked()?, theirs)?;
        Some(EngineRatio {
            to: entries[base].request.engine(),
            of_medians: ratio.of_medians,
            low: ratio.low,
            high: ratio.high,
            interleaved: !alone.contains(&index) && !alone.contains(&base),
        })
    };
    entries.iter().enumerate().map(ratio_of).collect()
}
