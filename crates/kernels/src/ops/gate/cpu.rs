//! A gate: activation of one half of each row, times the other.

use webnibble_common::graph::Gate;

use crate::cpu::activation::activate;
use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;

/// `activation(x[..n]) ∘ x[n..]` of each row.
pub(crate) fn compute(op: &Gate, operands: Operands<'_>, threads: &Threads) -> Vec<f32> {
    let (shape, x) = (operands.shape(op.x), operands.floats(op.x));
    let columns = shape[shape.len() - 1] / 2;
    let mut y = vec![0.0; x.len() / 2];
    threads.each_chunk(&mut y, columns, |row, out| {
        let (gate, others) = x[row * 2 * columns..][..2 * columns].split_at(columns);
        out.copy_from_slice(gate);
        activate(op.activation, out);
        out.iter_mut().zip(others).for_each(|(gated, other)| *gated *= other);
    });
    y
}
