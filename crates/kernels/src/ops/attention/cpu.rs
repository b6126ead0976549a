//! Attention: for each head and block of queries two products around a softmax.

use webnibble_common::graph::Attention;

use super::operands::AttentionOperands;
use crate::cpu::math::{EXP_MIN, exp, largest, map, sum_by};
#[cfg(not(target_arch = "wasm32"))]
use crate::cpu::product::product;
use crate::cpu::real::Real;
use crate::cpu::threads::Threads;
#[cfg(target_arch = "wasm32")]
use crate::cpu::tiles::product;
use crate::cpu::view::View;
use crate::exec::operands::Operands;

/// Queries that share a block of scores, so that long sequences do not need all scores at once.
const BLOCK: usize = 128;

/// `softmax(q · kᵀ · scale, masked) · v` of each head, `[batch · queries, heads · head_dim]`.
pub(crate) fn compute(op: &Attention, operands: Operands<'_>, threads: &Threads) -> Vec<f32> {
    let op = &AttentionOperands::of(op, operands);
    let blocks = op.queries.div_ceil(BLOCK);
    let width = op.heads * op.head_dim;
    let mut y = vec![0.0; op.batch * op.queries * width];
    let piece = |index: usize| {
        let (rest, block) = (index / blocks, index % blocks);
        let first = block * BLOCK;
        Piece { batch: rest / op.heads, head: rest % op.heads, first, count: BLOCK.min(op.queries - first) }
    };
    threads.each_into(
        op.batch * op.heads * blocks,
        |index| attend(op, &piece(index)),
        |index, part| {
            let Piece { batch, head, first, .. } = piece(index);
            for (row, values) in part.chunks_exact(op.head_dim).enumerate() {
                let at = (batch * op.queries + first + row) * width + head * op.head_dim;
                y[at..at + op.head_dim].copy_from_slice(values);
            }
        },
    );
    y
}

/// Some queries of one head of one sequence.
struct Piece {
    batch: usize,
    head: usize,
    first: usize,
    count: usize,
}

/// Output of a piece, `[count, head_dim]`.
fn attend(op: &AttentionOperands<'_>, piece: &Piece) -> Vec<f32> {
    let AttentionOperands { q, k, v, keys, head_dim, .. } = *op;
    let col = piece.head * head_dim;
    let first_key = piece.batch * keys;
    let queries = View::rows(q.data, (piece.batch * op.queries + piece.first) * q.stride + q.start + col, q.stride);
    let keys_of_head = View::rows(k.data, first_key * k.stride + k.start + col, k.stride);
    let values = View::rows(v.data, first_key * v.stride + v.start + col, v.stride);

    let mut scores = vec![0.0; piece.count * keys];
    product(&mut scores, [piece.count, keys, head_dim], op.scale, queries, keys_of_head.transposed());
    let mask = op.mask.map(|mask| &mask[first_key..][..keys]).filter(|mask| mask.contains(&0));
    let shares: Vec<f32> = scores.chunks_exact_mut(keys).map(|row| softmax(row, mask)).collect();

    let mut out = vec![0.0; piece.count * head_dim];
    product(&mut out, [piece.count, head_dim, keys], 1.0, View::rows(&scores, 0, keys), values);
    for (row, share) in out.chunks_exact_mut(head_dim).zip(shares) {
        row.iter_mut().for_each(|value| *value *= share);
    }
    out
}

/// Exponentials of the kept scores around the largest of them, zeros for the others; gives what makes shares of them, one
/// over their sum. Outputs are fewer than scores, so that the caller multiplies those.
fn softmax(scores: &mut [f32], mask: Option<&[u32]>) -> f32 {
    if let Some(mask) = mask {
        let masked = scores.iter_mut().zip(mask).filter(|(_, keep)| **keep == 0);
        masked.for_each(|(score, _)| *score = f32::NEG_INFINITY);
    }
    let top = largest(scores);
    if top == f32::NEG_INFINITY {
        scores.fill(0.0);
        return 0.0;
    }
    map!(scores, |score| weight(score, top));
    1.0 / sum_by(scores, |weight| weight)
}

/// `e^(score − top)`, and 0 where that would leave the normal f32: `exp` never gives 0, and masked scores must.
#[inline(always)]
fn weight<R: Real>(score: R, top: f32) -> R {
    let below = score.minus(R::of(top));
    exp(below).where_above(below, R::of(EXP_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_keeps_what_the_mask_keeps() {
        let mut scores = [1.0, 2.0, 1e4, 3.0];
        let share = softmax(&mut scores, Some(&[1, 0, 1, 1]));
        assert_eq!(scores[1], 0.0);
        assert!((scores[2] * share - 1.0).abs() < 1e-6);
        let mut scores = [5.0, -3e4];
        assert_eq!(softmax(&mut scores, Some(&[0, 0])), 0.0);
        assert_eq!(scores, [0.0, 0.0]);
        let mut scores = [0.0; 4];
        assert_eq!((softmax(&mut scores, None), scores), (0.25, [1.0; 4]));
    }
}
