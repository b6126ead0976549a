//! Operands of a program: their numbers and types.

use std::fmt;

/// `MLOperandDataType`, as far as programs use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// IEEE single precision.
    Float32,
    /// IEEE half precision.
    Float16,
    /// Signed 32 bits.
    Int32,
    /// Unsigned 32 bits.
    Uint32,
    /// Signed 8 bits.
    Int8,
    /// Signed 4 bits, two a byte, the first in the low half.
    Int4,
}

impl DataType {
    /// Its name in WebNN.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::Float32 => "float32",
            DataType::Float16 => "float16",
            DataType::Int32 => "int32",
            DataType::Uint32 => "uint32",
            DataType::Int8 => "int8",
            DataType::Int4 => "int4",
        }
    }

    /// Bytes of `count` elements.
    pub const fn bytes(self, count: usize) -> u64 {
        let bits = match self {
            DataType::Float32 | DataType::Int32 | DataType::Uint32 => 32,
            DataType::Float16 => 16,
            DataType::Int8 => 8,
            DataType::Int4 => 4,
        };
        (count as u64 * bits).div_ceil(8)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Number of an operand: a constant, an input, or what an operation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operand(pub usize);
