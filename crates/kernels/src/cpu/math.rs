//! Functions of one f32 without branches or calls: natively over plain numbers, in loops that the compiler vectorizes; in
//! WebAssembly over its vectors, whose operations it would not choose by itself.

use super::real::Real;
#[cfg(target_arch = "wasm32")]
use super::simd::F32x4;

/// Replaces each value by what `f` makes of it.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! map {
    ($values:expr, $f:expr) => {
        for value in $values.iter_mut() {
            *value = $f(*value);
        }
    };
}

/// Replaces each value by what `f` makes of it: four at a time, and zeros beside the last ones.
#[cfg(target_arch = "wasm32")]
macro_rules! map {
    ($values:expr, $f:expr) => {
        crate::cpu::math::map_vectors($values, |value| $f(value))
    };
}
pub(crate) use map;

#[cfg(target_arch = "wasm32")]
#[inline(always)]
pub(crate) fn map_vectors(values: &mut [f32], f: impl Fn(F32x4) -> F32x4) {
    let (vectors, rest) = values.as_chunks_mut::<4>();
    for vector in vectors {
        *vector = f(F32x4::from_array(*vector)).to_array();
    }
    if !rest.is_empty() {
        let mut last = [0.0; 4];
        last[..rest.len()].copy_from_slice(rest);
        rest.copy_from_slice(&f(F32x4::from_array(last)).to_array()[..rest.len()]);
    }
}

/// Beyond these, `exp` would leave the normal f32.
pub(crate) const EXP_MIN: f32 = -87.3;
const EXP_MAX: f32 = 88.3;

/// 1.5 · 2^23: adding and subtracting it rounds to the nearest whole number, on machines without such an instruction too.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has few enough bits that its products with whole numbers are exact
/// (Cody and Waite, 1980).
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Taylor's series of `e^r` to r^7: |r| is at most ln(2) / 2, where the next term is 5e-9.
const EXP_SERIES: [f32; 8] = [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];

/// The polynomial with these coefficients, lowest first.
#[inline(always)]
fn polynomial<R: Real, const N: usize>(x: R, coefficients: [f32; N]) -> R {
    let (last, lower) = coefficients.split_last().expect("a polynomial has a coefficient");
    lower.iter().rev().fold(R::of(*last), |sum, coefficient| sum.mul_add(x, R::of(*coefficient)))
}

/// `e^x` with a relative error below 3e-7; arguments are clamped to where the result is a normal number.
#[inline(always)]
pub(crate) fn exp<R: Real>(x: R) -> R {
    let x = x.max(R::of(EXP_MIN)).min(R::of(EXP_MAX));
    let shifted = x.mul_add(R::of(std::f32::consts::LOG2_E), R::of(ROUND));
    let whole = shifted.minus(R::of(ROUND));
    let r = whole.mul_add(R::of(-LN_2_LOW), whole.mul_add(R::of(-LN_2_HIGH), x));
    // The whole number stands in the lowest bits of `shifted`; the others are shifted out.
    polynomial(r, EXP_SERIES).times(shifted.power_of_two())
}

/// Where `Φ` is 0 or 1 to an f32's last digit.
const PHI_END: f32 = 5.3;

/// `(Φ(x) − 1/2) / x` as a quotient of polynomials of x², fitted to the smallest largest error of `Φ`: 7e-8.
const PHI_OVER: [f32; 5] = [3.989_418_3e-1, 5.205_363e-2, 5.698_205_5e-3, 3.414_212e-4, 6.260_967e-6];
const PHI_UNDER: [f32; 6] = [1.0, 2.971_384_7e-1, 3.881_971_4e-2, 2.862_382_7e-3, 1.224_549_8e-4, 5.295_26e-7];

/// The normal distribution function with an absolute error below 3e-7.
#[inline(always)]
pub(crate) fn phi<R: Real>(x: R) -> R {
    let x = x.max(R::of(-PHI_END)).min(R::of(PHI_END));
    let square = x.times(x);
    x.times(polynomial(square, PHI_OVER)).over(polynomial(square, PHI_UNDER)).plus(R::of(0.5))
}

/// Hyperbolic tangent with an absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh<R: Real>(x: R) -> R {
    let one = R::of(1.0);
    one.minus(R::of(2.0).over(one.plus(exp(x.plus(x)))))
}

/// Lanes of a sum that is taken side by side.
pub(crate) const LANES: usize = 8;

/// Sum of `f` over `values`, in [`LANES`] partial sums: quick, and closer than one after the other.
#[inline(always)]
pub(crate) fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += f(chunk[lane]);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| f(*value)).sum::<f32>()
}

/// The largest of `values`, none of which is NaN; minus infinity of none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            tops[lane] = larger(tops[lane], chunk[lane]);
        }
    }
    tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest error over `from..to`; infinite where one is no number, which `max` alone would leave out.
    fn largest_error(from: f32, to: f32, error: impl Fn(f32) -> f64) -> f64 {
        let steps = 100_000;
        let errors = (0..=steps).map(|i| error(from + (to - from) * i as f32 / steps as f32));
        errors.fold(0.0, |largest, error| if error.is_nan() { f64::INFINITY } else { largest.max(error) })
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
    fn phi_and_tanh_are_close_everywhere() {
        let phi_of = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let error = largest_error(-9.0, 9.0, |x| (f64::from(phi(x)) - phi_of(f64::from(x))).abs());
        assert!(error < 3e-7, "{error}");
        let error = largest_error(-20.0, 20.0, |x| (f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        assert!(error < 3e-7, "{error}");
    }

    #[test]
    fn sums_and_maxima_take_every_element() {
        for len in 0..20 {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(sum_by(&values, |v| v), values.iter().sum::<f32>());
            let turned: Vec<f32> = values.iter().map(|value| (value * 7.0) % 5.0 - 9.0).collect();
            assert_eq!(largest(&turned), turned.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
