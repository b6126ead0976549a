//! Why a graph cannot be planned.

use webnibble_common::graph::GraphError;

/// Why a graph cannot be planned for an adapter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The graph does not fit its bindings.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A weight of the graph has no format.
    #[error("the package has no tensor `{0}`")]
    MissingWeight(String),
    /// More bytes than the adapter can bind, and not to be cut, or not further.
    #[error("`{name}` takes {bytes} bytes, and the adapter binds at most {limit}")]
    BindingTooLarge {
        /// Weight or value.
        name: String,
        /// Its size.
        bytes: usize,
        /// The adapter's limit.
        limit: usize,
    },
    /// A buffer is larger than the adapter makes them.
    #[error("`{name}` takes {bytes} bytes, and a buffer of the adapter has at most {limit}")]
    BufferTooLarge {
        /// Weight or value.
        name: String,
        /// Its size.
        bytes: usize,
        /// The adapter's limit.
        limit: usize,
    },
    /// More threads of a workgroup than the adapter has.
    #[error("a workgroup of {asked} threads was asked for, and the adapter has at most {limit}")]
    WorkgroupTooLarge {
        /// Threads asked for.
        asked: u32,
        /// The adapter's limit.
        limit: usize,
    },
    /// A dispatch needs more workgroups than the adapter has.
    #[error("`{name}` needs {needed} workgroups in one dimension, and the adapter has at most {limit}")]
    TooManyWorkgroups {
        /// The value that the operator makes.
        name: String,
        /// Workgroups needed.
        needed: usize,
        /// The adapter's limit.
        limit: usize,
    },
    /// Inputs or values without elements.
    #[error("`{0}` has no elements")]
    Empty(String),
}
