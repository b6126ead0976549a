//! What cannot be quantized, or is not a quantized tensor.

use super::Format;

/// What cannot be quantized, or is not a quantized tensor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// Not a matrix, or one without elements.
    #[error("a tensor to quantize should be a matrix [rows, cols] of at least 1 by 1, found shape {shape:?}")]
    Shape {
        /// The shape given.
        shape: Vec<usize>,
    },
    /// The number of weights does not fit the shape.
    #[error("shape {shape:?} holds {expected} weights, found {found}")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// Its number of elements.
        expected: usize,
        /// Weights given.
        found: usize,
    },
    /// A group size that would let a 32-bit word straddle two groups.
    #[error("a group size should be a multiple of 16, at least 16, found {found}; for one scale a row use per channel")]
    GroupSize {
        /// The size given.
        found: usize,
    },
    /// A weight is NaN or infinite.
    #[error("weight {index} (row {row}, column {col}) is {value}: weights must be finite")]
    NotFinite {
        /// Index in row-major order.
        index: usize,
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
        /// The weight.
        value: f32,
    },
    /// A weight is too large for the format.
    #[error("weight {index} is {value}: {format} holds at most ±{limit}, since floats and scales are f16; use 32 bits")]
    Overflow {
        /// Index in row-major order.
        index: usize,
        /// The weight.
        value: f32,
        /// The format asked for.
        format: Format,
        /// The largest magnitude that it holds.
        limit: f32,
    },
    /// A plane has the wrong length.
    #[error("the {plane} plane should have {expected} bytes, found {found}")]
    Plane {
        /// Which plane.
        plane: &'static str,
        /// Bytes by the layout.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A scale is NaN or infinite.
    #[error("scale {index} is {found}: scales must be finite")]
    Scale {
        /// Index in the plane.
        index: usize,
        /// The scale.
        found: f32,
    },
    /// Inputs that do not go with a matrix.
    #[error("a matrix of {expected} columns takes inputs of as many, found {found}")]
    Inputs {
        /// Columns of the matrix.
        expected: usize,
        /// Columns of the inputs.
        found: usize,
    },
    /// Activations, or the weights that go with them, that no int8 operator has.
    #[error("int8 {which} should be {expected}, found {found}")]
    Activation {
        /// `input`, `output` or `weight`.
        which: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A zero point that is not a code.
    #[error("zero point {index} is {found}: codes end at {largest}")]
    Zero {
        /// Index in the plane.
        index: usize,
        /// The zero point.
        found: u8,
        /// The largest code.
        largest: u8,
    },
}
