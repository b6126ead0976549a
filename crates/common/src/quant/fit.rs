//! Choosing the scale and zero point of a group of weights.
//!
//! Weights `v` that share a scale `s` and a zero point `z` become steps `q = code − z` with `s · q ≈ v`. The zero point
//! fixes the range of `q`; the scale decides between clipping the extremes and rounding the rest coarsely.
//! [`Fit::SquaredError`] minimizes `Σ (v − s·q)²`: a sweep over scales finds the valley, then steps and scale are
//! improved in turn (for fixed steps the best scale is `Σ v·q / Σ q²`; Lloyd's algorithm on a uniform grid).
//! Scales are rounded to f16 before any error is taken, so what is minimized is what will be stored.

use half::f16;

use super::{Bits, Scheme};

/// What scales and zero points are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Extremes are kept: the range of the codes is that of the weights. At 2 bits this destroys models.
    MinMax,
    /// The sum of squared errors is least.
    #[default]
    SquaredError,
}

/// Scale and zero point of a group. The scale may be negative: then the larger extreme was positive, and takes the side
/// of the codes that has one step more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chosen {
    pub(super) scale: f16,
    pub(super) zero: u8,
}

impl Chosen {
    /// The codes of `values`.
    pub(super) fn encode(self, bits: Bits, values: &[f32], codes: &mut [u8]) {
        let scale = self.scale.to_f32();
        // A zero scale stands for zeros, whatever the code.
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let steps = Steps::of(bits, self.zero);
        for (code, value) in codes.iter_mut().zip(values) {
            *code = (steps.nearest(value * inverse) - steps.lo) as u8;
        }
    }
}

impl Chosen {
    /// The value of a code.
    pub(super) fn decode(self, code: u8) -> f32 {
        self.scale.to_f32() * f32::from(i16::from(code) - i16::from(self.zero))
    }
}

/// Chooses scale and zero point for `values`, which are finite and at most [`Bits::largest_value`] in magnitude.
pub(super) fn fit(values: &[f32], bits: Bits, scheme: Scheme, fit: Fit) -> Chosen {
    let extremes = Extremes::of(values);
    if extremes.magnitude() == 0.0 {
        return Chosen { scale: f16::ZERO, zero: bits.symmetric_zero() };
    }
    match fit {
        Fit::MinMax => min_max(extremes, bits, scheme),
        Fit::SquaredError => {
            on_a_grid(values, extremes, bits, scheme).unwrap_or_else(|| least_squares(values, extremes, bits, scheme))
        }
    }
}

/// The steps `q` that codes stand for under a zero point: `lo ≤ q ≤ hi`, whole numbers kept as floats.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Steps {
    lo: f32,
    hi: f32,
}

impl Steps {
    fn of(bits: Bits, zero: u8) -> Self {
        Self { lo: -f32::from(zero), hi: f32::from(bits.largest_code() - zero) }
    }

    /// The step nearest to `x`, ties to even.
    #[inline]
    fn nearest(self, x: f32) -> f32 {
        // Adding 1.5·2²³ leaves no bits for a fraction. Unlike `f32::round` this is one instruction on every processor.
        const SHIFT: f32 = 12_582_912.0;
        (x.clamp(self.lo, self.hi) + SHIFT) - SHIFT
    }

    /// The smallest scale that clips nothing.
    fn unclipped_scale(self, extremes: Extremes) -> f32 {
        let side = |extreme: f32, step: f32| if extreme * step > 0.0 { extreme / step } else { 0.0 };
        side(extremes.min, self.lo).max(side(extremes.max, self.hi))
    }
}

#[derive(Clone, Copy, Debug)]
struct Extremes {
    min: f32,
    max: f32,
}

impl Extremes {
    fn of(values: &[f32]) -> Self {
        let (min, max) = values.iter().fold((0f32, 0f32), |(min, max), v| (min.min(*v), max.max(*v)));
        Self { min, max }
    }

    fn magnitude(self) -> f32 {
        self.max.max(-self.min)
    }

    /// The zero point of the min-max rule, in steps from the lowest code.
    fn zero_point(self, bits: Bits) -> u8 {
        let largest = f32::from(bits.largest_code());
        (-self.min / (self.max - self.min) * largest).round() as u8
    }
}

