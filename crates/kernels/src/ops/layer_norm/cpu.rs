//! Layer normalization of rows.

use webnibble_common::graph::LayerNorm;

use crate::cpu::math::sum_by;
use crate::cpu::threads::Threads;
use crate::exec::operands::{Norm, Operands};

/// `(x − mean) / sqrt(variance + eps) · weight + bias` of each row.
pub(crate) fn compute(op: &LayerNorm, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let norm = operands.norm(op.norm);
    let mut y = operands.floats(op.x).to_vec();
    y.chunks_exact_mut(norm.weight.len()).for_each(|row| normalize_row(row, norm));
    y
}

/// Normalizes one row in place. Two passes, and a correction for what rounding left in the first mean
/// (Chan, Golub and LeVeque, 1983): rows with a large offset keep their digits.
pub(crate) fn normalize_row(row: &mut [f32], norm: Norm<'_>) {
    let hidden = row.len() as f32;
    let rough = sum_by(row, |value| value) / hidden;
    let shift = sum_by(row, |value| value - rough) / hidden;
    let squares = sum_by(row, |value| (value - rough) * (value - rough)) / hidden;
    let variance = (squares - shift * shift).max(0.0);
    let rstd = 1.0 / (variance + norm.eps).sqrt();
    for (value, (weight, bias)) in row.iter_mut().zip(norm.weight.iter().zip(norm.bias)) {
        // One after the other: their sum would be rounded to the offset's last digit.
        *value = (*value - rough - shift) * rstd * weight + bias;
    }
}
