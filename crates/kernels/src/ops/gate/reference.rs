//! Twin of `gate.wgsl`.

use webnibble_common::graph::Gate;

use crate::exec::operands::Operands;
use crate::reference::activation::activate;

/// `activation(x[..n]) ∘ x[n..]` of each row.
pub(crate) fn compute(op: &Gate, operands: Operands<'_>) -> Vec<f32> {
    let shape = operands.shape(op.x);
    let width = shape[shape.len() - 1];
    let rows = operands.floats(op.x).chunks_exact(width);
    rows.flat_map(|row| {
        let (gate, others) = row.split_at(width / 2);
        let gated = gate.iter().zip(others);
        gated.map(|(gate, other)| (activate(op.activation, f64::from(*gate)) * f64::from(*other)) as f32)
    })
    .collect()
}
