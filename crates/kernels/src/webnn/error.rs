//! Why a graph cannot be lowered to WebNN.

use webnibble_common::graph::GraphError;
use webnibble_common::quant::QuantError;

use super::operand::DataType;

/// Why a graph cannot be lowered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WebNnError {
    /// The graph does not fit its bindings.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A weight of the graph has no format, or is not of the kind that the graph says.
    #[error("the package has no tensor `{0}`")]
    MissingWeight(String),
    /// Inputs or values without elements.
    #[error("`{0}` has no elements")]
    Empty(String),
    /// A sequence longer than the table of positions.
    #[error("sequences should have at most {limit} positions, found {found}: shorten the text, or truncate it")]
    Positions {
        /// Positions that the model has.
        limit: usize,
        /// Length of the sequences.
        found: usize,
    },
    /// The context does not take an operand of that type or rank.
    #[error("WebNN's `{operator}` should take {operand} as {dtype} of rank {rank}, and this context does not")]
    Operator {
        /// The operator's method on `MLGraphBuilder`.
        operator: &'static str,
        /// Which operand.
        operand: &'static str,
        /// Its element type.
        dtype: DataType,
        /// Its rank.
        rank: usize,
    },
    /// An operator that is not lowered yet.
    #[error("{operator} {what} does not run on WebNN yet")]
    Unsupported {
        /// Its name.
        operator: &'static str,
        /// What of it does not.
        what: &'static str,
    },
    /// A tensor is larger than the context takes.
    #[error("`{name}` takes {bytes} bytes, and WebNN's tensors have at most {limit} here")]
    TooLarge {
        /// Weight, or operator that makes it.
        name: String,
        /// Its size.
        bytes: u64,
        /// The context's limit.
        limit: u64,
    },
    /// WebNN runs no weights of that format, for the reason given.
    #[error("WebNN does not take `{name}` in {format}: {reason}")]
    Format {
        /// The weight.
        name: String,
        /// Its format.
        format: String,
        /// Why not.
        reason: String,
    },
    /// A linear operator cannot be computed in int8 with the package's ranges.
    #[error("`{name}`: {error}")]
    Int8 {
        /// The weight.
        name: String,
        /// Why not.
        error: QuantError,
    },
    /// A lowering was asked for that does not exist, or not for this model.
    #[error("lowering should be {expected}, found `{found}`")]
    Lowering {
        /// What can be asked for.
        expected: String,
        /// What was.
        found: String,
    },
}
