//! Linear in int8: what WebNN's chain of quantize, dequantize and `gemm` computes where it runs as one int8 kernel.

use webnibble_common::quant::Int8Linear;

use super::activate;
use crate::exec::Linear;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`, with `x` and the sum rounded to int8.
pub fn linear_int8(op: &Linear<'_>, int8: &Int8Linear) -> Vec<f32> {
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
