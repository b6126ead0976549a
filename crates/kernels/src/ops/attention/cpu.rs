//! Attention: for each head and block of queries two products around a softmax.

use webnibble_common::graph::Attention;

use super::operands::{AttentionOperands, Block};
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
    // Of the last query, which sees most.
    let keys = op.seen(piece.first + piece.count - 1);
    let mut scores = scores(op, piece, keys);
    let mask = op.mask.map(|mask| &mask[piece.batch * op.keys..][..keys]).filter(|mask| mask.contains(&0));
    let rows = scores.chunks_exact_mut(keys).enumerate();
    let shares: Vec<f32> = rows
        .map(|(row, scores)| {
            let (seen, unseen) = scores.split_at_mut(op.seen(piece.first + row));
            unseen.fill(0.0);
            softmax(seen, mask)
        })
        .collect();
    let mut out = weighted_sums(op, piece, &scores, keys);
    for (row, share) in out.chunks_exact_mut(op.head_dim).zip(shares) {
        row.iter_mut().for_each(|value| *value *= share);
    }
    out
}

/// Scores of a piece's queries for the first `keys` keys, `[count, keys]`.
fn scores(op: &AttentionOperands<'_>, piece: &Piece, keys: usize) -> Vec<f32> {
    let first_query = (piece.batch * op.queries + piece.first) * op.q.stride + op.q.start + piece.head * op.head_dim;
    let queries = View::rows(op.q.data, first_query, op.q.stride);
    let mut scores = vec![0.0; piece.count * keys];
    for (first, count, block) in op.k.first(keys) {
        let (shape, of_block) = ([piece.count, count, op.head_dim], rows_of(op, piece, block).transposed());
        if count == keys {
            product(&mut scores, shape, op.scale, queries, of_block);
            break;
        }
        let mut part = vec![0.0; piece.count * count];
        product(&mut part, shape, op.scale, queries, of_block);
        for (row, part) in scores.chunks_exact_mut(keys).zip(part.chunks_exact(count)) {
            row[first..][..count].copy_from_slice(part);
        }
    }
    scores
}

/// Sums of the first `keys` values by their weights `[count, keys]`, `[count, head_dim]`.
fn weighted_sums(op: &AttentionOperands<'_>, piece: &Piece, weights: &[f32], keys: usize) -> Vec<f32> {
    let mut sums = vec![0.0; piece.count * op.head_dim];
    for (first, count, block) in op.v.first(keys) {
        let (shape, weights) = ([piece.count, op.head_dim, count], View::rows(weights, first, keys));
        if first == 0 {
            product(&mut sums, shape, 1.0, weights, rows_of(op, piece, block));
            continue;
        }
        let mut part = vec![0.0; sums.len()];
        product(&mut part, shape, 1.0, weights, rows_of(op, piece, block));
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sums
}

/// The rows of a block that belong to a piece's sequence, and the columns that belong to its head.
fn rows_of<'a>(op: &AttentionOperands<'_>, piece: &Piece, Block { rows, positions }: Block<'a>) -> View<'a> {
    let first = piece.batch * positions * rows.stride + rows.start + op.shared_column(piece.head);
    View::rows(rows.data, first, rows.stride)
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