/// f16 nearest to a positive scale; the largest and smallest stand in beyond the ends, so that a scale is never 0 or
/// infinite.
fn to_f16(scale: f32) -> f16 {
    f16::from_f32(scale.min(f16::MAX.to_f32())).max(f16::MIN_POSITIVE_SUBNORMAL)
}

/// The two ways round for symmetric codes: steps `−h … h−1` as they are, or mirrored by a negative scale.
fn symmetric_ways(bits: Bits) -> [(u8, f32); 2] {
    let zero = bits.symmetric_zero();
    [(zero, 1.0), (zero - 1, -1.0)]
}

/// `zero` is the zero point that the search used; `sign` is −1 when its steps are the mirrored ones.
fn chosen(bits: Bits, zero: u8, sign: f32, scale: f16) -> Chosen {
    if sign < 0.0 { Chosen { scale: -scale, zero: bits.largest_code() - zero } } else { Chosen { scale, zero } }
}

fn min_max(extremes: Extremes, bits: Bits, scheme: Scheme) -> Chosen {
    match scheme {
        Scheme::Symmetric => {
            let ways = symmetric_ways(bits).map(|(zero, sign)| {
                let scale = Steps::of(bits, zero).unclipped_scale(extremes);
                (scale, chosen(bits, zero, sign, to_f16(scale)))
            });
            if ways[1].0 < ways[0].0 { ways[1].1 } else { ways[0].1 }
        }
        Scheme::Asymmetric => {
            let scale = (extremes.max - extremes.min) / f32::from(bits.largest_code());
            chosen(bits, extremes.zero_point(bits), 1.0, to_f16(scale))
        }
    }
}

/// The scale and zero point under which every value is exact, if there are any: weights that were quantized before come
/// back as they are.
fn on_a_grid(values: &[f32], extremes: Extremes, bits: Bits, scheme: Scheme) -> Option<Chosen> {
    let magnitude = extremes.magnitude();
    let longest = match scheme {
        Scheme::Symmetric => bits.symmetric_zero(),
        Scheme::Asymmetric => bits.largest_code(),
    };
    (1..=longest).find_map(|step| {
        let step = f32::from(step);
        let scale = magnitude / step;
        // For weights that were never quantized one scale in thousands passes this line.
        let stored =
            (scale.to_bits() & 0x1fff == 0 || scale < f16::MIN_POSITIVE.to_f32()).then(|| f16::from_f32(scale))?;
        let exact = |v: &f32| {
            let q = v / scale;
            q == q.round() && q * scale == *v
        };
        if stored.to_f32() != scale || scale * step != magnitude || !values.iter().all(exact) {
            return None;
        }
        let range = Extremes { min: extremes.min / scale, max: extremes.max / scale };
        let fits = |zero: u8| {
            let steps = Steps::of(bits, zero);
            steps.lo <= range.min && range.max <= steps.hi
        };
        match scheme {
            Scheme::Symmetric => {
                let (zero, sign) = symmetric_ways(bits).into_iter().find(|(zero, _)| fits(*zero))?;
                Some(chosen(bits, zero, sign, stored))
            }
            Scheme::Asymmetric => {
                let zero = -range.min as u8;
                fits(zero).then(|| chosen(bits, zero, 1.0, stored))
            }
        }
    })
}

/// The best scale over every zero point that the scheme allows and that has a chance.
fn least_squares(values: &[f32], extremes: Extremes, bits: Bits, scheme: Scheme) -> Chosen {
    let mut best = Best::start(values, bits, min_max(extremes, bits, scheme));
    let symmetric = symmetric_ways(bits);
    for (zero, sign) in symmetric {
        // With a zero point of its own a group can have the mirrored steps without a negative scale.
        let sign = if scheme == Scheme::Asymmetric { 1.0 } else { sign };
        best.try_zero(values, extremes, bits, zero, sign);
    }
    if scheme == Scheme::Asymmetric {
        let middle = extremes.zero_point(bits);
        let reach = 2;
        for zero in middle.saturating_sub(reach)..=middle.saturating_add(reach).min(bits.largest_code()) {
            if symmetric.iter().all(|(tried, _)| *tried != zero) {
                best.try_zero(values, extremes, bits, zero, 1.0);
            }
        }
    }
    best.chosen
}

