//! Linear: a panel of weight rows at a time, dequantized and multiplied while it lies in the cache.

use std::ops::Range;

use webnibble_common::quant::{Bits, round_up};

use super::super::operands::LinearOperands;
use crate::cpu::activation::activate;
use crate::cpu::product::product;
use crate::cpu::threads::Threads;
use crate::cpu::view::View;

/// Bytes of a dequantized panel: inside the second-level cache of today's machines, large enough that packing `x` anew
/// for each panel costs little.
const PANEL_BYTES: usize = 256 << 10;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`.
pub(super) fn linear(op: &LinearOperands<'_>, threads: &Threads) -> Vec<f32> {
    let (n, k) = (op.weight.layout.rows, op.weight.layout.cols);
    let m = op.x.len() / k;
    let panel = panel_rows(n, k, threads.count());
    let rows = |index: usize| index * panel..n.min((index + 1) * panel);
    let mut y = vec![0.0; m * n];
    threads.each_into(
        n.div_ceil(panel),
        |index| columns(op, m, rows(index)),
        |index, part| place(&mut y, &part, n, rows(index), op.residual),
    );
    y
}

/// Weight rows of a panel: as many as [`PANEL_BYTES`] hold, and fewer where threads would else have unequal work.
fn panel_rows(n: usize, k: usize, threads: usize) -> usize {
    let most = (PANEL_BYTES / size_of::<f32>() / k).clamp(1, n);
    n.div_ceil(round_up(n.div_ceil(most), threads))
}

/// The outputs of some weight rows, `[m, rows]`, without the residual.
fn columns(op: &LinearOperands<'_>, m: usize, rows: Range<usize>) -> Vec<f32> {
    let (k, n) = (op.weight.layout.cols, rows.len());
    let mut out = vec![0.0; m * n];
    let stored = stored_rows(op, rows.clone());
    let dequantized;
    let weight = match stored {
        Some(view) => view,
        None => {
            dequantized = dequantize(op, rows.clone());
            View::rows(&dequantized, 0, k)
        }
    };
    product(&mut out, [m, n, k], 1.0, View::rows(op.x, 0, k), weight.transposed());
    if let Some(bias) = op.bias {
        for row in out.chunks_exact_mut(n) {
            row.iter_mut().zip(&bias[rows.clone()]).for_each(|(value, bias)| *value += bias);
        }
    }
    activate(op.activation, &mut out);
    out
}

/// f32 weights as they are stored, where their bytes happen to be aligned.
fn stored_rows<'a>(op: &LinearOperands<'a>, rows: Range<usize>) -> Option<View<'a>> {
    let layout = &op.weight.layout;
    if layout.format.bits != Bits::B32 {
        return None;
    }
    let values: &[f32] = bytemuck::try_cast_slice(&op.weight.packed).ok()?;
    Some(View::rows(values, rows.start * layout.cols_padded, layout.cols_padded))
}

fn dequantize(op: &LinearOperands<'_>, rows: Range<usize>) -> Vec<f32> {
    let k = op.weight.layout.cols;
    let mut panel = vec![0.0; rows.len() * k];
    for (row, out) in rows.zip(panel.chunks_exact_mut(k)) {
        op.weight.dequantize_row_into(row, out);
    }
    panel
}

/// Writes a panel's outputs into columns `cols` of `y`, adding the residual.
fn place(y: &mut [f32], part: &[f32], n: usize, cols: Range<usize>, residual: Option<&[f32]>) {
    for (row, values) in part.chunks_exact(cols.len()).enumerate() {
        let range = row * n + cols.start..row * n + cols.end;
        match residual {
            None => y[range].copy_from_slice(values),
            Some(residual) => {
                let sums = y[range.clone()].iter_mut().zip(values.iter().zip(&residual[range]));
                sums.for_each(|(y, (value, residual))| *y = value + residual);
            }
        }
    }
}
