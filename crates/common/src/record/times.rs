//! Statistics of several runs.

use serde::{Deserialize, Serialize};

/// Times of several runs, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median.
    pub p50: f64,
    /// 90th percentile: the smallest time that nine tenths of the runs do not exceed.
    pub p90: f64,
    /// Smallest.
    pub min: f64,
    /// Number of runs.
    pub runs: usize,
}

impl Times {
    /// Statistics of `times_ms`; `None` where there are none, or one of them is not a number.
    pub fn of(times_ms: &[f64]) -> Option<Times> {
        if times_ms.is_empty() || times_ms.iter().any(|time| !time.is_finite()) {
            return None;
        }
        let mut sorted = times_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        let runs = sorted.len();
        let middle = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0;
        let ninth_tenth = (runs * 9).div_ceil(10) - 1;
        Some(Times { p50: middle, p90: sorted[ninth_tenth], min: sorted[0], runs })
    }

    /// Whether the 90th percentile is more than 25 % over the median: then the median says little.
    pub fn spread_widely(self) -> bool {
        self.p90 > 1.25 * self.p50
    }
}
