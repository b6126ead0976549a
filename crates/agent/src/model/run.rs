//! Running: first run, warm-up and measured runs.

use webnibble_common::io::{Input, NamedTensors, TensorInfo};
use webnibble_common::wire::{Adjustment, RemoteError, RunOptions, RunReport, Stage};

use super::input::Bound;
use super::measure::{Runs, measure};
use super::{LoadedModel, Progress};
use crate::backend::{RunOutcome, RunRequest};
use crate::stop::Stop;
use crate::sys;

/// What a request to run gave.
pub(crate) struct Ran {
    /// The outputs that were asked for, or what the answer is made of, of the last run.
    pub(crate) outputs: NamedTensors,
    /// How it was measured.
    pub(crate) report: RunReport,
}

impl LoadedModel {
    /// Runs the model as often as `options` say: once for the first time, `warmup` times, then `runs` times measured.
    /// Without measured runs the outputs are those of the first.
    pub(crate) async fn run(
        &mut self,
        input: Input,
        options: &RunOptions,
        stop: &Stop,
        progress: impl Fn(Stage, u64, u64),
    ) -> Result<Ran, RemoteError> {
        let mut progress = Progress::new(progress);
        let input = self.bind(&input)?;
        self.want(&options.outputs)?;
        stop.check()?;
        if self.backend.adapter().is_some() {
            // How many pipelines a new shape needs is the backend's business.
            progress.report(Stage::Compile, 0, 0);
        }
        let began = sys::now_ms();
        let prepare_ms = self.backend.prepare(&input.bindings).await?;
        let hardware = self.backend.adapter().is_some_and(|adapter| adapter.hardware);
        let mut gpu_ms = Vec::new();
        let run = async |profile| self.run_once(&input, profile, stop).await;
        let timed = |outcome: &RunOutcome| gpu_ms.extend(outcome.gpu_ms);
        let Runs { first_ms, warmup, run_ms, last } =
            measure(options, hardware, began, &mut progress, run, timed).await?;
        let every_run_has_gpu_ms = gpu_ms.len() == run_ms.len();
        let gpu_ms = (options.profile && options.runs > 0 && every_run_has_gpu_ms).then_some(gpu_ms);
        let adjustments = [self.idle.clone(), self.backend.adjustments(), not_profiled(options, gpu_ms.as_deref())];
        let report = RunReport {
            implementation_type: self.backend.implementation_type(),
            outputs: last.outputs.iter().map(|(name, tensor)| TensorInfo::of(name, tensor)).collect(),
            token_counts: input.tokens_kept.iter().map(|tokens| tokens.kept).collect(),
            truncated: input.tokens_kept.iter().any(|tokens| tokens.is_cut()),
            tokens_kept: input.tokens_kept,
            prepare_ms,
            first_ms,
            warmup,
            run_ms,
            generated: None,
            gpu_ms,
            kernels: last.kernels,
            webnn: self.backend.webnn(),
            variants: self.backend.variants(),
            adjustments: adjustments.concat(),
            dispatches: self.backend.dispatches(),
            gpu_peak_bytes: self.backend.gpu_peak_bytes(),
            wasm_heap_bytes: sys::wasm_heap_bytes(),
        };
        Ok(Ran { outputs: last.outputs, report })
    }

    /// One run, of which everything is read.
    async fn run_once(&mut self, input: &Bound, profile: bool, stop: &Stop) -> Result<RunOutcome, RemoteError> {
        stop.check()?;
        let request = RunRequest { profile, ..RunRequest::all_of(&input.tensors) };
        let outcome = self.backend.submit(&request, None, stop).await?.read().await?;
        stop.check()?;
        Ok(outcome)
    }
}

/// Kernels that were to be timed, where nobody times them.
pub(crate) fn not_profiled(options: &RunOptions, gpu_ms: Option<&[f64]>) -> Vec<Adjustment> {
    let wanted = options.profile && options.runs > 0 && gpu_ms.is_none();
    let reason = "what computes gives no timestamps of its kernels".to_owned();
    let adjustment = Adjustment { option: "profile".into(), value: false.into(), code: None, reason };
    wanted.then_some(adjustment).into_iter().collect()
}
