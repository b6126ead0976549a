//! Runs of one model in one page, turn by turn: how a matrix compares engines.
//!
//! All are loaded, then they run in rounds, a few runs each, the order turning round from one round to the next, so that
//! what the machine does besides falls on all alike. Who does not fit beside the others runs when they are freed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use webnibble_common::options::Engine;
use webnibble_common::profiles::Source;
use webnibble_common::result::{EngineRatio, ImplementationType, RunRecord};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RunOptions, RunReport};
use webnibble_models::output;

use super::chain::{self, Answered, Extent, Route};
use super::compare::answer_in_f32;
use super::fill::{fill_browser_memory, fill_ran};
use super::load::UNLOAD_LIMIT;
use super::model::load_model;
use super::prepared::{PreparedModel, prepare_for};
use super::record::{blank_record, finish};
use super::request::{RunRequest, tell};
use crate::error::HostError;
use crate::host::Host;
use crate::ratio::Ratio;
use crate::reference;
use crate::session::RunOutcome;

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
pub struct References(Mutex<HashMap<String, Option<Arc<Outputs>>>>);

type Outputs = Vec<(String, Tensor)>;

impl References {
    async fn of(&self, prepared: &PreparedModel, request: &RunRequest) -> Option<Arc<Outputs>> {
        let key = format!("{} {:?} {:?}", prepared.model.path().display(), request.input, request.outputs);
        let mut known = self.0.lock().await;
        if let Some(found) = known.get(&key) {
            return found.clone();
        }
        tell(request, "computing in f32", 0, 0);
        let computed = answer_in_f32(&prepared.model, request).await.map(Arc::new);
        known.insert(key, computed.clone());
        computed
    }
}

/// One who takes part.
struct Entry {
    request: RunRequest,
    record: RunRecord,
    state: Result<Live, HostError>,
}

/// What is loaded, and what it gave so far.
struct Live {
    prepared: PreparedModel,
    answered: Answered,
    /// The last report, with all measured runs in it.
    measured: Option<RunReport>,
    outputs: Outputs,
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
    ratios(&mut entries, &alone);
    entries.into_iter().map(|entry| finish(entry.record, entry.state.map(drop))).collect()
}

/// Measures those that are live, and frees them.
async fn measure(host: &Host, entries: &mut [Entry], members: &[usize], references: &References) {
    let alone = members.iter().filter(|index| entries[**index].state.is_ok()).count() == 1;
    rounds(host, entries, members, alone).await;
    for index in members {
        entries[*index].complete(host, alone, references).await;
        entries[*index].close(host).await;
    }
}

/// Turns of a few runs each, the order turned round from round to round; who is alone runs all at once. Who has fewer runs
/// than others has them spread over all rounds.
async fn rounds(host: &Host, entries: &mut [Entry], members: &[usize], alone: bool) {
    let most = members.iter().map(|index| entries[*index].runs()).max().unwrap_or(0);
    let rounds = if alone { 1 } else { most.div_ceil(TURN) };
    let mut order = members.to_vec();
    for round in 0..rounds {
        for index in &order {
            let runs = entries[*index].runs();
            let now = runs_done_after(runs, round + 1, rounds) - runs_done_after(runs, round, rounds);
            if now > 0 {
                entries[*index].turn(host, now).await;
            }
        }
        order.reverse();
    }
}

/// How many of so many runs are done after a round.
fn runs_done_after(runs: u32, round: u32, rounds: u32) -> u32 {
    (u64::from(runs) * u64::from(round)).div_ceil(u64::from(rounds)) as u32
}

impl Entry {
    /// Loads, and runs for the first time.
    async fn open(host: &Host, request: RunRequest, index: usize) -> Self {
        let mut record = blank_record(&request);
        let state = Live::open(host, &mut record, &request, index).await;
        Self { request, record, state }
    }

    /// Measured runs that are wanted; none of what failed.
    fn runs(&self) -> u32 {
        self.state.as_ref().map_or(0, |live| live.plan().runs)
    }

    /// A few measured runs; the first of a turn warms up besides.
    async fn turn(&mut self, host: &Host, runs: u32) {
        let Ok(live) = &mut self.state else { return };
        let warmup = if live.measured.is_none() { live.prepared.resolved.warmup.value } else { Some(0) };
        let profile = live.prepared.resolved.profile.value;
        let options = RunOptions { warmup, runs, profile, ..RunOptions::default() };
        match chain::runs(host, &self.request, &live.prepared, options).await {
            Ok(ran) => live.add(ran),
            Err(error) => {
                self.close(host).await;
                self.state = Err(error);
            }
        }
    }

    /// Fills the record with what was measured, and compares with f32. Memory of a browser in which others are loaded too
    /// is not this model's.
    async fn complete(&mut self, host: &Host, alone: bool, references: &References) {
        let Ok(live) = &mut self.state else { return };
        let Some(mut report) = live.measured.take() else { return };
        report.first_ms = live.answered.first.first_ms;
        if report.gpu_ms.is_none() {
            report.gpu_ms = live.gpu_ms(host, &self.request).await;
        }
        fill_ran(&mut self.record, &report, &self.request.input);
        if alone {
            fill_browser_memory(&mut self.record, host.browser_memory());
        }
        let sentence = live.prepared.package.header.meta.sentence.is_some();
        self.record.output = output::answer(&live.outputs, &self.request.outputs, sentence);
        let expected = references.of(&live.prepared, &self.request).await;
        self.record.performance_metrics.quantization_error =
            expected.and_then(|expected| reference::quantization_error(&live.outputs, &expected));
        live.measured = Some(report);
    }

