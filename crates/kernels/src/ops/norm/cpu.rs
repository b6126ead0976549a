//! Normalization of rows.

use webnibble_common::graph::{Norm, NormKind};

use crate::cpu::math::sum_by;
use crate::cpu::threads::Threads;
use crate::exec::operands::{Normalization, Operands};

/// Each row, normalized.
pub(crate) fn compute(op: &Norm, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let norm = operands.norm(op.by);
    let mut y = operands.floats(op.x).to_vec();
    y.chunks_exact_mut(norm.weight.len()).for_each(|row| normalize_row(row, norm));
    y
}

/// Normalizes one row in place.
pub(crate) fn normalize_row(row: &mut [f32], norm: Normalization<'_>) {
    match norm.kind {
        NormKind::Layer => to_unit_variance(row, norm.eps),
        NormKind::Rms => to_unit_square(row, norm.eps),
    }
    row.iter_mut().zip(norm.weight).for_each(|(value, weight)| *value *= weight);
    if let Some(bias) = norm.bias {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
}

/// `(x − mean) / sqrt(variance + eps)`. Two passes, and a correction for what rounding left in the first mean
/// (Chan, Golub and LeVeque, 1983): rows with a large offset keep their digits.
fn to_unit_variance(row: &mut [f32], eps: f32) {
    let hidden = row.len() as f32;
    let rough = sum_by(row, |value| value) / hidden;
    let shift = sum_by(row, |value| value - rough) / hidden;
    let squares = sum_by(row, |value| (value - rough) * (value - rough)) / hidden;
    let variance = (squares - shift * shift).max(0.0);
    let rstd = 1.0 / (variance + eps).sqrt();
    // One after the other: their sum would be rounded to the offset's last digit.
    row.iter_mut().for_each(|value| *value = (*value - rough - shift) * rstd);
}

/// `x / sqrt(mean square + eps)`.
fn to_unit_square(row: &mut [f32], eps: f32) {
    let mean_square = sum_by(row, |value| value * value) / row.len() as f32;
    let share = 1.0 / (mean_square + eps).sqrt();
    row.iter_mut().for_each(|value| *value *= share);
}
