//! Linear in int8: as WebNN's chain of quantize, dequantize and `gemm` computes it where it runs as one int8 kernel, and as
//! the CPU executor does it with ranges of its own input.

use webnibble_common::quant::{ACTIVATION_GROUP, ActivationGroup, Int8Linear};

use super::operands::LinearOperands;
use crate::reference::activation::activate;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`, with `x` and the sum rounded to int8.
pub(super) fn by_ranges(op: &LinearOperands<'_>, int8: &Int8Linear) -> Vec<f32> {
    let (n, k) = (int8.rows, int8.cols);
    let m = op.x.len() / k;
    let mut y = vec![0.0; m * n];
    for row in 0..m {
        let zero = i64::from(int8.input.zero_point);
        let x = op.x[row * k..][..k].iter().enumerate();
        let x: Vec<i64> = x.map(|(col, value)| i64::from(int8.input_code(col, *value)) - zero).collect();
        for col in 0..n {
            let weight = &int8.codes[col * k..][..k];
            let sum: i64 = x.iter().zip(weight).map(|(x, code)| x * i64::from(*code)).sum();
            let sum = i32::try_from(sum).expect("65,536 products of int8 fit an int32");
            let mut value = activate(op.activation, f64::from(int8.output_value(col, sum)));
            if let Some(residual) = op.residual {
                value += f64::from(residual[row * n + col]);
            }
            y[row * n + col] = value as f32;
        }
    }
    y
}

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`, with each group of each row of `x` rounded to codes of its range.
pub(super) fn by_groups(op: &LinearOperands<'_>) -> Vec<f32> {
    let (n, k) = (op.weight.layout.rows, op.weight.layout.cols);
    let m = op.x.len() / k;
    let code = |row: usize, col: usize| i64::from(op.weight.code(row, col)) - i64::from(op.weight.zero(row, col));
    let mut y = vec![0.0; m * n];
    for row in 0..m {
        for col in 0..n {
            let mut sum = 0.0;
            for (index, values) in op.x[row * k..][..k].chunks(ACTIVATION_GROUP).enumerate() {
                let group = ActivationGroup::of(values);
                let weights = || (0..values.len()).map(|at| code(col, index * ACTIVATION_GROUP + at));
                let products: i64 = values.iter().zip(weights()).map(|(x, w)| i64::from(group.encode(*x)) * w).sum();
                sum += f64::from(group.scale) * products as f64;
                sum += f64::from(group.offset) * weights().sum::<i64>() as f64;
            }
            let bias = op.bias.map_or(0.0, |bias| f64::from(bias[col]));
            let mut value = activate(op.activation, sum * f64::from(op.weight.scale(col, 0)) + bias);
            if let Some(residual) = op.residual {
                value += f64::from(residual[row * n + col]);
            }
            y[row * n + col] = value as f32;
        }
    }
    y
}
