//! Twin of `layer_norm.wgsl`.

use webnibble_common::graph::LayerNorm;

use crate::exec::operands::{Norm, Operands};

/// `(x − mean) / sqrt(variance + eps) · weight + bias` of each row.
pub(crate) fn compute(op: &LayerNorm, operands: Operands<'_>) -> Vec<f32> {
    let norm = operands.norm(op.norm);
    let rows = operands.floats(op.x).chunks_exact(norm.weight.len());
    rows.flat_map(|row| {
        let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        normalize_row(&row, norm)
    })
    .collect()
}

/// One row, normalized; the variance is the mean square around the mean (no Bessel correction).
pub(crate) fn normalize_row(row: &[f64], norm: Norm<'_>) -> Vec<f32> {
    let hidden = row.len() as f64;
    let mean = row.iter().sum::<f64>() / hidden;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / hidden;
    let rstd = 1.0 / (variance + f64::from(norm.eps)).sqrt();
    let scaled = row.iter().zip(norm.weight.iter().zip(norm.bias));
    scaled
        .map(|(value, (weight, bias))| ((value - mean) * rstd * f64::from(*weight) + f64::from(*bias)) as f32)
        .collect()
}
