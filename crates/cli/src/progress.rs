//! Progress bars on a terminal, and nothing elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use webnibble_common::wire::Stage;

/// One line at the foot of the terminal. Steps are told from any thread.
#[derive(Clone)]
pub(crate) struct Bar(Arc<Mutex<BarState>>);

struct BarState {
    bar: ProgressBar,
    what: String,
    template: &'static str,
}

impl Bar {
    /// A bar on stderr, or none where that is no terminal, or where `wanted` is not.
    pub(crate) fn new(wanted: bool) -> Self {
        let shown = wanted && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Arc::new(Mutex::new(BarState { bar, what: String::new(), template: "" })))
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
        // How long a step is may be known only after it began.
        let template = template(total, bytes);
        if state.template != template {
            state.template = template;
            state.bar.set_style(ProgressStyle::with_template(template).expect("the templates are right"));
        }
        if state.what != what {
            state.what = what.to_owned();
            // How long a step takes tells that it goes on, where one of its parts is long.
            state.bar.reset_elapsed();
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

fn template(total: u64, bytes: bool) -> &'static str {
    match (total, bytes) {
        (0, _) => "{spinner} {msg} ({elapsed})",
        (_, true) => "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
        (_, false) => "{spinner} {msg} [{bar:30}] {pos}/{len} ({elapsed})",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_becomes_known_is_shown() {
        let bar = Bar::new(false);
        let shown = |done, total| {
            bar.stage(Stage::Run, done, total);
            let state = bar.0.lock().unwrap();
            (state.template.contains("{pos}/{len}"), state.bar.position(), state.bar.length())
        };
        assert_eq!(shown(0, 0), (false, 0, Some(0)));
        assert_eq!(shown(3, 14), (true, 3, Some(14)));
        assert_eq!(shown(0, 0), (false, 0, Some(0)));
    }
}
