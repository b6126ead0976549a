//! A ratio of medians, and how sure it is.

use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// Our median by theirs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the medians as measured.
    pub of_medians: f64,
    /// Lower end of the 95 % interval of a bootstrap over runs.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Ratio {
    /// The ratio of two series of times; `None` where one of them is empty.
    pub fn of(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        if ours.is_empty() || theirs.is_empty() {
            return None;
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut ratios: Vec<f64> =
            (0..RESAMPLES).map(|_| median(random.resample(ours)) / median(random.resample(theirs))).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |part: f64| ratios[(part * (RESAMPLES - 1) as f64).round() as usize];
        let of_medians = median(ours.to_vec()) / median(theirs.to_vec());
        Some(Self { of_medians, low: at(0.025), high: at(0.975) })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// xorshift64 (Marsaglia, 2003): the same series gives the same interval.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        (0..values.len()).map(|_| values[(self.next() % values.len() as u64) as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_lies_in_its_interval() {
        let ours = [9.0, 10.0, 11.0, 10.5, 9.5];
        let theirs = [20.0, 21.0, 19.0, 20.5, 60.0];
        let ratio = Ratio::of(&ours, &theirs).unwrap();
        assert_eq!(ratio.of_medians, 10.0 / 20.5);
        assert!(ratio.low <= ratio.of_medians && ratio.of_medians <= ratio.high, "{ratio:?}");
        assert!(ratio.low > 0.14 && ratio.high < 0.6, "{ratio:?}");
        assert_eq!(Ratio::of(&ours, &theirs), Some(ratio), "the same runs give the same interval");
    }

    #[test]
    fn equal_series_have_a_ratio_of_one_without_spread() {
        assert_eq!(Ratio::of(&[2.0; 7], &[2.0; 7]), Some(Ratio { of_medians: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }
}
