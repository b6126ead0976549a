//! Warming up: running a model until its times are steady, before they are measured.
//!
//! A GPU that was idle runs at low clocks for its first tenths of a second, and browsers compile hot code a second time
//! while it runs. Two runs before the measured ones were seen to give four times the steady time on a data centre's GPU.

use serde::{Deserialize, Serialize};

/// What a hardware GPU has to work before its clocks are up, in ms.
const HARDWARE_WORK_MS: f64 = 300.0;
/// After so much work on a hardware GPU, times are measured as they are, in ms.
const HARDWARE_LIMIT_MS: f64 = 3000.0;
/// The same for everything else, in ms: processors have nothing that takes longer.
const LIMIT_MS: f64 = 1000.0;
/// Runs that are compared with as many before them.
const LEAST_WINDOW: usize = 5;
/// Medians of two windows that differ by less, relatively, are steady.
const TOLERANCE: f64 = 0.05;

/// What was run before the measured runs, after the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// How many runs.
    pub runs: u32,
    /// What they took together.
    pub ms: f64,
    /// Whether their times had come to rest; `None` where they were too few to tell.
    pub steady: Option<bool>,
}

impl Warmup {
    /// No runs.
    pub const NONE: Warmup = Warmup { runs: 0, ms: 0.0, steady: None };
}

/// Decides, run by run, whether another one is needed.
#[derive(Clone, Debug)]
pub struct WarmingUp {
    asked: Option<u32>,
    hardware: bool,
    times_ms: Vec<f64>,
}

impl WarmingUp {
    /// Warms up with as many runs as were `asked` for, else until times are steady. `hardware` is a GPU that really is one:
    /// it has clocks that have to rise.
    pub fn new(asked: Option<u32>, hardware: bool) -> Self {
        Self { asked, hardware, times_ms: Vec::new() }
    }

    /// Whether another run is to come before the measured ones.
    pub fn goes_on(&self) -> bool {
        if let Some(asked) = self.asked {
            return self.runs() < asked;
        }
        let (least_ms, most_ms) = if self.hardware { (HARDWARE_WORK_MS, HARDWARE_LIMIT_MS) } else { (0.0, LIMIT_MS) };
        let worked_ms = self.worked_ms();
        let done = worked_ms >= least_ms && self.steady() == Some(true);
        !done && worked_ms < most_ms
    }

    /// Adds the time of a run.
    pub fn add(&mut self, run_ms: f64) {
        self.times_ms.push(run_ms);
    }

    /// Runs so far.
    pub fn runs(&self) -> u32 {
        self.times_ms.len() as u32
    }

    /// Runs in all; 0 where nobody knows yet.
    pub fn total(&self) -> u32 {
        self.asked.unwrap_or(0)
    }

    /// What was run.
    pub fn report(&self) -> Warmup {
        Warmup { runs: self.runs(), ms: self.worked_ms(), steady: self.steady() }
    }

    fn worked_ms(&self) -> f64 {
        self.times_ms.iter().sum()
    }

    /// Whether the median of the last quarter of the runs is that of the quarter before: with more runs the windows grow, so
    /// that a slow drift shows as well as a fast one.
    fn steady(&self) -> Option<bool> {
        let window = LEAST_WINDOW.max(self.times_ms.len() / 4);
        let (_, last) = self.times_ms.split_at(self.times_ms.len().checked_sub(2 * window)?);
        let (before, after) = last.split_at(window);
        let (before, after) = (median(before), median(after));
        Some((after - before).abs() <= TOLERANCE * before.max(after))
    }
}

fn median(times_ms: &[f64]) -> f64 {
    let mut sorted = times_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs whose times `of` gives by their number, until none is wanted any more.
    fn warm_up(asked: Option<u32>, hardware: bool, of: impl Fn(u32) -> f64) -> Warmup {
        let mut warming_up = WarmingUp::new(asked, hardware);
        while warming_up.goes_on() {
            warming_up.add(of(warming_up.runs()));
        }
        warming_up.report()
    }

    #[test]
    fn an_explicit_number_is_kept() {
        assert_eq!(warm_up(Some(0), true, |_| 1.0), Warmup::NONE);
        assert_eq!(warm_up(Some(3), true, |_| 1.0), Warmup { runs: 3, ms: 3.0, steady: None });
        assert_eq!(warm_up(Some(20), false, |run| if run < 15 { 9.0 } else { 1.0 }).steady, Some(false));
    }

    #[test]
    fn steady_times_end_it_at_once_but_for_a_gpu_whose_clocks_rise() {
        assert_eq!(warm_up(None, false, |_| 2.0), Warmup { runs: 10, ms: 20.0, steady: Some(true) });
        let gpu = warm_up(None, true, |_| 2.0);
        assert_eq!((gpu.runs, gpu.steady), (150, Some(true)));
    }

    #[test]
    fn times_that_fall_are_waited_for() {
        let falling = |run: u32| if run < 40 { 20.0 - f64::from(run) * 0.4 } else { 4.0 };
        let found = warm_up(None, true, falling);
        assert_eq!(found.steady, Some(true));
        assert!(found.runs >= 50, "{found:?}");
    }

    #[test]
    fn times_that_never_rest_and_runs_that_take_long_end_at_the_limit() {
        let restless = warm_up(None, true, |run| if run.is_power_of_two() { 80.0 } else { 5.0 + f64::from(run) });
        assert_eq!(restless.steady, Some(false));
        assert!((3000.0..3200.0).contains(&restless.ms), "{restless:?}");
        assert_eq!(warm_up(None, false, |_| 400.0), Warmup { runs: 3, ms: 1200.0, steady: None });
        assert_eq!(warm_up(None, false, |_| 5000.0).runs, 1);
    }
}
