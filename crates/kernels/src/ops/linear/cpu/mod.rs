//! The fast executor's linear operator: in floats, natively by panels and in wasm by strips, and in int8.

mod dynamic;
mod int8;
#[cfg(not(target_arch = "wasm32"))]
mod panels;
#[cfg(target_arch = "wasm32")]
mod strips;

use webnibble_common::graph::{Activation, Linear};

#[cfg(not(target_arch = "wasm32"))]
use panels::linear as floats;
#[cfg(target_arch = "wasm32")]
use strips::linear as floats;

use super::operands::LinearOperands;
use crate::cpu::activation::activate;
use crate::cpu::observed::Observed;
use crate::cpu::threads::Threads;
use crate::exec::int8::Int8;
use crate::exec::operands::Operands;

/// `activation(x · weightᵀ + bias) + residual`, `[m, n]`.
pub(crate) fn compute(op: &Linear, operands: Operands<'_>, threads: &Threads) -> Vec<f32> {
    let linear = LinearOperands::of(op, operands);
    match operands.int8(op.weight) {
        None => floats(&linear, threads),
        Some(Int8::Static(ranges)) => int8::linear(&linear, ranges, threads),
        Some(Int8::Dynamic) => dynamic::linear(&linear, threads),
    }
}

/// The product alone, shown, and then what comes after it.
pub(crate) fn compute_observed(
    op: &Linear,
    operands: Operands<'_>,
    threads: &Threads,
    observe: &mut dyn FnMut(Observed<'_>),
) -> Vec<f32> {
    let product = Linear { activation: Activation::Identity, residual: None, ..*op };
    let mut y = compute(&product, operands, threads);
    let LinearOperands { x, weight, residual, .. } = LinearOperands::of(op, operands);
    let (n, k) = (weight.layout.rows, weight.layout.cols);
    let name = operands.name(op.weight);
    observe(Observed { weight: name, input: x, input_channels: k, output: &y, output_channels: n });
    activate(op.activation, &mut y);
    if let Some(residual) = residual {
        y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
    }
    y
}
