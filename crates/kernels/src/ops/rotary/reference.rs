//! Twin of `rotary.wgsl`.

use webnibble_common::graph::Rotary;

use crate::exec::operands::Operands;

/// Each pair of columns turned by position times frequency, `[batch · seq, heads · head_dim]`.
pub(crate) fn compute(op: &Rotary, operands: Operands<'_>) -> Vec<f32> {
    let (shape, columns) = (operands.shape(op.x.value), operands.columns(op.x));
    let past = if op.continues { operands.past() } else { 0 };
    let mut y = Vec::with_capacity(shape[0] * shape[1] * op.heads * op.head_dim);
    for row in 0..shape[0] * shape[1] {
        for head in 0..op.heads {
            let x = columns.row(row, head * op.head_dim, op.head_dim);
            y.extend(turned(op, x, past + row % shape[1]));
        }
    }
    y
}

/// A head at a position.
fn turned(op: &Rotary, x: &[f32], position: usize) -> Vec<f32> {
    let mut y = x.to_vec();
    for (pair, frequency) in op.frequencies.iter().enumerate() {
        let (sine, cosine) = (position as f64 * f64::from(*frequency)).sin_cos();
        let [first, second] = op.pair(pair);
        let (a, b) = (f64::from(x[first]), f64::from(x[second]));
        y[first] = (a * cosine - b * sine) as f32;
        y[second] = (b * cosine + a * sine) as f32;
    }
    y
}