    /// Frees the model, as far as it was loaded.
    async fn close(&self, host: &Host) {
        let name = match &self.state {
            Ok(live) => live.prepared.loaded_as.clone(),
            Err(_) => return,
        };
        if let Err(error) = host.unload(&name, UNLOAD_LIMIT).await {
            tracing::debug!("{name} was not loaded: {error}");
        }
    }

    /// Whether the page's Worker was restarted meanwhile, as when another engine breaks it: its models go with it.
    fn lost_its_model(&self) -> bool {
        self.state.as_ref().err().is_some_and(|error| error.info().code == ErrorCode::UnknownModel.name())
    }

    /// Times of measured runs, where it ran on the platform and by the engine that it was asked to.
    fn times_as_asked(&self) -> Option<&[f64]> {
        let live = self.state.as_ref().ok()?;
        let route = match self.record.engine {
            Engine::Native => Route::Native,
            Engine::TransformersJs => Route::TransformersJs,
        };
        (live.answered.route == route).then_some(&live.measured.as_ref()?.run_ms)
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
        let (resolved, first) = (&self.prepared.resolved, &self.answered.first);
        let runs = resolved.runs;
        let affordable = (BUDGET_MS / (first.first_ms - first.prepare_ms).max(1.0)) as u32;
        if runs.source == Source::Explicit || affordable >= runs.value {
            return RunPlan { runs: runs.value, timestamped: TIMESTAMPED };
        }
        RunPlan { runs: runs.value.min(affordable.max(LEAST_RUNS)), timestamped: 1 }
    }

    async fn open(host: &Host, record: &mut RunRecord, request: &RunRequest, index: usize) -> Result<Self, HostError> {
        let model = load_model(record, request).await?;
        let Some(mut prepared) = prepare_for(record, request, &model).await? else {
            let instead = "name webgpu, webnn and wasm: a matrix has a row for each".into();
            return Err(HostError::NotYet { what: "a matrix of the platform `auto`".into(), instead });
        };
        // Engines of one model are loaded side by side.
        prepared.loaded_as = format!("{} ({}, {index})", prepared.loaded_as, record.engine);
        let routes = chain::routes(prepared.platform, record.engine, prepared.resolved.fallback.value);
        match chain::follow(host, record, request, &prepared, &routes, Extent::First).await {
            Ok(answered) => Ok(Self { prepared, answered, measured: None, outputs: Vec::new() }),
            Err(error) => {
                // A model may have been loaded before it failed.
                let _ = host.unload(&prepared.loaded_as, UNLOAD_LIMIT).await;
                Err(error)
            }
        }
    }

    fn add(&mut self, (report, outputs): RunOutcome) {
        let before = self.measured.take();
        self.outputs = outputs;
        self.measured = Some(match before {
            None => report,
            Some(before) => RunReport {
                run_ms: [before.run_ms, report.run_ms].concat(),
                gpu_ms: before.gpu_ms.zip(report.gpu_ms).map(|(before, now)| [before, now].concat()),
                warmup: before.warmup,
                ..report
            },
        });
    }

    /// Times on the GPU of a few more runs, where our kernels ran on an adapter that has timestamps.
    async fn gpu_ms(&self, host: &Host, request: &RunRequest) -> Option<Vec<f64>> {
        let adapter = host.capabilities().webgpu.adapter.as_ref()?;
        let ours = self.answered.route == Route::Native
            && self.answered.first.implementation_type == ImplementationType::RealWebgpu;
        if !ours || !adapter.features.iter().any(|feature| feature == TIMESTAMPS) {
            return None;
        }
        let options =
            RunOptions { warmup: Some(0), runs: self.plan().timestamped, profile: true, ..RunOptions::default() };
        match chain::runs(host, request, &self.prepared, options).await {
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
        failed || entry.record.fallbacks.iter().any(|step| step.code == code)
    };
    let (short, others): (Vec<usize>, Vec<usize>) = (0..entries.len()).partition(|index| short(&entries[*index]));
    if others.iter().any(|index| entries[*index].state.is_ok()) { short } else { Vec::new() }
}

/// The ratio of each that ran as asked to the first that did.
fn ratios(entries: &mut [Entry], alone: &[usize]) {
    let Some(base) = entries.iter().position(|entry| entry.times_as_asked().is_some()) else { return };
    let to = entries[base].record.engine;
    let theirs = entries[base].times_as_asked().unwrap_or_default().to_vec();
    for (index, entry) in entries.iter_mut().enumerate().skip(base + 1) {
        let ratio = entry.times_as_asked().and_then(|ours| Ratio::of(ours, &theirs));
        let interleaved = !alone.contains(&index) && !alone.contains(&base);
        entry.record.performance_metrics.engine_ratio = ratio.map(|ratio| EngineRatio {
            to,
            of_medians: ratio.of_medians,
            low: ratio.low,
            high: ratio.high,
            interleaved,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_runs_are_spread_over_all_rounds() {
        let turns = |runs, rounds| -> Vec<u32> {
            (0..rounds)
                .map(|round| runs_done_after(runs, round + 1, rounds) - runs_done_after(runs, round, rounds))
                .collect()
        };
        assert_eq!(turns(10, 5), [2, 2, 2, 2, 2]);
        assert_eq!(turns(9, 5), [2, 2, 2, 2, 1]);
        assert_eq!(turns(3, 5), [1, 1, 0, 1, 0]);
        assert_eq!(turns(0, 5), [0; 5]);
        assert_eq!(turns(u32::MAX, 1), [u32::MAX]);
    }
}
