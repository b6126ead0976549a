//! The runs of one request: the first, those that warm up, and those that are measured. Alike for whoever computes.

use webnibble_common::warmup::{WarmingUp, Warmup};
use webnibble_common::wire::{RemoteError, RunOptions, Stage};

use super::Progress;
use crate::sys;
use crate::tasks::Pacer;

/// What the runs of a request gave.
pub(crate) struct Runs<O> {
    /// From the beginning of its preparation to the end of the first run.
    pub(crate) first_ms: f64,
    /// Runs that nobody measured, after the first.
    pub(crate) warmup: Warmup,
    /// Each measured run.
    pub(crate) run_ms: Vec<f64>,
    /// What the last run gave.
    pub(crate) last: O,
}

/// Runs as often as `options` say: once for the first time, until times are steady or as often as is asked for, then measured.
/// Preparing for the first run `began` a while ago; `hardware` is a GPU that really is one. `run` is told whether its kernels
/// are to be timed, and `measured` hears of each measured run.
pub(crate) async fn measure<O>(
    options: &RunOptions,
    hardware: bool,
    began: f64,
    progress: &mut Progress<impl Fn(Stage, u64, u64)>,
    mut run: impl AsyncFnMut(bool) -> Result<O, RemoteError>,
    mut measured: impl FnMut(&O),
) -> Result<Runs<O>, RemoteError> {
    let in_all = 1 + u64::from(options.runs);
    progress.report(Stage::Run, 0, in_all);
    let mut last = run(options.profile && options.runs == 0).await?;
    let first_ms = sys::now_ms() - began;
    let warmup = warm_up(options, hardware, progress, &mut run).await?;
    let mut run_ms = Vec::new();
    let mut pacer = Pacer::new();
    for done in 1..in_all {
        progress.report(Stage::Run, done, in_all);
        // Short runs on the CPU never wait for anything: without this no cancel would ever be heard.
        pacer.pause().await;
        let began = sys::now_ms();
        last = run(options.profile).await?;
        run_ms.push(sys::now_ms() - began);
        measured(&last);
    }
    progress.report(Stage::Run, in_all, in_all);
    Ok(Runs { first_ms, warmup, run_ms, last })
}

/// Runs that nobody measures. Where nothing is measured there is nothing to warm up for, unless somebody asks for it.
async fn warm_up<O>(
    options: &RunOptions,
    hardware: bool,
    progress: &mut Progress<impl Fn(Stage, u64, u64)>,
    run: &mut impl AsyncFnMut(bool) -> Result<O, RemoteError>,
) -> Result<Warmup, RemoteError> {
    let asked = if options.runs == 0 { options.warmup.or(Some(0)) } else { options.warmup };
    let mut warming_up = WarmingUp::new(asked, hardware);
    let mut pacer = Pacer::new();
    while warming_up.goes_on() {
        progress.report(Stage::Warmup, warming_up.runs().into(), warming_up.total().into());
        pacer.pause().await;
        let began = sys::now_ms();
        run(false).await?;
        warming_up.add(sys::now_ms() - began);
    }
    Ok(warming_up.report())
}
