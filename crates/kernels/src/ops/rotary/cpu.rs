//! Rotary positions, with a table of the run's own.

use webnibble_common::graph::Rotary;

use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;

/// Each pair of columns turned by position times frequency, `[batch · seq, heads · head_dim]`.
pub(crate) fn compute(op: &Rotary, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let (shape, columns) = (operands.shape(op.x.value), operands.columns(op.x));
    let past = if op.continues { operands.past() } else { 0 };
    let positions = shape[1];
    let table = table(&op.frequencies, past, positions);
    let (pairs, width) = (op.frequencies.len(), op.heads * op.head_dim);
    let mut y = vec![0.0; shape[0] * positions * width];
    for (row, out) in y.chunks_exact_mut(width).enumerate() {
        out.copy_from_slice(columns.row(row, 0, width));
        let turns = &table[row % positions * pairs..][..pairs];
        out.chunks_exact_mut(op.head_dim).for_each(|head| turn(op, head, turns));
    }
    y
}

/// Cosine and sine for each pair at each position from `past` on.
fn table(frequencies: &[f32], past: usize, positions: usize) -> Vec<[f32; 2]> {
    let at = |position: usize| {
        frequencies.iter().map(move |frequency| {
            // In f64, since angles at far positions have few digits behind the point in f32.
            let (sine, cosine) = (position as f64 * f64::from(*frequency)).sin_cos();
            [cosine as f32, sine as f32]
        })
    };
    (past..past + positions).flat_map(at).collect()
}

/// Turns the pairs of a head in place.
fn turn(op: &Rotary, head: &mut [f32], turns: &[[f32; 2]]) {
    for (pair, [cosine, sine]) in turns.iter().enumerate() {
        let [first, second] = op.pair(pair);
        let (a, b) = (head[first], head[second]);
        head[first] = a * cosine - b * sine;
        head[second] = b * cosine + a * sine;
    }
}
