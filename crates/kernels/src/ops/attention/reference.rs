//! Twin of `attention.wgsl`, with the whole row of scores in place of a running softmax.

use webnibble_common::graph::Attention;

use super::operands::AttentionOperands;
use crate::exec::operands::Operands;

/// `softmax(q · kᵀ · scale, masked) · v` of each head, `[batch · queries, heads · head_dim]`.
/// A query whose keys are all masked gives zeros.
pub(crate) fn compute(op: &Attention, operands: Operands<'_>) -> Vec<f32> {
    let op = &AttentionOperands::of(op, operands);
    let mut y = vec![0.0; op.batch * op.queries * op.heads * op.head_dim];
    for (index, out) in y.chunks_exact_mut(op.head_dim).enumerate() {
        let (row, head) = (index / op.heads, index % op.heads);
        let batch = row / op.queries;
        let query = op.q.row(row, head * op.head_dim, op.head_dim);
        let keeps = |key: &usize| op.mask.is_none_or(|mask| mask[batch * op.keys + key] != 0);
        let kept: Vec<usize> = (0..op.seen(row % op.queries)).filter(keeps).collect();
        let scores: Vec<f64> = kept.iter().map(|key| score(op, query, (batch, *key), head)).collect();
        weighted_mean(op, (batch, head), &kept, &softmax(&scores), out);
    }
    y
}

fn score(op: &AttentionOperands<'_>, query: &[f32], (batch, key): (usize, usize), head: usize) -> f64 {
    let key = op.k.row(batch, key, op.shared_column(head), op.head_dim);
    let dot: f64 = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
    dot * f64::from(op.scale)
}

/// Exponentials around the largest score, so that none overflows, over their sum.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn weighted_mean(
    op: &AttentionOperands<'_>,
    (batch, head): (usize, usize),
    keys: &[usize],
    weights: &[f64],
    out: &mut [f32],
) {
    let mut sums = vec![0.0; op.head_dim];
    for (key, weight) in keys.iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(op.v.row(batch, *key, op.shared_column(head), op.head_dim)) {
            *sum += weight * f64::from(*value);
        }
    }
    for (out, sum) in out.iter_mut().zip(&sums) {
        *out = *sum as f32;
    }
}
