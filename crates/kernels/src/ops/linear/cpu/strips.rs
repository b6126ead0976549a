//! Linear in WebAssembly: eight weight rows at a time, dequantized panel by panel into the form that tiles take.

use super::super::operands::LinearOperands;
use crate::cpu::activation::activate;
use crate::cpu::panel;
use crate::cpu::strip::{STRIP, by_strips};
use crate::cpu::threads::Threads;
use crate::cpu::tiles::{DEPTH, Rows};
use crate::cpu::view::View;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`.
pub(super) fn linear(op: &LinearOperands<'_>, threads: &Threads) -> Vec<f32> {
    let k = op.weight.layout.cols;
    let rows = Rows::pack(View::rows(op.x, 0, k), [op.x.len() / k, k], 1.0, threads);
    by_strips([op.rows(), op.weight.layout.rows], op.residual, threads, |first, m| columns(op, &rows, m, first))
}

/// Outputs of the weight rows from `first` on, `[m, STRIP]`, without the residual.
fn columns(op: &LinearOperands<'_>, rows: &Rows, m: usize, first: usize) -> Vec<[f32; STRIP]> {
    let layout = &op.weight.layout;
    let mut bias = [0.0; STRIP];
    if let Some(values) = op.bias {
        let count = STRIP.min(layout.rows - first);
        bias[..count].copy_from_slice(&values[first..][..count]);
    }
    let mut out = vec![bias; m];
    let mut panel = [[0.0; STRIP]; DEPTH];
    for from in (0..layout.cols).step_by(DEPTH) {
        let panel = &mut panel[..DEPTH.min(layout.cols - from)];
        panel::fill(op.weight, first, from, panel);
        rows.multiply(from, panel, &mut out);
    }
    activate(op.activation, out.as_flattened_mut());
    out
}
