//! Why a graph is not well formed, or does not fit what it is given.

use super::dim::DimError;

/// Why a graph is not well formed, or does not fit the inputs it got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An operand has the wrong shape or type.
    #[error("{op} `{output}`: {operand} should be {expected}, found {found}")]
    Operand {
        /// Operator.
        op: &'static str,
        /// Name of its output.
        output: String,
        /// Which operand.
        operand: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A value is read before anything makes it.
    #[error("{op} `{output}` reads `{value}` before it is made")]
    Order {
        /// Operator.
        op: &'static str,
        /// Name of its output.
        output: String,
        /// The value.
        value: String,
    },
    /// A dimension has no extent.
    #[error("value `{value}`: {error}")]
    Dim {
        /// The value.
        value: String,
        /// Which dimension, and why.
        error: DimError,
    },
    /// An input is missing, or one was given that the graph does not have.
    #[error("inputs should be {expected:?}, found {found:?}")]
    Inputs {
        /// Names that the graph has.
        expected: Vec<String>,
        /// Names that were given.
        found: Vec<String>,
    },
    /// An input has another shape or type than the graph says.
    #[error("input `{name}` should be {expected}, found {found}")]
    Input {
        /// The input.
        name: String,
        /// Type and shape that it should have.
        expected: String,
        /// Type and shape that it has.
        found: String,
    },
    /// A state that another operand has already, or that is given other positions than the states before it.
    #[error("{op} `{output}`: state `{state}` should be {expected}")]
    State {
        /// Operator.
        op: &'static str,
        /// Name of its output.
        output: String,
        /// The state.
        state: String,
        /// What it should be.
        expected: String,
    },
    /// Two values, weights or states have the same name.
    #[error("two {what} are called `{name}`")]
    Duplicate {
        /// "values", "weights" or "states".
        what: &'static str,
        /// The name.
        name: String,
    },
}