struct Best {
    error: f64,
    chosen: Chosen,
}

impl Best {
    fn start(values: &[f32], bits: Bits, chosen: Chosen) -> Self {
        Self { error: squared_error(values, chosen.scale.to_f32(), Steps::of(bits, chosen.zero)), chosen }
    }

    /// Tries scales under one zero point.
    fn try_zero(&mut self, values: &[f32], extremes: Extremes, bits: Bits, zero: u8, sign: f32) {
        /// Starting points of the refinement: the valley has local minima.
        const STARTS: usize = 3;
        let steps = Steps::of(bits, zero);
        let unclipped = steps.unclipped_scale(extremes);
        if unclipped == 0.0 {
            // Steps on one side of zero only, weights on the other.
            return;
        }
        let mut starts = [(f64::INFINITY, f16::ZERO); STARTS];
        for factor in sweep(bits) {
            let scale = to_f16(unclipped * factor);
            let error = squared_error(values, scale.to_f32(), steps);
            // Past the valley, clipping only gets worse.
            if error > 4.0 * starts[0].0.min(self.error) && factor < 0.5 {
                break;
            }
            if let Some(place) = starts.iter().position(|(other, _)| error < *other) {
                starts[place..].rotate_right(1);
                starts[place] = (error, scale);
            }
        }
        for (error, scale) in starts {
            if scale == f16::ZERO {
                continue;
            }
            let (error, scale) = refine(values, steps, error, scale);
            if error < self.error {
                *self = Best { error, chosen: chosen(bits, zero, sign, scale) };
            }
        }
    }
}

/// Factors of the unclipped scale, from 1 down. At 8 bits rounding is so fine that much clipping never pays.
fn sweep(bits: Bits) -> impl Iterator<Item = f32> {
    const RATIO: f32 = 0.96;
    let least = match bits {
        Bits::B2 | Bits::B4 => 0.1,
        Bits::B8 | Bits::B16 | Bits::B32 => 0.4,
    };
    std::iter::successors(Some(1.0f32), |factor| Some(factor * RATIO)).take_while(move |factor| *factor > least)
}

/// Improves steps and scale in turn until the error stops falling.
fn refine(values: &[f32], steps: Steps, mut error: f64, mut scale: f16) -> (f64, f16) {
    const TURNS: usize = 8;
    for _ in 0..TURNS {
        let next = best_scale(values, scale.to_f32(), steps);
        let next_error = squared_error(values, next.to_f32(), steps);
        if next_error >= error {
            break;
        }
        (error, scale) = (next_error, next);
    }
    (error, scale)
}

/// The scale that is best for the steps that `scale` gives: `Σ v·q / Σ q²`.
fn best_scale(values: &[f32], scale: f32, steps: Steps) -> f16 {
    let inverse = 1.0 / scale;
    let products = sum(values, |v| v * steps.nearest(v * inverse));
    let squares = sum(values, |v| {
        let q = steps.nearest(v * inverse);
        q * q
    });
    // All steps zero: any scale does, and only larger values than these would change that.
    if squares == 0.0 { to_f16(scale) } else { to_f16((products / squares) as f32) }
}

fn squared_error(values: &[f32], scale: f32, steps: Steps) -> f64 {
    let inverse = 1.0 / scale;
    sum(values, |v| {
        let error = v - scale * steps.nearest(v * inverse);
        error * error
    })
}

/// `Σ f(v)` in lanes that the compiler turns into vectors, closed in f64 every block: a tensor may be one group.
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 1024;
    let mut total = 0.0;
    for block in values.chunks(BLOCK) {
        let (whole, rest) = block.as_chunks::<LANES>();
        let mut lanes = [0f32; LANES];
        for chunk in whole {
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                *lane += f(*v);
            }
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
        total += rest.iter().map(|v| f64::from(f(*v))).sum::<f64>();
    }
    total
}
