//! The oracle: plain loops that mirror the WGSL kernels, in the `reference.rs` of each operator.
//!
//! Written for likeness, not for speed. Sums, means and exponentials are taken in f64 and rounded to f32 once, where an
//! operator's output is stored: so the oracle is more exact than any f32 executor it judges, and does not depend on an
//! order of summation. Weights are those of the format, dequantized, which is exact in f32.

pub(crate) mod activation;

use webnibble_common::graph::Graph;
use webnibble_common::state::StateSet;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

use crate::exec::error::ExecError;
use crate::exec::int8::Int8Linears;
use crate::exec::run::{Outputs, Run};
use crate::ops;

/// Runs `graph` on `inputs`.
///
/// # Errors
/// When graph, weights or inputs do not fit each other, and when an operator makes a NaN or an infinity.
pub fn run<S: AsRef<str>>(graph: &Graph, weights: &WeightMap, inputs: &[(S, Tensor)]) -> Result<Outputs, ExecError> {
    finish(Run::new(graph, weights, inputs)?)
}

/// Runs `graph` in a conversation: writes what it keeps of the inputs to `states`, and counts their positions.
///
/// # Errors
/// As [`run`], and when the states are not the graph's, are of another batch, or have no room; `states` has what it had then.
pub fn run_with_states<S: AsRef<str>>(
    graph: &Graph,
    weights: &WeightMap,
    states: &mut StateSet,
    inputs: &[(S, Tensor)],
) -> Result<Outputs, ExecError> {
    finish(Run::new(graph, weights, inputs)?.with_states(states)?)
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
    finish(Run::new(graph, weights, inputs)?.with_int8(int8))
}

fn finish(mut run: Run<'_>) -> Result<Outputs, ExecError> {
    while run.step(ops::reference)? {}
    Ok(run.into_outputs())
}
