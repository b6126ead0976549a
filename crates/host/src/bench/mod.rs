//! The matrix: every combination of browsers, platforms, models, engines, precisions and sizes of input, one browser
//! session for all rows of a browser. What cannot run is a row with its reason.
//!
//! `cells` says which rows there are, `presets` has matrices by name, `spread` measures in several sessions at once.

use std::collections::HashMap;
use std::sync::Arc;

use webnibble_common::options::{Engine, LaunchOptions, MeasureOptions, Options, Platform, Settings};
use webnibble_common::profiles::Source;
use webnibble_common::result::{OptionValue, RunRecord};
use webnibble_common::wire::RunInput;

use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;
use crate::pool::{DOUBT_LIMIT, takes_session_with_it};
use crate::run::{Input, References, RunProgressSink, RunRequest, blocking, not_started, run_in_turns};

mod cells;
mod presets;
mod spread;
#[cfg(test)]
mod tests;

use cells::Cell;
pub use cells::{Precision, Size};
pub use presets::{PRESETS, Preset, USUAL_BITS};

/// Most measured runs of a row of the sweep.
const SWEEP_RUNS: u32 = 5;

/// Sizes of the sweep at which one run would take longer are left out.
const SWEEP_RUN_MS: f64 = 5000.0;

/// What to measure.
#[derive(Clone)]
pub struct BenchRequest {
    /// Browsers, each as it is started.
    pub browsers: Vec<LaunchOptions>,
    /// Models, by name, folder or package.
    pub models: Vec<String>,
    /// Platforms; not `auto`.
    pub platforms: Vec<Platform>,
    /// Engines. Several take turns, and have their ratio to the first.
    pub engines: Vec<Engine>,
    /// Precisions.
    pub precisions: Vec<Precision>,
    /// Sizes of the input; the ids are made up.
    pub sizes: Vec<Size>,
    /// Threads on wasm and parts on WebNN, a row each; empty leaves them to the page. WebGPU has none.
    pub threads: Vec<u32>,
    /// More sizes for one precision and engine of each platform, where that ran for real.
    pub sweep: Vec<Size>,
    /// Sessions of each browser that rows are spread over. With more than one, rows disturb one another's times where
    /// their browsers share a machine.
    pub sessions: usize,
    /// Options that all rows share.
    pub options: Options,
    /// Passes the browsers' output and their consoles on to the log.
    pub verbose: bool,
    /// Revision of this build, for the records.
    pub revision: String,
    /// Hears how far a row is.
    pub progress: Option<RunProgressSink>,
}

impl BenchRequest {
    /// The runs of a cell: they differ in their engine.
    fn run_requests(&self, cell: &Cell<'_>, launch: &LaunchOptions, inputs: &Inputs) -> Vec<RunRequest> {
        let input = inputs.ids(cell.size);
        cell.engines.iter().map(|engine| self.run_request(cell, *engine, launch, input.clone())).collect()
    }

    fn run_request(&self, cell: &Cell<'_>, engine: Engine, launch: &LaunchOptions, input: RunInput) -> RunRequest {
        let asked = self.options.measure.runs;
        let runs = if cell.sweep { asked.map(|runs| runs.min(SWEEP_RUNS)) } else { asked };
        // What is no matter of another engine does not stand in its row.
        let threads = cell.threads.filter(|_| cell.platform != Platform::Webnn || engine == Engine::Native);
        let options = Options {
            platform: Some(cell.platform),
            engine: Some(engine),
            settings: Settings { threads, ..cell.precision.settings(&self.options.settings) },
            launch: launch.clone(),
            measure: MeasureOptions { runs, ..self.options.measure.clone() },
            ..self.options.clone()
        };
        RunRequest {
            model: cell.model.to_owned(),
            options,
            input: Input::Given(input),
            verbose: self.verbose,
            revision: self.revision.clone(),
            progress: self.progress.clone(),
        }
    }
}

/// Measures every row; `on_row` hears of each as it is done. A browser that dies is started anew for the next rows.
pub async fn bench(request: &BenchRequest, mut on_row: impl FnMut(&RunRecord)) -> Vec<RunRecord> {
    let mut models = HashMap::new();
    for model in &request.models {
        models.insert(model.as_str(), Inputs::of(model.clone()).await);
    }
    let mut records: Vec<RunRecord> = Vec::new();
    let references = Arc::new(References::default());
    for launch in &request.browsers {
        if request.sessions > 1 {
            records.append(&mut spread::rows(request, launch, &models, &references, &mut on_row).await);
            continue;
        }
        let mut session = Session { launch, verbose: request.verbose, host: None, failed: None };
        let first = records.len();
        for cell in request.cells() {
            if cell.sweep && !is_worth_sweeping(&records[first..], &cell) {
                continue;
            }
            let inputs = &models[cell.model];
            let mut found = session.run(request.run_requests(&cell, launch, inputs), inputs, &references).await;
            found.iter().for_each(&mut on_row);
            records.append(&mut found);
        }
        session.end_host().await;
    }
    records
}

