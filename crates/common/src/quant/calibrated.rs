//! Weights fitted to what they are multiplied by: GPTQ (Frantar et al., 2022).
//!
//! Rounding changes a weight by `e`, and the product of a row with an input `x` by `e · x`. Over all inputs the squared
//! error is `e · G · eᵀ` with `G = Σ xᵀ·x`: what counts is not how far a weight is off, but what the errors of a row add up
//! to. So columns are rounded one after another, and each time the weights that are still to come take over as much of
//! the error as they can. With `G⁻¹ = Uᵀ·U`, `U` upper triangular, column `j`'s error `e` moves the weights after it by
//! `−e / U[j][j] · U[j][…]`.

use super::fit::Chosen;
use super::{Bits, QuantError};

/// Part of the mean diagonal that is added to the diagonal: inputs that are seldom seen must not move weights far.
///
/// Far more than the 0.01 of the paper, whose samples have a hundred times as many tokens as ours. With 0.01 the weights
/// fit the sample and lose on other texts: at 2 bits in groups of 128 more than rounding does.
const DAMPING: f64 = 0.3;

/// Sums of products of the inputs of a linear operator, `Σ xᵀ·x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    size: usize,
    /// `[size, size]`; only the upper triangle is kept up.
    sums: Vec<f32>,
}

impl Gram {
    /// No inputs yet; they have `size` columns.
    pub fn new(size: usize) -> Self {
        Self { size, sums: vec![0.0; size * size] }
    }

    /// Columns of the inputs.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds inputs `[rows, size]`.
    pub fn add(&mut self, inputs: &[f32]) {
        let (size, rows) = (self.size, inputs.len() / self.size);
        // By columns: an element of the sum is then one product of two runs, and is written once.
        let mut columns = vec![0.0; rows * size];
        for (row, values) in inputs.chunks_exact(size).enumerate() {
            values.iter().enumerate().for_each(|(col, value)| columns[col * rows + row] = *value);
        }
        for (a, sums) in self.sums.chunks_exact_mut(size).enumerate() {
            let left = &columns[a * rows..][..rows];
            for (b, sum) in sums.iter_mut().enumerate().skip(a) {
                let right = &columns[b * rows..][..rows];
                *sum += left.iter().zip(right).map(|(l, r)| l * r).sum::<f32>();
            }
        }
    }

    /// `U` of the inverse, row-major; only its upper triangle means something.
    pub(super) fn inverse_factor(&self) -> Vec<f32> {
        let n = self.size;
        let mut matrix: Vec<f64> = self.sums.iter().map(|sum| f64::from(*sum)).collect();
        let mean = (0..n).map(|i| matrix[i * n + i]).sum::<f64>() / n as f64;
        // Without any input every column is alike.
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        (0..n).for_each(|i| matrix[i * n + i] += damping);
        factor_from_the_end(&mut matrix, n);
        invert_upper(&mut matrix, n);
        matrix.iter().map(|value| *value as f32).collect()
    }
}

