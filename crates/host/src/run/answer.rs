//! What a route gave, as plain values: what the page loaded and measured, and whether it kept what was asked for.

use webnibble_common::io::NamedTensors;
use webnibble_common::profiles::{OptionsError, Resolved, Source};
use webnibble_common::record::{EngineRatio, Fallback, OptionValue, StartToFirstResult};
use webnibble_common::wire::{Adjustment, ErrorCode, LoadReport, RunReport};

use crate::browser::BrowserMemory;
use crate::error::HostError;
use crate::reference::Compared;
use crate::session::RunOutcome;

/// A way to an answer on the platform that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Our kernels and graphs.
    Native,
    /// transformers.js.
    TransformersJs,
    /// The CPU executor stands in.
    Simulation,
}

/// What the page loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) report: LoadReport,
    /// For transformers.js.
    pub(super) onnx: Option<OnnxForm>,
}

/// The ONNX form that transformers.js has.
#[derive(Debug)]
pub(super) struct OnnxForm {
    /// Its path in the model's folder.
    pub(super) file: String,
    pub(super) digest: String,
    /// Whether it has the very weights of the package.
    pub(super) exported: bool,
}

/// What a loaded model gave in one request to run it, or in several.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Of the last request, but for what [`Measured::add`] adds up.
    pub(crate) report: RunReport,
    /// Of the last run.
    pub(crate) outputs: NamedTensors,
}

impl From<RunOutcome> for Measured {
    fn from((report, outputs): RunOutcome) -> Self {
        Self { report, outputs }
    }
}

impl Measured {
    /// Adds the runs of one more request. The first run stays the first; measured runs follow one another, and the warm-up is
    /// the one before the first of them.
    pub(crate) fn add(&mut self, (mut report, outputs): RunOutcome) {
        let before = &mut self.report;
        report.first_ms = before.first_ms;
        report.prepare_ms = before.prepare_ms;
        if !before.run_ms.is_empty() {
            let (before_ms, now_ms) = (before.gpu_ms.take(), report.gpu_ms.take());
            report.gpu_ms = before_ms.zip(now_ms).map(|(before, now)| [before, now].concat());
            report.warmup = before.warmup;
            report.run_ms.splice(0..0, before.run_ms.drain(..));
        }
        *self = Self { report, outputs };
    }
}

/// What a route of the page gave.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) route: Route,
    pub(super) loaded: Loaded,
    pub(super) measured: Measured,
    pub(super) start: Option<StartToFirstResult>,
}

/// The same with all that is measured around it.
pub(super) struct PageAnswer {
    pub(super) answered: Answered,
    /// Of the browser after the run; nothing where others were loaded beside it.
    pub(super) memory: BrowserMemory,
    /// Times on the GPU of runs of their own.
    pub(super) timestamped: Option<Vec<f64>>,
    pub(super) compared: Compared,
    pub(super) ratio: Option<EngineRatio>,
}

/// Whether a run kept what was asked for, where no fallback is allowed. What nobody asked for may be set otherwise, such as
/// portable kernels after others failed to build.
///
/// # Errors
/// [`OptionsError::NotKept`] of the first request that was not kept.
pub(super) fn check_kept(resolved: &Resolved, report: &RunReport) -> Result<(), HostError> {
    if resolved.fallback.value || report.adjustments.is_empty() {
        return Ok(());
    }
    let options = resolved.record();
    for adjustment in &report.adjustments {
        let asked = options.get(&adjustment.option).filter(|asked| asked.source == Source::Explicit);
        if let Some(asked) = asked.filter(|asked| asked.value != adjustment.value) {
            return Err(OptionsError::not_kept(&fallback_of(asked, adjustment)).into());
        }
    }
    Ok(())
}

/// The step of the record for an option that the page set otherwise.
pub(super) fn fallback_of(asked: &OptionValue, adjustment: &Adjustment) -> Fallback {
    let Adjustment { option, value, code, reason } = adjustment;
    Fallback {
        from: format!("{option} {}", asked.value),
        to: format!("{option} {value}"),
        code: code.unwrap_or(ErrorCode::Unsupported).name(),
        reason: reason.clone(),
    }
}
