//! From a graph to a recording: which kernels run, over which buffers, in what order.
//!
//! [`WeightPlan`] lays the weights of a model out in buffers, once. [`lower`] makes a [`Recording`] for concrete
//! shapes: plain data that a backend turns into pipelines, bind groups and dispatches, and replays for every inference.

mod kernels;
mod memory;
mod recording;
mod weights;

pub use recording::{Binding, Buffer, BufferId, BufferKind, Dispatch, Port, Recording, UNIFORM_ALIGNMENT};
pub use weights::{Formats, PlaneSlot, WeightBuffer, WeightPlan};

use webnibble_common::graph::{Bindings, Graph, GraphError};

/// What the adapter can do, as far as the choice of kernels depends on it. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCaps {
    /// `shader-f16`.
    pub f16: bool,
    /// `subgroups`.
    pub subgroups: bool,
    /// `maxComputeWorkgroupStorageSize`.
    pub workgroup_storage_bytes: usize,
    /// `maxComputeInvocationsPerWorkgroup`.
    pub invocations: usize,
    /// `maxStorageBufferBindingSize`.
    pub storage_binding_bytes: usize,
    /// `maxComputeWorkgroupsPerDimension`.
    pub workgroups_per_dimension: usize,
    /// Whether kernels run on the CPU, in SwiftShader or llvmpipe.
    pub software: bool,
}

impl DeviceCaps {
    /// The limits that every WebGPU adapter has, and no features.
    pub const CORE: DeviceCaps = DeviceCaps {
        f16: false,
        subgroups: false,
        workgroup_storage_bytes: 16 << 10,
        invocations: 256,
        storage_binding_bytes: 128 << 20,
        workgroups_per_dimension: 65535,
        software: false,
    };
}

/// Which tile shape the linear kernel takes; [`Tiling::Auto`] chooses by the shape of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Tiling {
    /// By shape.
    #[default]
    Auto,
    /// `BM`, `BN`, `BK`, slices: for measuring.
    Fixed(u32, u32, u32, u32),
    /// The kernel for few rows.
    Rows,
    /// The kernel without workgroup memory.
    Direct,
}

/// Choices that are not the adapter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// Use only features of core WebGPU.
    pub portable: bool,
    /// Keep tiles in f16 where the adapter can. Faster on some adapters, with an error of 1e-3 instead of 1e-6.
    pub half_tiles: bool,
    /// Tile shape of the linear kernel.
    pub tiling: Tiling,
}

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
    /// A buffer is larger than the adapter can bind.
    #[error("`{name}` takes {bytes} bytes, and the adapter binds at most {limit}")]
    BindingTooLarge {
        /// Weight or value.
        name: String,
        /// Its size.
        bytes: usize,
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

/// Plans `graph` for the shapes in `bindings`.
pub fn lower(
    graph: &Graph,
    weights: &WeightPlan,
    bindings: &Bindings,
    caps: &DeviceCaps,
    options: &PlanOptions,
) -> Result<Recording, PlanError> {
    let caps = if options.portable { DeviceCaps { f16: false, subgroups: false, ..*caps } } else { *caps };
    let mut recorder = recording::Recorder::new(graph, weights, bindings, &caps)?;
    for (index, node) in graph.nodes.iter().enumerate() {
        kernels::record(&mut recorder, node, options)?;
        recorder.release_after(index);
    }
    Ok(recorder.finish())
}
