//! A model in the page: its program with what surrounds it, and its backend.
//!
//! The session with a host and the JavaScript face both load and run models through here.

use webnibble_common::wire::{Adjustment, Stage};
use webnibble_models::Pipeline;
use webnibble_models::generate::GenerationConfig;

use crate::backend;
use crate::sys;

mod generate;
mod input;
mod load;
mod measure;
mod run;

pub(crate) use load::LoadRequest;
pub(crate) use measure::{Runs, measure};
pub(crate) use run::{Ran, not_profiled};

/// A loaded model. What it holds outside wasm memory is freed when it is dropped.
pub(crate) struct LoadedModel {
    /// The program, and what is made of inputs and outputs.
    pipeline: Pipeline,
    backend: backend::Model,
    /// Of a model that goes on from its input: what it says of how. `None` of another.
    generation: Option<GenerationConfig>,
    /// Options that do nothing for what computes.
    idle: Vec<Adjustment>,
}

impl LoadedModel {
    /// What is made of inputs and outputs.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl Drop for LoadedModel {
    fn drop(&mut self) {
        self.backend.dispose();
    }
}

/// Where a request's progress goes, at most every so often for each stage.
pub(crate) struct Progress<F> {
    report: F,
    last: Option<(Stage, f64)>,
}

impl<F: Fn(Stage, u64, u64)> Progress<F> {
    const INTERVAL_MS: f64 = 100.0;

    /// Calls `report` with the stage, what is done, and of how much.
    pub(crate) fn new(report: F) -> Self {
        Self { report, last: None }
    }

    /// Reports, unless the same stage did just now. A stage's end always is reported, and so is that of the first run: whoever
    /// asked learns by it when there was a first answer.
    pub(crate) fn report(&mut self, stage: Stage, done: u64, total: u64) {
        let now = sys::now_ms();
        let recent = matches!(self.last, Some((last, at)) if last == stage && now - at < Self::INTERVAL_MS);
        let first_run = stage == Stage::Run && done == 1;
        if !recent || done == total || first_run {
            self.last = Some((stage, now));
            (self.report)(stage, done, total);
        }
    }
}

#[cfg(test)]
mod tests;
