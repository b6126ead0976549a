//! Linear in int8 with ranges of its own input ([`webnibble_common::quant::ActivationGroup`]): products of bytes, summed
//! in int32 over a group, then in f32 over groups.
//!
//! With codes `c` of activations and `w` of weights a group's sum is `scale · Σ w·c + offset · Σ w`. As in
//! [`crate::cpu::tiles`], eight weight rows at a time are made ready and every tile of activations is multiplied with them.

use webnibble_common::quant::{ACTIVATION_GROUP, QTensor};

use super::super::operands::LinearOperands;
use crate::cpu::activation::activate;
use crate::cpu::codes::{self, STEPS, Tile};
use crate::cpu::simd::{Codes, Columns, F32x4, I32x4};
use crate::cpu::strip::{STRIP, by_strips, for_rows, halves, whole};
use crate::cpu::threads::Threads;

/// A group of columns of a strip.
struct Group {
    /// Codes, lower four rows and upper four.
    steps: [[Columns; 2]; STEPS],
    /// Sum of each row's codes.
    sums: [F32x4; 2],
}

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`, for weights of 8 bits with one scale a row.
pub(super) fn linear(op: &LinearOperands<'_>, threads: &Threads) -> Vec<f32> {
    let tiles = codes::tiles(op.x, op.weight.layout.cols, threads);
    by_strips([op.rows(), op.weight.layout.rows], op.residual, threads, |first, m| columns(op, &tiles, m, first))
}

/// Outputs of the weight rows from `first` on, `[m, STRIP]`, without the residual.
fn columns(op: &LinearOperands<'_>, tiles: &[Tile], m: usize, first: usize) -> Vec<[f32; STRIP]> {
    let panel = panel(op.weight, first);
    let mut out = vec![[0.0; STRIP]; m];
    let mut rest = &mut out[..];
    for tile in tiles {
        let (part, after) = rest.split_at_mut(tile.rows);
        for_rows!(tile.rows, multiply(tile, &panel, part));
        rest = after;
    }
    let of_row = |value: &dyn Fn(usize) -> f32| {
        halves(std::array::from_fn(|lane| value((first + lane).min(op.weight.layout.rows - 1))))
    };
    let scales = of_row(&|row| op.weight.scale(row, 0));
    let bias = of_row(&|row| op.bias.map_or(0.0, |bias| bias[row]));
    for values in &mut out {
        let sums = halves(*values);
        *values = whole([0, 1].map(|half| sums[half].mul_add(scales[half], bias[half])));
    }
    activate(op.activation, out.as_flattened_mut());
    out
}

/// The weight rows from `first` on, group by group. Rows beyond the last are the last again.
fn panel(weight: &QTensor, first: usize) -> Vec<Group> {
    let bytes = weight.layout.row_bytes();
    let rows: [&[[u8; 4]]; STRIP] = std::array::from_fn(|lane| {
        let row = (first + lane).min(weight.layout.rows - 1);
        weight.packed[row * bytes..][..bytes].as_chunks().0
    });
    let ones = Codes::new([1; 4]);
    let group = |group: usize| {
        let rows = rows.map(|row| &row[group * STEPS..][..STEPS]);
        let mut sums = [I32x4::ZERO; 2];
        let steps = std::array::from_fn(|step| {
            let words = rows.map(|row| u32::from_le_bytes(row[step]));
            let [a, b, c, d, e, f, g, h] = words;
            let columns = [Columns::of_stored([a, b, c, d]), Columns::of_stored([e, f, g, h])];
            sums = [0, 1].map(|half| columns[half].add_products(ones, sums[half]));
            columns
        });
        Group { steps, sums: sums.map(I32x4::to_floats) }
    };
    (0..weight.layout.cols.div_ceil(ACTIVATION_GROUP)).map(group).collect()
}

/// `out += activations · panel`, weights in steps of their scales.
#[inline(always)]
fn multiply<const ROWS: usize>(tile: &Tile, panel: &[Group], out: &mut [[f32; STRIP]]) {
    let out: &mut [[f32; STRIP]; ROWS] = out.try_into().expect("a tile has so many rows");
    let (codes, _) = tile.codes.as_chunks::<ROWS>();
    let (ranges, _) = tile.groups.as_chunks::<ROWS>();
    for ((group, codes), ranges) in panel.iter().zip(codes.as_chunks::<STEPS>().0).zip(ranges) {
        let mut sums = [[I32x4::ZERO; 2]; ROWS];
        for ([low, high], codes) in group.steps.iter().zip(codes) {
            // Row by row, as in `tiles`: in another order there are not registers enough.
            for (sum, codes) in sums.iter_mut().zip(codes) {
                *sum = [low.add_products(*codes, sum[0]), high.add_products(*codes, sum[1])];
            }
        }
        for ((out, sums), range) in out.iter_mut().zip(sums).zip(ranges) {
            let (scale, offset) = (F32x4::splat(range.scale), F32x4::splat(range.offset));
            let before = halves(*out);
            let after = |half: usize| {
                let known = offset.mul_add(group.sums[half], before[half]);
                scale.mul_add(sums[half].to_floats(), known)
            };
            *out = whole([after(0), after(1)]);
        }
    }
}
