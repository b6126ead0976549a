//! A case for a backend to solve.

use webnibble_common::graph::Graph;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

/// Largest error of an f32 kernel, as [`compare`] takes it.
pub const TOLERANCE: f64 = 1e-3;

/// A case for a backend to solve.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Operator, shapes and choices: `linear q4-sym-g32 [2, 17, 129] -> 384 gelu bias residual`.
    pub name: String,
    /// The operator.
    pub graph: Graph,
    /// Its weights, in their format.
    pub weights: WeightMap,
    /// Its inputs.
    pub inputs: Vec<(String, Tensor)>,
    /// Largest error allowed, as [`compare`] takes it.
    pub tolerance: f64,
}
