//! The oracle: plain loops that mirror the WGSL kernels of the same names, one file an operator.
//!
//! Written for likeness, not for speed. Sums, means and exponentials are taken in f64 and rounded to f32 once, where an
//! operator's output is stored: so the oracle is more exact than any f32 executor it judges, and does not depend on an
//! order of summation. Weights are those of the format, dequantized, which is exact in f32.

mod activation;
mod attention;
mod embedding;
mod int8;
mod layer_norm;
mod linear;
mod pool;

use webnibble_common::graph::Graph;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

use crate::exec::{ExecError, Int8, Int8Linears, Operands, Outputs, State};

pub use activation::activate;
pub use attention::attention;
pub use embedding::embedding;
pub use int8::{linear_int8, linear_int8_dynamic};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use pool::pool;

/// Runs `graph` on `inputs`.
///
/// # Errors
/// When graph, weights or inputs do not fit each other, and when an operator makes a NaN or an infinity.
pub fn run<S: AsRef<str>>(graph: &Graph, weights: &WeightMap, inputs: &[(S, Tensor)]) -> Result<Outputs, ExecError> {
    finish(State::new(graph, weights, inputs)?)
}

/// Runs `graph` with some linear operators in int8: with the codes, sums and roundings of an int8 kernel.
///
/// # Errors
/// As [`run`].
pub fn run_int8<S: AsRef<str>>(
    graph: &Graph,
    weights: &WeightMap,
    int8: &Int8Linears,
    inputs: &[(S, Tensor)],
) -> Result<Outputs, ExecError> {
    finish(State::new(graph, weights, inputs)?.with_int8(int8))
}

fn finish(mut state: State<'_>) -> Result<Outputs, ExecError> {
    while state.step(compute)? {}
    Ok(state.into_outputs())
}

fn compute(operands: &Operands<'_>) -> Vec<f32> {
    match operands {
        Operands::Embedding(op) => embedding(op),
        Operands::Linear(op) => match op.int8 {
            None => linear(op),
            Some(Int8::Static(ranges)) => linear_int8(op, ranges),
            Some(Int8::Dynamic) => linear_int8_dynamic(op),
        },
        Operands::LayerNorm(op) => layer_norm(op),
        Operands::Attention(op) => attention(op),
        Operands::Pool(op) => pool(op),
    }
}
