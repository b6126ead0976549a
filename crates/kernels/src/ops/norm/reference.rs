//! Twin of `norm.wgsl`.

use webnibble_common::graph::{Norm, NormKind};

use crate::exec::operands::{Normalization, Operands};

/// Each row, normalized.
pub(crate) fn compute(op: &Norm, operands: Operands<'_>) -> Vec<f32> {
    let norm = operands.norm(op.by);
    let rows = operands.floats(op.x).chunks_exact(norm.weight.len());
    rows.flat_map(|row| {
        let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        normalize_row(&row, norm)
    })
    .collect()
}

/// `(x − mean) / sqrt(mean of (x − mean)² + eps) · weight + bias` of one row; the mean is 0 for the root mean square.
pub(crate) fn normalize_row(row: &[f64], norm: Normalization<'_>) -> Vec<f32> {
    let hidden = row.len() as f64;
    let mean = match norm.kind {
        NormKind::Layer => row.iter().sum::<f64>() / hidden,
        NormKind::Rms => 0.0,
    };
    // Without Bessel's correction.
    let square = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / hidden;
    let share = 1.0 / (square + f64::from(norm.eps)).sqrt();
    let bias = |col: usize| norm.bias.map_or(0.0, |bias| f64::from(bias[col]));
    let columns = row.iter().zip(norm.weight).enumerate();
    columns.map(|(col, (value, weight))| ((value - mean) * share * f64::from(*weight) + bias(col)) as f32).collect()
}
