//! Why a graph cannot be run, or what went wrong in it.

use webnibble_common::graph::GraphError;
use webnibble_common::quant::QuantError;
use webnibble_common::state::StateError;

/// Why a graph cannot be run, or what went wrong in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The graph is not well formed, or the inputs are not those that it takes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An input without elements.
    #[error("input `{input}` should have at least one element, found shape {shape:?}")]
    Empty {
        /// The input.
        input: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An id that is no row of its table.
    #[error("input `{input}` should be below {rows}, found {id} at index {index}")]
    Id {
        /// The input.
        input: String,
        /// Index in row-major order.
        index: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// A sequence longer than the table of positions.
    #[error("sequences should have at most {limit} positions, found {found}: shorten the text, or truncate it")]
    Positions {
        /// Positions that the model has.
        limit: usize,
        /// Length of the sequences.
        found: usize,
    },
    /// The set of states does not fit the graph, or has no room for what the run writes.
    #[error(transparent)]
    State(#[from] StateError),
    /// A graph with states was given none.
    #[error("the graph keeps {states:?} of a conversation, and needs a set of these states to run")]
    NoStates {
        /// The states.
        states: Vec<String>,
    },
    /// A weight is missing, or is not what the graph says.
    #[error("weight `{name}` should be {expected}, found {found}")]
    Weight {
        /// The weight.
        name: String,
        /// Kind and shape by the graph.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An operator that cannot be computed in int8 as its activations say.
    #[error("activations of `{name}`: {error}")]
    Int8 {
        /// The operator, by its weight.
        name: String,
        /// What is wrong.
        error: QuantError,
    },
    /// Activations of an operator that the graph does not have.
    #[error("activations of `{name}`: the graph has no linear operator with a weight of that name")]
    NoLinear {
        /// The name.
        name: String,
    },
    /// A NaN or an infinity, in the first value that has one.
    #[error(
        "{maker} `{value}`: element {index} is {found}; inputs, weights and every operator's output must be finite"
    )]
    NonFinite {
        /// The operator that made it, or `input`.
        maker: &'static str,
        /// Name of the value.
        value: String,
        /// Index in row-major order.
        index: usize,
        /// The element.
        found: f32,
    },
}

impl ExecError {
    /// Whether the caller's input is at fault, and not the model or the executor.
    pub fn is_bad_input(&self) -> bool {
        match self {
            ExecError::Empty { .. }
            | ExecError::Id { .. }
            | ExecError::Positions { .. }
            | ExecError::NoStates { .. } => true,
            ExecError::Graph(error) => matches!(error, GraphError::Input { .. } | GraphError::Inputs { .. }),
            ExecError::NonFinite { maker, .. } => *maker == INPUT,
            ExecError::State(error) => matches!(error, StateError::Batch { .. } | StateError::Full { .. }),
            ExecError::Weight { .. } | ExecError::Int8 { .. } | ExecError::NoLinear { .. } => false,
        }
    }
}

/// Who made an input, in [`ExecError::NonFinite`].
pub(super) const INPUT: &str = "input";
