//! What to measure, and the cells and runs that come of it.

use webnibble_common::io::Input;
use webnibble_common::options::{Engine, LaunchOptions, MeasureOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;

use super::cells::{Cell, Precision, Size, takes};
use super::inputs::Inputs;
use crate::run::{RunProgressSink, RunRequest};

/// Most measured runs of a row of the sweep.
pub(super) const SWEEP_RUNS: u32 = 5;

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
    pub(super) fn run_requests(&self, cell: &Cell<'_>, launch: &LaunchOptions, inputs: &Inputs) -> Vec<RunRequest> {
        let input = inputs.ids(cell.size);
        cell.engines.iter().map(|engine| self.run_request(cell, *engine, launch, input.clone())).collect()
    }

    pub(super) fn run_request(
        &self,
        cell: &Cell<'_>,
        engine: Engine,
        launch: &LaunchOptions,
        input: Input,
    ) -> RunRequest {
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
            input,
            outputs: Vec::new(),
            generate: false,
            compare_f32: false,
            verbose: self.verbose,
            revision: self.revision.clone(),
            progress: self.progress.clone(),
        }
    }

    /// Number of rows, with those of the sweep, which are left out where nothing runs.
    pub fn rows(&self) -> usize {
        self.browsers.len() * self.cells().iter().map(|cell| cell.engines.len()).sum::<usize>()
    }

    /// All cells of a browser, in the order in which they are measured.
    pub(super) fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for model in &self.models {
            for platform in &self.platforms {
                let cell = |precision: Precision, size: Size, threads: Option<u32>, sweep: bool| {
                    let engines = if sweep { &self.engines[..1] } else { &self.engines[..] };
                    let takes = |engine: &Engine| {
                        takes(*platform, *engine, precision) && self.takes_threads(*platform, *engine, threads)
                    };
                    let engines = engines.iter().copied().filter(takes).collect();
                    Cell { model, platform: *platform, precision, size, threads, engines, sweep }
                };
                let threads = self.threads_on(*platform);
                for precision in &self.precisions {
                    for size in &self.sizes {
                        cells.extend(threads.iter().map(|threads| cell(*precision, *size, *threads, false)));
                    }
                }
                if let (Some(precision), false) = (self.swept(), self.engines.is_empty()) {
                    let more = self.sweep.iter().filter(|size| !self.sizes.contains(size));
                    cells.extend(more.map(|size| cell(precision, *size, threads[0], true)));
                }
            }
        }
        cells.retain(|cell| !cell.engines.is_empty());
        cells
    }

    /// The numbers of threads that are rows of their own: WebGPU has none.
    fn threads_on(&self, platform: Platform) -> Vec<Option<u32>> {
        if self.threads.is_empty() || !matches!(platform, Platform::Wasm | Platform::Webnn) {
            return vec![None];
        }
        self.threads.iter().copied().map(Some).collect()
    }

    /// Whether another number of threads makes another row. On WebNN they are parts of our graphs: other engines have one
    /// row there.
    fn takes_threads(&self, platform: Platform, engine: Engine, threads: Option<u32>) -> bool {
        platform != Platform::Webnn || engine == Engine::Native || threads == self.threads.first().copied()
    }

    /// The precision of the sweep: 8 bits, which every platform runs as asked, where they are there.
    fn swept(&self) -> Option<Precision> {
        let mut weights = self.precisions.iter().filter(|one| one.activation_bits == Bits::B32);
        weights.clone().find(|one| one.bits == Bits::B8).or_else(|| weights.next()).copied()
    }
}
