//! Functions of one f32 without branches or calls, so that the compiler vectorizes loops over them.

/// Beyond these, `exp` would leave the normal f32.
const EXP_MIN: f32 = -87.3;
const EXP_MAX: f32 = 88.3;

/// 1.5 · 2^23: adding and subtracting it rounds to the nearest whole number, on machines without such an instruction too.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has few enough bits that its products with whole numbers are exact
/// (Cody and Waite, 1980).
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` with a relative error below 3e-7; arguments are clamped to where the result is a normal number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(EXP_MIN, EXP_MAX);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    // Taylor's series to r^7 / 7!: |r| is at most ln(2) / 2, where the next term is 5e-9.
    let series = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * series);
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * series)));
    // 2^whole by its exponent bits: `whole` stands in the lowest bits of `shifted`, and the others are shifted out.
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// The error function with an absolute error below 6e-7 (Abramowitz and Stegun, 7.1.26: 1.5e-7, the rest is rounding).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let series = -1.453_152_1 + t * 1.061_405_4;
    let series = t * (0.254_829_6 + t * (-0.284_496_72 + t * (1.421_413_8 + t * series)));
    (1.0 - series * exp(-a * a)).copysign(x)
}

/// Hyperbolic tangent with an absolute error below 3e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// Lanes of a sum that is taken side by side.
pub(super) const LANES: usize = 8;

/// Sum of `f` over `values`, in [`LANES`] partial sums: quick, and closer than one after the other.
#[inline(always)]
pub(super) fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += f(chunk[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| f(*value)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest error of `found` against `expected` over `from..to`.
    fn largest_error(from: f32, to: f32, error: impl Fn(f32) -> f64) -> f64 {
        let steps = 100_000;
        (0..=steps).map(|i| error(from + (to - from) * i as f32 / steps as f32)).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_close_everywhere() {
        let error = largest_error(-87.0, 88.0, |x| {
            let expected = f64::from(x).exp();
            (f64::from(exp(x)) - expected).abs() / expected
        });
        assert!(error < 3e-7, "{error}");
        assert!(exp(-1e30) < 1e-37 && exp(1e30).is_finite());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn erf_and_tanh_are_close_everywhere() {
        let error = largest_error(-9.0, 9.0, |x| (f64::from(erf(x)) - libm::erf(f64::from(x))).abs());
        assert!(error < 6e-7, "{error}");
        let error = largest_error(-20.0, 20.0, |x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        assert!(error < 3e-7, "{error}");
    }

    #[test]
    fn sums_take_every_element() {
        for len in 0..20 {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(sum_by(&values, |v| v), values.iter().sum::<f32>());
        }
    }
}