/// `R` with `R·Rᵀ` the matrix, in place of its upper triangle: Cholesky's factor, taken from the last column on.
fn factor_from_the_end(matrix: &mut [f64], n: usize) {
    for j in (0..n).rev() {
        let (above, row) = matrix.split_at_mut(j * n);
        let row = &mut row[..n];
        let known: f64 = row[j + 1..].iter().map(|value| value * value).sum();
        // Positive in exact numbers, since the diagonal was raised.
        row[j] = (row[j] - known).max(f64::MIN_POSITIVE).sqrt();
        for other in above.chunks_exact_mut(n) {
            other[j] = (other[j] - dot(&other[j + 1..], &row[j + 1..])) / row[j];
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Side by side, or each addition waits for the one before.
    let mut sums = [0.0; 4];
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        (0..4).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// The inverse of an upper triangle, in its place.
fn invert_upper(matrix: &mut [f64], n: usize) {
    for i in (0..n).rev() {
        let (upper, below) = matrix.split_at_mut((i + 1) * n);
        let row = &mut upper[i * n..];
        let diagonal = 1.0 / row[i];
        let factors = row[i + 1..].to_vec();
        row[i + 1..].fill(0.0);
        for (m, (factor, known)) in factors.iter().zip(below.chunks_exact(n)).enumerate() {
            let start = i + 1 + m;
            row[start..].iter_mut().zip(&known[start..]).for_each(|(value, known)| *value -= factor * known);
        }
        row[i + 1..].iter_mut().for_each(|value| *value *= diagonal);
        row[i] = diagonal;
    }
}

/// Rounds a group of a row, from column `start` on, and lets the columns after each take over its error.
/// `row` is the whole row as it was moved so far.
pub(super) fn encode(factor: &[f32], bits: Bits, chosen: Chosen, row: &mut [f32], start: usize, codes: &mut [u8]) {
    let n = row.len();
    for (place, code) in codes.iter_mut().enumerate() {
        let col = start + place;
        chosen.encode(bits, &row[col..=col], std::slice::from_mut(code));
        let u = &factor[col * n..][..n];
        let error = (row[col] - chosen.decode(*code)) / u[col];
        row[col + 1..].iter_mut().zip(&u[col + 1..]).for_each(|(weight, u)| *weight -= error * u);
    }
}

/// Checks that a matrix has as many columns as the inputs.
pub(super) fn check(gram: &Gram, cols: usize) -> Result<(), QuantError> {
    if gram.size == cols { Ok(()) } else { Err(QuantError::Inputs { expected: cols, found: gram.size }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Granularity, Quantizer, Scheme};

    /// Inputs whose columns are much alike: where one is large, so are its neighbours.
    fn inputs(rows: usize, cols: usize) -> Vec<f32> {
        let value = |i: usize| {
            let (row, col) = (i / cols, i % cols);
            (row as f32 * 0.7).sin()
                + (row as f32 * 1.3 + col as f32 * 0.05).sin()
                + 0.1 * ((i * 7919 % 101) as f32 / 101.0)
        };
        (0..rows * cols).map(value).collect()
    }

    fn weights(rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| ((i * i) as f32 * 0.37).sin() * 0.1).collect()
    }

    /// Squared error of all products with the inputs.
    fn product_error(exact: &[f32], found: &[f32], inputs: &[f32], cols: usize) -> f64 {
        let mut error = 0.0;
        for (exact, found) in exact.chunks_exact(cols).zip(found.chunks_exact(cols)) {
            for input in inputs.chunks_exact(cols) {
                let off = exact.iter().zip(found).zip(input).map(|((e, f), x)| f64::from(e - f) * f64::from(*x));
                error += off.sum::<f64>().powi(2);
            }
        }
        error
    }

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        let mut gram = Gram::new(5);
        gram.add(&inputs(9, 5));
        let factor = gram.inverse_factor();
        let u = |row: usize, col: usize| if row <= col { f64::from(factor[row * 5 + col]) } else { 0.0 };
        let mean = (0..5).map(|i| f64::from(gram.sums[i * 6])).sum::<f64>() / 5.0;
        let g = |a: usize, b: usize| {
            f64::from(gram.sums[a.min(b) * 5 + a.max(b)]) + if a == b { DAMPING * mean } else { 0.0 }
        };
        for row in 0..5 {
            for col in 0..5 {
                let inverse = |k: usize| (0..5).map(|m| u(m, row) * u(m, k)).sum::<f64>();
                let product: f64 = (0..5).map(|k| inverse(k) * g(k, col)).sum();
                let expected = if row == col { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-3, "{row}, {col}: {product}");
            }
        }
    }

    #[test]
    fn products_err_far_less_than_by_rounding_each_weight() {
        let (rows, cols) = (24, 80);
        let (data, x) = (weights(rows, cols), inputs(200, cols));
        let mut gram = Gram::new(cols);
        x.chunks(50 * cols).for_each(|part| gram.add(part));
        for bits in [Bits::B2, Bits::B4, Bits::B8] {
            for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
                for granularity in [Granularity::Channel, Granularity::Group(32)] {
                    let quantizer = Quantizer::new(bits).scheme(scheme).granularity(granularity);
                    let rounded = quantizer.quantize(&data, &[rows, cols]).unwrap();
                    let fitted = quantizer.quantize_calibrated(&data, &[rows, cols], &gram).unwrap();
                    assert_eq!(rounded.layout, fitted.layout);
                    let error = |found: &[f32]| product_error(&data, found, &x, cols);
                    let (fitted, rounded) = (error(&fitted.dequantize()), error(&rounded.dequantize()));
                    assert!(fitted < 0.3 * rounded, "{bits} bits {scheme:?}: {fitted:e}, by rounding {rounded:e}");
                }
            }
        }
    }

    #[test]
    fn inputs_that_say_nothing_change_nothing() {
        let data = weights(7, 33);
        let quantizer = Quantizer::new(Bits::B4).group_size(16);
        let rounded = quantizer.quantize(&data, &[7, 33]).unwrap();
        assert_eq!(quantizer.quantize_calibrated(&data, &[7, 33], &Gram::new(33)).unwrap(), rounded);
        // Formats without groups of a row of codes are rounded as ever.
        for quantizer in [Quantizer::new(Bits::B16), Quantizer::new(Bits::B4).per_tensor()] {
            let mut gram = Gram::new(33);
            gram.add(&inputs(20, 33));
            let plain = quantizer.quantize(&data, &[7, 33]).unwrap();
            assert_eq!(quantizer.quantize_calibrated(&data, &[7, 33], &gram).unwrap(), plain);
        }
    }

    #[test]
    fn inputs_of_another_width_are_an_error() {
        let error = Quantizer::new(Bits::B4).quantize_calibrated(&[0.0; 6], &[2, 3], &Gram::new(4)).unwrap_err();
        assert_eq!(error.to_string(), "a matrix of 3 columns takes inputs of as many, found 4");
    }
}
