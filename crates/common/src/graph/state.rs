//! States: what a conversation keeps between the runs of a graph.

use super::dim::Dim;
use super::value::Columns;
use crate::tensor::DType;

/// Index of a state in [`Graph::states`](super::Graph::states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub usize);

/// What a conversation keeps of every position that it has seen, such as the keys of a layer's attention. It stays on the
/// device, belongs to one [`StateSet`](crate::state::StateSet), and is written in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Name for messages and GPU labels, unique in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions of what is kept of one position of one item of the batch.
    pub shape: Vec<Dim>,
    /// Positions that it has room for at most; 1 for what does not grow.
    pub capacity: Dim,
}

/// A state that an operator reads, and what is written to it before: the run's own positions, behind those that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// The state.
    pub state: StateId,
    /// What is written: of a value `[batch, positions, width]` as many columns as the state has elements of a position.
    pub from: Columns,
}

/// How much a run writes to each of its graph's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Items of the batch.
    pub batch: usize,
    /// Positions of each.
    pub positions: usize,
}
