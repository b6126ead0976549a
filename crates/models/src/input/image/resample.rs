//! Resizing as Pillow 13 does it, bit for bit: two passes over 8-bit channels, each in fixed point of 22 bits. Which of them comes
//! first changes how it rounds; before Pillow 13 it always was the one along lines.
//!
//! A crate of resampling kernels would bring its SIMD into every binary of the page, for the few milliseconds that a photo
//! takes, and rounds otherwise than Pillow, whose levels a processor's configuration stands for. Filters and rounding follow
//! Pillow's `Resample.c`.

use std::f64::consts::PI;

/// Channels of a pixel.
pub(super) const CHANNELS: usize = 3;

/// Bits behind the point of a coefficient.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// How values between pixels are made, by Pillow's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// The pixel that lies there.
    Nearest,
    /// Three lobes of a windowed sinc.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// A cubic over four pixels.
    Bicubic,
    /// The mean of the pixels that lie there.
    Box,
    /// A sinc in a Hamming window.
    Hamming,
}

impl Filter {
    /// The filter that Pillow has under a number.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        use Filter::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming].get(usize::try_from(number).ok()?).copied()
    }

    /// Pixels to each side that it reaches over, where nothing is made smaller.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest => 1.0,
            // Half open, so that of two pixels at the same distance one counts.
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming if x.abs() < 1.0 => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
            Self::Lanczos | Self::Hamming => 0.0,
        }
    }
}

/// Keys' cubic with a slope of −0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// An image of 8-bit channels, [`CHANNELS`] a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

impl Levels {
    /// The image in another size; the same where it has that.
    pub(super) fn resized(self, width: usize, height: usize, filter: Filter) -> Self {
        if (self.width, self.height) == (width, height) {
            return self;
        }
        if filter == Filter::Nearest {
            return self.nearest(width, height);
        }
        match self.loses_lines_rather(width, height) {
            true => self.with_height(height, filter).with_width(width, filter),
            false => self.with_width(width, filter).with_height(height, filter),
        }
    }

    /// Whether it loses more than two lines for each column that it loses: Pillow resizes across lines first then.
    fn loses_lines_rather(&self, width: usize, height: usize) -> bool {
        let lost = |from: usize, to: usize| from as i64 - to as i64;
        let (columns, lines) = (lost(self.width, width), lost(self.height, height));
        lines > 0 && lines > 2 * columns
    }

    fn with_width(self, width: usize, filter: Filter) -> Self {
        if self.width == width { self } else { self.along_lines(&Taps::new(filter, self.width, width)) }
    }

    fn with_height(self, height: usize, filter: Filter) -> Self {
        if self.height == height { self } else { self.across_lines(&Taps::new(filter, self.height, height)) }
    }

    fn nearest(&self, width: usize, height: usize) -> Self {
        let (columns, lines) = (nearest_places(self.width, width), nearest_places(self.height, height));
        let mut data = Vec::with_capacity(width * height * CHANNELS);
        for line in lines {
            for column in &columns {
                data.extend_from_slice(&self.data[(line * self.width + column) * CHANNELS..][..CHANNELS]);
            }
        }
        Self { width, height, data }
    }

    fn along_lines(&self, taps: &Taps) -> Self {
        let width = taps.0.len();
        let mut data = Vec::with_capacity(width * self.height * CHANNELS);
        for line in self.data.chunks_exact(self.width * CHANNELS) {
            for Tap { first, weights } in &taps.0 {
                let pixels = line[first * CHANNELS..].chunks_exact(CHANNELS);
                let mut sums = [1_i32 << (PRECISION_BITS - 1); CHANNELS];
                for (pixel, weight) in pixels.zip(weights) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += i32::from(*level) * weight);
                }
                data.extend(sums.map(level));
            }
        }
        Self { width, height: self.height, data }
    }

    fn across_lines(&self, taps: &Taps) -> Self {
        let bytes = self.width * CHANNELS;
        let mut data = Vec::with_capacity(bytes * taps.0.len());
        let mut sums = vec![0; bytes];
        for Tap { first, weights } in &taps.0 {
            sums.fill(1_i32 << (PRECISION_BITS - 1));
            for (line, weight) in self.data[first * bytes..].chunks_exact(bytes).zip(weights) {
                sums.iter_mut().zip(line).for_each(|(sum, level)| *sum += i32::from(*level) * weight);
            }
            data.extend(sums.iter().copied().map(level));
        }
        Self { width: self.width, height: taps.0.len(), data }
    }
}

/// The level of a sum, which may be over or under what there is.
fn level(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Places of the pixels that lie nearest; steps are added up as Pillow adds them.
fn nearest_places(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut place = step * 0.5;
    let next = |_| {
        let at = place as usize;
        place += step;
        at.min(from - 1)
    };
    (0..to).map(next).collect()
}

/// What a pixel of the output is made of, along one axis.
struct Tap {
    /// The first pixel.
    first: usize,
    /// Of it and those after it, in fixed point.
    weights: Vec<i32>,
}

/// One a pixel of the output.
struct Taps(Vec<Tap>);

impl Taps {
    fn new(filter: Filter, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let tap = |at: usize| {
            let center = (at as f64 + 0.5) * scale;
            // Casts cut off below zero as in C, and what is negative begins at 0.
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weight = |pixel: usize| filter.weight((pixel as f64 - center + 0.5) * (1.0 / stretch));
            let weights: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let whole = if sum == 0.0 { 1.0 } else { sum };
            Tap { first, weights: weights.into_iter().map(|weight| fixed(weight / whole)).collect() }
        };
        Self((0..to).map(tap).collect())
    }
}

/// A coefficient in fixed point, rounded away from zero.
fn fixed(weight: f64) -> i32 {
    let half = if weight < 0.0 { -0.5 } else { 0.5 };
    (half + weight * f64::from(1 << PRECISION_BITS)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Levels {
        let data = (0..width * height * CHANNELS).map(|at| (at * 37 % 251) as u8).collect();
        Levels { width, height, data }
    }

    const ALL: [Filter; 6] =
        [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];

    #[test]
    fn the_same_size_is_the_same_image() {
        for filter in ALL {
            assert_eq!(ramp(5, 4).resized(5, 4, filter), ramp(5, 4));
        }
    }

    #[test]
    fn one_color_stays_that_color() {
        for (filter, [width, height]) in ALL.into_iter().zip([[1, 1], [3, 9], [16, 2], [40, 40], [7, 13], [100, 1]]) {
            let even = Levels { width: 7, height: 5, data: [10, 200, 77].repeat(35) };
            let resized = even.resized(width, height, filter);
            assert_eq!(resized.data, [10, 200, 77].repeat(width * height), "{filter:?}");
        }
    }

    #[test]
    fn halves_are_means_of_two() {
        let line = Levels { width: 4, height: 1, data: [0, 0, 0, 10, 10, 10, 100, 100, 100, 201, 201, 201].to_vec() };
        assert_eq!(line.clone().resized(2, 1, Filter::Box).data, [5, 5, 5, 151, 151, 151]);
        assert_eq!(line.resized(2, 1, Filter::Nearest).data, [10, 10, 10, 201, 201, 201]);
    }

    #[test]
    fn numbers_are_those_of_pillow() {
        let found: Vec<_> = (0..7).map(Filter::of_number).collect();
        assert_eq!(found[..6], ALL.map(Some));
        assert_eq!(found[6], None);
    }
}
