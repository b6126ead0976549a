//! Linear in int8, on every core: the same codes and sums as those of the reference.
//!
//! For calibration and accuracy on this machine, where it has to be exact rather than fast: products are of int16, which
//! every processor multiplies and adds in pairs.

use std::ops::Range;

use webnibble_common::quant::Int8Linear;

use super::super::operands::LinearOperands;
use crate::cpu::activation::activate;
use crate::cpu::threads::Threads;

/// Weight rows that are computed at a time.
const PANEL_ROWS: usize = 32;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`.
pub(super) fn linear(op: &LinearOperands<'_>, int8: &Int8Linear, threads: &Threads) -> Vec<f32> {
    let (n, k) = (int8.rows, int8.cols);
    let x = input_steps(op.x, int8);
    let rows = |index: usize| index * PANEL_ROWS..n.min((index + 1) * PANEL_ROWS);
    let mut y = vec![0.0; op.x.len() / k * n];
    threads.each_into(
        n.div_ceil(PANEL_ROWS),
        |index| columns(&x, int8, rows(index)),
        |index, part| {
            let cols = rows(index);
            for (row, values) in part.chunks_exact(cols.len()).enumerate() {
                y[row * n + cols.start..row * n + cols.end].copy_from_slice(values);
            }
        },
    );
    activate(op.activation, &mut y);
    if let Some(residual) = op.residual {
        y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
    }
    y
}

/// Codes of the input, less its zero point.
fn input_steps(x: &[f32], int8: &Int8Linear) -> Vec<i16> {
    let zero = i16::from(int8.input.zero_point);
    let step = |(col, value): (usize, &f32)| i16::from(int8.input_code(col, *value)) - zero;
    x.chunks_exact(int8.cols).flat_map(|row| row.iter().enumerate().map(step)).collect()
}

/// The outputs of some weight rows, `[m, rows]`, before the activation.
fn columns(x: &[i16], int8: &Int8Linear, rows: Range<usize>) -> Vec<f32> {
    let k = int8.cols;
    let codes = &int8.codes[rows.start * k..rows.end * k];
    let weight: Vec<i16> = codes.iter().map(|code| i16::from(*code)).collect();
    let mut out = Vec::with_capacity(x.len() / k * rows.len());
    for x in x.chunks_exact(k) {
        let sums = rows.clone().zip(weight.chunks_exact(k)).map(|(row, weight)| (row, dot(x, weight)));
        out.extend(sums.map(|(row, sum)| int8.output_value(row, sum)));
    }
    out
}

/// Sum of products. It cannot overflow for fewer than 65,536 of them; wrapping only spares the check.
fn dot(a: &[i16], b: &[i16]) -> i32 {
    let product = |(a, b): (&i16, &i16)| i32::from(*a).wrapping_mul(i32::from(*b));
    a.iter().zip(b).map(product).fold(0, i32::wrapping_add)
}
