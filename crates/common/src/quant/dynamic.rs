//! Activations in int8 by their own ranges: nothing has to be known of them before they come.
//!
//! A row (a token) is cut into groups of [`ACTIVATION_GROUP`] channels, each with a range of its own, so that a channel
//! far larger than the others takes resolution from its neighbours alone. Codes have seven bits: products of unsigned
//! codes with signed weights are what processors add up in pairs, and with seven bits a pair never overflows the 16 bits
//! that some of them have for it. So the sums are the same on all of them.

/// Channels that share a range. Rows of 8-bit weights are padded to a multiple of it.
pub const ACTIVATION_GROUP: usize = 64;

/// Codes are 0 to this.
pub const LARGEST_ACTIVATION_CODE: u8 = 127;

/// How a group of activations is stored: `value = offset + scale · code`.
///
/// The offset is the least value, and not a whole number of steps: zero needs no code of its own, since padding is met by
/// weights of zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ActivationGroup {
    /// Step between codes; 0 where all values are the same.
    pub scale: f32,
    /// Value of code 0.
    pub offset: f32,
    /// Codes in a unit: one over the step.
    pub per_unit: f32,
}

impl ActivationGroup {
    /// The group of these values.
    pub fn of(values: &[f32]) -> Self {
        let first = values.first().copied().unwrap_or(0.0);
        let (least, most) =
            values.iter().fold((first, first), |(least, most), value| (least.min(*value), most.max(*value)));
        Self::of_range(least, most)
    }

    /// The group whose codes span `least…most`.
    #[inline]
    pub fn of_range(least: f32, most: f32) -> Self {
        let codes = f32::from(LARGEST_ACTIVATION_CODE);
        let (scale, per_unit) = ((most - least) / codes, codes / (most - least));
        // A range that is too narrow for a step, or of nothing: then all values are its least.
        let (scale, per_unit) = if per_unit.is_finite() { (scale, per_unit) } else { (0.0, 0.0) };
        Self { scale, offset: least, per_unit }
    }

    /// The code of a value of the range: rounded half to even.
    pub fn encode(&self, value: f32) -> u8 {
        // Rounding may leave the last code by far less than half a step.
        ((value - self.offset) * self.per_unit).round_ties_even() as u8
    }

    /// The value of a code.
    pub fn decode(&self, code: u8) -> f32 {
        self.offset + self.scale * f32::from(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_half_a_step_off_at_most() {
        let values: Vec<f32> = (0..500).map(|i| ((i * i) as f32 * 0.37).sin() * 3.0 + 1.0).collect();
        for values in values.chunks(ACTIVATION_GROUP) {
            let group = ActivationGroup::of(values);
            for value in values {
                let code = group.encode(*value);
                assert!(code <= LARGEST_ACTIVATION_CODE);
                assert!((group.decode(code) - value).abs() <= 0.5001 * group.scale, "{value} of {group:?}");
            }
            let codes: Vec<u8> = values.iter().map(|value| group.encode(*value)).collect();
            assert!(codes.contains(&0) && codes.contains(&LARGEST_ACTIVATION_CODE), "the whole range is used");
        }
    }

    #[test]
    fn ranges_of_nothing_and_of_almost_nothing_are_their_least() {
        for values in [&[][..], &[0.0; 4], &[-2.5; 3], &[1e-40, 3e-40], &[0.0, -0.0]] {
            let group = ActivationGroup::of(values);
            assert!(group.scale == 0.0 && group.offset.is_finite(), "{values:?}: {group:?}");
            assert!(values.iter().all(|value| (group.decode(group.encode(*value)) - value).abs() < 1e-39));
        }
    }

    #[test]
    fn no_range_leaves_the_codes() {
        for exponent in -90..120 {
            let unit = 2.0_f32.powi(exponent);
            for (least, most) in [(-1.0, 2.0), (0.1, 0.3), (-7.7, -1.3), (0.999_999, 1.0)] {
                let group = ActivationGroup::of_range(least * unit, most * unit);
                assert_eq!(group.encode(least * unit), 0);
                assert_eq!(group.encode(most * unit), LARGEST_ACTIVATION_CODE, "{least}…{most} · 2^{exponent}");
            }
        }
    }
}
