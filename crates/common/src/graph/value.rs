//! Values: what flows between operators.

use super::dim::Dim;
use crate::tensor::DType;

/// Index of a value in [`Graph::values`](super::Graph::values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A range of columns of a value's last dimension, so that several operands can share one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The value, `[batch, length, width]`.
    pub value: ValueId,
    /// First column.
    pub start: usize,
}

/// What flows between operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Name for messages and GPU labels, unique in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<Dim>,
}
