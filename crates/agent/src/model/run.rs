//! Running: first run, warm-up and measured runs.

use webnibble_common::io::{Input, NamedTensors, TensorInfo};
use webnibble_common::tensor::Tensor;
use webnibble_common::warmup::{WarmingUp, Warmup};
use webnibble_common::wire::{Adjustment, RemoteError, RunOptions, RunReport, Stage};

use super::input::Bound;
use super::{LoadedModel, Progress};
use crate::backend::{RunOutcome, RunRequest};
use crate::stop::Stop;
use crate::sys;
use crate::tasks::Pacer;

/// What a request to run gave.
pub(crate) struct Ran {
    /// The outputs that were asked for, or what the answer is made of, of the last run.
    pub(crate) outputs: NamedTensors,
    /// How it was measured.
    pub(crate) report: RunReport,
}

/// Measured runs, as they come.
#[derive(Default)]
struct Measured {
    run_ms: Vec<f64>,
    gpu_ms: Vec<f64>,
    last: Option<RunOutcome>,
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
        progress.report(Stage::Run, 0, runs_in_all(options));
        let first = self.run_once(&input, options.profile && options.runs == 0, stop).await?;
        let first_ms = sys::now_ms() - began;
        let warmup = self.warm_up(&input, options, stop, &mut progress).await?;
        let measured = self.measure(&input, options, stop, &mut progress).await?;
        let last = measured.last.unwrap_or(first);
        let every_run_has_gpu_ms = measured.gpu_ms.len() == measured.run_ms.len();
        let gpu_ms = (options.profile && options.runs > 0 && every_run_has_gpu_ms).then_some(measured.gpu_ms);
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
            run_ms: measured.run_ms,
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

    /// Runs that nobody measures.
    async fn warm_up(
        &mut self,
        input: &Bound,
        options: &RunOptions,
        stop: &Stop,
        progress: &mut Progress<impl Fn(Stage, u64, u64)>,
    ) -> Result<Warmup, RemoteError> {
        let mut warming_up = warming_up(options, self.backend.adapter().is_some_and(|adapter| adapter.hardware));
        let mut pacer = Pacer::new();
        while warming_up.goes_on() {
            progress.report(Stage::Warmup, warming_up.runs().into(), warming_up.total().into());
            pacer.pause().await;
            let began = sys::now_ms();
            self.run_once(input, false, stop).await?;
            warming_up.add(sys::now_ms() - began);
        }
        Ok(warming_up.report())
    }

    async fn measure(
        &mut self,
        input: &Bound,
        options: &RunOptions,
        stop: &Stop,
        progress: &mut Progress<impl Fn(Stage, u64, u64)>,
    ) -> Result<Measured, RemoteError> {
        let in_all = runs_in_all(options);
        let mut measured = Measured::default();
        let mut pacer = Pacer::new();
        for done in 1..in_all {
            progress.report(Stage::Run, done, in_all);
            // Short runs on the CPU never wait for anything: without this no cancel would ever be heard.
            pacer.pause().await;
            let began = sys::now_ms();
            let outcome = self.run_once(input, options.profile, stop).await?;
            measured.run_ms.push(sys::now_ms() - began);
            measured.gpu_ms.extend(outcome.gpu_ms);
            measured.last = Some(outcome);
        }
        progress.report(Stage::Run, in_all, in_all);
        Ok(measured)
    }

    /// One run, of which everything is read.
    async fn run_once(&mut self, input: &Bound, profile: bool, stop: &Stop) -> Result<RunOutcome, RemoteError> {
        stop.check()?;
        let request = RunRequest { inputs: &input.tensors, wanted: None, profile };
        let outcome = self.backend.submit(&request, stop).await?.read().await?;
        stop.check()?;
        Ok(outcome)
    }
}

/// The first run and the measured ones, as progress counts them.
pub(crate) fn runs_in_all(options: &RunOptions) -> u64 {
    1 + u64::from(options.runs)
}

/// Warms up for measured runs, `hardware` on a GPU that is one. Where nothing is measured there is nothing to warm up for, unless somebody asks for it.
pub(crate) fn warming_up(options: &RunOptions, hardware: bool) -> WarmingUp {
    let asked = if options.runs == 0 { options.warmup.or(Some(0)) } else { options.warmup };
    WarmingUp::new(asked, hardware)
}

/// Kernels that were to be timed, where nobody times them.
pub(crate) fn not_profiled(options: &RunOptions, gpu_ms: Option<&[f64]>) -> Vec<Adjustment> {
    let wanted = options.profile && options.runs > 0 && gpu_ms.is_none();
    let reason = "what computes gives no timestamps of its kernels".to_owned();
    let adjustment = Adjustment { option: "profile".into(), value: false.into(), code: None, reason };
    wanted.then_some(adjustment).into_iter().collect()
}