/// Whether a row of the cell's model and platform ran there, nothing stood in, and a run of the cell's size would not take
/// too long, by what that row took a token.
fn is_worth_sweeping<'a>(records: impl IntoIterator<Item = &'a RunRecord>, cell: &Cell<'_>) -> bool {
    let of_cell = |record: &&RunRecord| {
        record.platform == cell.platform && record.model.as_ref().is_some_and(|model| model.source == cell.model)
    };
    let real = records.into_iter().filter(of_cell).filter(|record| record.is_simulation == Some(false));
    let token_ms = real.filter_map(|record| {
        let input = record.input.as_ref()?;
        let times = record.performance_metrics.inference_time_ms?;
        Some(times.p50 / (input.batch * input.sequence_length?) as f64)
    });
    token_ms.min_by(f64::total_cmp).is_some_and(|ms| ms * (cell.size.batch * cell.size.tokens) as f64 <= SWEEP_RUN_MS)
}

/// What inputs of a model are made of, or why it cannot be read.
struct Inputs {
    /// Its name, or what was typed.
    name: String,
    /// Number of ids, or why there is none.
    vocabulary: Result<usize, HostError>,
}

impl Inputs {
    async fn of(model: String) -> Self {
        let typed = model.trim_end_matches('/').rsplit('/').next().unwrap_or(&model).to_owned();
        let read = blocking(move || {
            let model = Model::load(&model, &mut |_| {})?;
            Ok((model.name().to_owned(), crate::versus::vocabulary(&model)))
        });
        match read.await {
            Ok((name, vocabulary)) => Self { name, vocabulary: Ok(vocabulary) },
            Err(error) => Self { name: typed, vocabulary: Err(error) },
        }
    }

    /// Ids of that size, all in the vocabulary, and different from text to text.
    fn ids(&self, size: Size) -> RunInput {
        let vocabulary = *self.vocabulary.as_ref().unwrap_or(&1);
        let ids = crate::versus::ids(vocabulary, size.batch * size.tokens);
        RunInput::ids(ids.chunks(size.tokens.max(1)).map(<[u32]>::to_vec).collect())
    }
}

/// One browser, started when the first row needs it.
struct Session<'a> {
    launch: &'a LaunchOptions,
    verbose: bool,
    host: Option<Host>,
    /// Why it cannot be started: it is not tried again.
    failed: Option<HostError>,
}

impl Session<'_> {
    /// Runs that differ in their engine.
    async fn run(&mut self, requests: Vec<RunRequest>, inputs: &Inputs, references: &References) -> Vec<RunRecord> {
        let reason = match &inputs.vocabulary {
            Ok(_) => {
                self.start().await;
                self.failed.as_ref()
            }
            Err(error) => Some(error),
        };
        let host = match (reason, &self.host) {
            (None, Some(host)) => host,
            (None, None) => unreachable!("a browser starts or fails to"),
            (Some(reason), _) => return requests.iter().map(|one| refused(one, reason, &inputs.name)).collect(),
        };
        let records = run_in_turns(host, requests, references).await;
        // What took its session with it, or left its Worker stuck, must not take the next rows too.
        let mut errors = records.iter().filter_map(|record| record.error.as_ref()).peekable();
        let doubtful = errors.peek().is_some();
        let lost = errors.any(takes_session_with_it);
        if lost || doubtful && !host.session().takes_requests(DOUBT_LIMIT).await {
            self.end_host().await;
        }
        records
    }

    async fn start(&mut self) {
        if self.host.is_none() && self.failed.is_none() {
            match Host::builder().launch(self.launch.clone()).verbose(self.verbose).start().await {
                Ok(host) => self.host = Some(host),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    async fn end_host(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown().await;
        }
    }
}

/// The row of what was not tried, with the model's name so that it is known what it would have been.
fn refused(request: &RunRequest, reason: &HostError, model: &str) -> RunRecord {
    let mut record = not_started(request, reason);
    record.options.insert("model".into(), OptionValue { value: model.into(), source: Source::Explicit });
    record
}
