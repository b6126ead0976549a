//! Twin of the WGSL files, in plain loops.

use webnibble_common::graph::Linear;

use super::operands::LinearOperands;
use super::reference_int8;
use crate::exec::int8::Int8;
use crate::exec::operands::Operands;
use crate::reference::activation::activate;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`.
pub(crate) fn compute(op: &Linear, operands: Operands<'_>) -> Vec<f32> {
    let linear = LinearOperands::of(op, operands);
    match operands.int8(op.weight) {
        None => floats(&linear),
        Some(Int8::Static(ranges)) => reference_int8::by_ranges(&linear, ranges),
        Some(Int8::Dynamic) => reference_int8::by_groups(&linear),
    }
}

fn floats(op: &LinearOperands<'_>) -> Vec<f32> {
    let (m, n, k) = (op.rows(), op.weight.layout.rows, op.weight.layout.cols);
    let mut y = vec![0.0; m * n];
    let mut weight = vec![0.0; k];
    for col in 0..n {
        op.weight.dequantize_row_into(col, &mut weight);
        for row in 0..m {
            let mut sum = dot(&op.x[row * k..][..k], &weight);
            if let Some(bias) = op.bias {
                sum += f64::from(bias[col]);
            }
            let mut value = activate(op.activation, sum);
            if let Some(residual) = op.residual {
                value += f64::from(residual[row * n + col]);
            }
            y[row * n + col] = value as f32;
        }
    }
    y
}

/// Sum of products, in f64: a product of two f32 is exact there.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Four sums side by side, only because one after the other would wait for each addition.
    let mut sums = [0.0; 4];
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for lane in 0..4 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}
