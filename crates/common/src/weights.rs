//! Weights in memory: what the CPU executors read and the quantizer makes.

use std::collections::BTreeMap;

use crate::quant::QTensor;

/// One tensor of a graph.
#[derive(Clone, Debug, PartialEq)]
pub enum WeightData {
    /// A matrix in some format.
    Matrix(QTensor),
    /// A vector, always f32.
    Vector(Vec<f32>),
}

/// Every weight of a graph, by name.
pub type WeightMap = BTreeMap<String, WeightData>;
