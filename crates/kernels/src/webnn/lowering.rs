//! Lowerings: the ways in which weights are given to a graph.

use std::fmt;
use std::str::FromStr;

use super::error::WebNnError;
use super::operand::DataType;

/// How weights are given to a graph, and what is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lowering {
    /// Every matrix dequantized once, when the graph is built; computed in single precision.
    Float32,
    /// Matrices that are stored in half precision stay in it and are cast in the graph; computed in single precision.
    Float16,
    /// Everything in half precision. Loses digits, and overflows where single precision does not.
    HalfCompute,
    /// Integer codes, dequantized in the graph at every inference: the memory of the format, at the price of time.
    Dequantize,
    /// Linear operators in int8, with static ranges of activations; the rest in single precision.
    Int8,
}

impl Lowering {
    /// Every lowering.
    pub const ALL: [Lowering; 5] =
        [Lowering::Float32, Lowering::Float16, Lowering::HalfCompute, Lowering::Dequantize, Lowering::Int8];

    /// Its name in options and results.
    pub const fn name(self) -> &'static str {
        match self {
            Lowering::Float32 => "float32",
            Lowering::Float16 => "float16",
            Lowering::HalfCompute => "float16-compute",
            Lowering::Dequantize => "dequantize",
            Lowering::Int8 => "int8",
        }
    }

    /// What values between operators are computed in.
    pub(crate) const fn compute(self) -> DataType {
        match self {
            Lowering::HalfCompute => DataType::Float16,
            _ => DataType::Float32,
        }
    }
}

impl fmt::Display for Lowering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Lowering {
    type Err = WebNnError;

    fn from_str(text: &str) -> Result<Self, WebNnError> {
        let found = Self::ALL.into_iter().find(|lowering| lowering.name() == text);
        found.ok_or_else(|| WebNnError::Lowering {
            expected: Self::ALL.map(Self::name).join(", "),
            found: text.to_owned(),
        })
    }
}
