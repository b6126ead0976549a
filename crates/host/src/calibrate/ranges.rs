//! From observed values to scales.

use std::collections::BTreeMap;

use webnibble_common::quant::{ActivationScale, LinearActivations, MAX_SHIFT};
use webnibble_kernels::cpu::Observed;

/// A channel is shifted until it is at most that many times as large as the median channel.
///
/// With no shifts one channel of 200, where the others stay below 2, would leave these 3 of 255 codes. Shifting a
/// channel of the input multiplies a column of the weights, which then takes resolution from its row: measured on
/// all-MiniLM-L6-v2, anything between 2 and 6 is as good.
const LARGEST_TO_MEDIAN: f32 = 4.0;

/// Ranges of the linear operators of a model.
#[derive(Default)]
pub(super) struct Observer(BTreeMap<String, [Ranges; 2]>);

/// Least and largest value of each channel.
#[derive(Clone, Debug, Default)]
struct Ranges {
    least: Vec<f32>,
    largest: Vec<f32>,
}

impl Observer {
    /// Takes in one operator's run.
    pub(super) fn add(&mut self, observed: Observed<'_>) {
        let Observed { weight, input, output, input_channels, output_channels } = observed;
        if !self.0.contains_key(weight) {
            self.0.insert(weight.to_owned(), [Ranges::new(input_channels), Ranges::new(output_channels)]);
        }
        if let Some([inputs, outputs]) = self.0.get_mut(weight) {
            inputs.add(input);
            outputs.add(output);
        }
    }

    /// Name and scales of an operator; `None` where it did not run.
    pub(super) fn scales(&self, weight: &str) -> Option<(String, LinearActivations)> {
        let [inputs, outputs] = self.0.get(weight)?;
        Some((weight.to_owned(), LinearActivations { input: inputs.scale(), output: outputs.scale() }))
    }
}

impl Ranges {
    fn new(channels: usize) -> Self {
        Self { least: vec![f32::INFINITY; channels], largest: vec![f32::NEG_INFINITY; channels] }
    }

    fn add(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.least.len()) {
            for ((value, least), largest) in row.iter().zip(&mut self.least).zip(&mut self.largest) {
                *least = least.min(*value);
                *largest = largest.max(*value);
            }
        }
    }

    /// One scale for all channels, the largest of them shifted.
    fn scale(&self) -> ActivationScale {
        let shifts = self.shifts();
        let factor = |channel: usize| 0.5_f32.powi(shifts.get(&channel).map_or(0, |shift| i32::from(*shift)));
        let shifted = |values: &[f32], pick: fn(f32, f32) -> f32| {
            values.iter().enumerate().map(|(channel, value)| value * factor(channel)).fold(0.0, pick)
        };
        let range = ActivationScale::of_range(shifted(&self.least, f32::min), shifted(&self.largest, f32::max));
        ActivationScale { shifts, ..range }
    }

    fn shifts(&self) -> BTreeMap<usize, u8> {
        let magnitudes: Vec<f32> = self.least.iter().zip(&self.largest).map(|(least, most)| most.max(-least)).collect();
        let mut sorted = magnitudes.clone();
        sorted.sort_by(f32::total_cmp);
        let limit = sorted[sorted.len() / 2] * LARGEST_TO_MEDIAN;
        if limit <= 0.0 {
            return BTreeMap::new();
        }
        let shift = |magnitude: f32| (magnitude / limit).log2().ceil().min(f32::from(MAX_SHIFT)) as u8;
        let large = magnitudes.iter().enumerate().filter(|(_, magnitude)| **magnitude > limit);
        large.map(|(channel, magnitude)| (channel, shift(*magnitude))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(rows: &[[f32; 5]]) -> Ranges {
        let mut ranges = Ranges::new(5);
        rows.iter().for_each(|row| ranges.add(row));
        ranges
    }

    #[test]
    fn ranges_span_all_that_was_seen() {
        let scale = ranges(&[[0.0, -1.0, 0.5, 0.2, 0.9], [1.0, 0.0, 1.55, 0.0, -0.3]]).scale();
        assert_eq!(scale, ActivationScale::of_range(-1.0, 1.55));
        assert_eq!(ranges(&[[0.0; 5]]).scale(), ActivationScale::of_range(0.0, 0.0));
    }

    #[test]
    fn outlier_channels_are_shifted_and_no_others() {
        // The median channel reaches 1, so 4 is no outlier, and 33 has to be divided by 16 to be none.
        let scale = ranges(&[[1.0, -33.0, 0.5, -4.0, 1.0]]).scale();
        assert_eq!(scale.shifts, BTreeMap::from([(1, 4)]));
        assert_eq!(ActivationScale { shifts: BTreeMap::new(), ..scale }, ActivationScale::of_range(-4.0, 1.0));
    }

    #[test]
    fn mostly_dead_channels_shift_nothing() {
        assert!(ranges(&[[0.0, 7.0, 0.0, 0.0, 0.0]]).scale().shifts.is_empty());
    }
}
