//! Progress bars on a terminal, and nothing elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use webnibble_common::wire::Stage;

/// One line at the foot of the terminal. Steps are told from any thread.
#[derive(Clone)]
pub(crate) struct Bar(Arc<Mutex<State>>);

struct State {
    bar: ProgressBar,
    what: String,
}

impl Bar {
    /// A bar on stderr, or none where that is no terminal, or where `wanted` is not.
    pub(crate) fn new(wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Arc::new(Mutex::new(State { bar, what: String::new() })))
    }

    /// Shows a step of unknown length.
    pub(crate) fn step(&self, what: &str) {
        self.show(what, 0, 0, false);
    }

    /// Shows how far a step is, in its own unit or in bytes. A `total` of 0 is unknown.
    pub(crate) fn show(&self, what: &str, done: u64, total: u64, bytes: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.bar.set_length(total);
        state.bar.set_position(done);
        if state.what != what {
            state.what = what.to_owned();
            let template = match (total, bytes) {
                (0, _) => "{spinner} {msg}",
                (_, true) => "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
                (_, false) => "{spinner} {msg} [{bar:30}] {pos}/{len}",
            };
            state.bar.set_style(ProgressStyle::with_template(template).expect("the templates are right"));
            state.bar.set_message(what.to_owned());
        }
    }

    /// Shows a stage of a request to the page.
    pub(crate) fn stage(&self, stage: Stage, done: u64, total: u64) {
        let (what, bytes) = match stage {
            Stage::Fetch => ("loading weights", true),
            Stage::Compile => ("building pipelines", false),
            Stage::Warmup => ("warming up", false),
            Stage::Run => ("running", false),
        };
        self.show(what, done, total, bytes);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bar.finish_and_clear();
    }
}
