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

impl WeightData {
    /// Bytes as it is held: codes or floats, scales in f16, zero points.
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            WeightData::Matrix(matrix) => matrix.packed.len() + 2 * matrix.scales.len() + matrix.zeros.len(),
            WeightData::Vector(values) => 4 * values.len(),
        };
        bytes as u64
    }
}

/// Every weight of a graph, by name.
pub type WeightMap = BTreeMap<String, WeightData>;
