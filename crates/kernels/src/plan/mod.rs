//! From a graph to a recording: which kernels run, over which buffers, in what order.
//!
//! [`WeightPlan`] lays the weights of a model out in buffers, once. [`lower`] makes a [`Recording`] for concrete
//! shapes: plain data that a backend turns into pipelines, bind groups and dispatches, and replays for every inference.

mod chunks;
mod kernels;
mod linear;
mod memory;
mod recording;
mod weights;

pub use chunks::Chunking;
pub use recording::{Binding, Buffer, BufferId, BufferKind, Dispatch, Port, Recording, UNIFORM_ALIGNMENT};
pub use weights::{Formats, PlaneSlot, WeightBuffer, WeightPlan};

use std::collections::BTreeSet;

use webnibble_common::graph::{Bindings, Graph, GraphError, Op};

use crate::shaders::Kernel;

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
    /// `maxBufferSize`.
    pub buffer_bytes: usize,
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
        buffer_bytes: 256 << 20,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Use only features of core WebGPU.
    pub portable: bool,
    /// Keep tiles in f16 where the adapter can. Faster on some adapters, with an error of 1e-3 instead of 1e-6.
    pub half_tiles: bool,
    /// Tile shape of the linear kernel.
    pub tiling: Tiling,
    /// Threads of a workgroup, for kernels whose work does not depend on it: a power of two.
    pub workgroup_size: Option<u32>,
    /// How operators are cut into parts; `None` cuts nothing.
    pub chunking: Option<Chunking>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            portable: false,
            half_tiles: false,
            tiling: Tiling::Auto,
            workgroup_size: None,
            chunking: Some(Chunking::BY_ADAPTER),
        }
    }
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

/// Plans `graph` for the shapes in `bindings`.
pub fn lower(
    graph: &Graph,
    weights: &WeightPlan,
    bindings: &Bindings,
    caps: &DeviceCaps,
    options: &PlanOptions,
) -> Result<Recording, PlanError> {
    let caps = if options.portable { DeviceCaps { f16: false, subgroups: false, ..*caps } } else { *caps };
    check_workgroup(&caps, options)?;
    let limits = chunks::Limits::new(&caps, options.chunking);
    let mut recorder = recording::Recorder::new(graph, weights, bindings, &caps, limits)?;
    for (index, node) in graph.nodes.iter().enumerate() {
        kernels::record(&mut recorder, node, options)?;
        recorder.release_after(index);
    }
    Ok(recorder.finish())
}

/// Tokens of the longest input, where the graph has no table of positions that says.
const USUAL_POSITIONS: usize = 512;

/// Batches for which [`kernels`] looks, beside one item.
const BATCHES: [usize; 4] = [1, 4, 16, 64];

/// Tokens of the longest input of a graph.
pub fn longest_input(graph: &Graph) -> usize {
    let of = graph.nodes.iter().find_map(|node| match &node.op {
        Op::Embedding { positions: Some(table), position_offset, .. } => {
            Some(graph.weight_of(*table).shape[0].saturating_sub(*position_offset))
        }
        _ => None,
    });
    of.unwrap_or(USUAL_POSITIONS)
}

/// The kernels that a graph of `batch` and `seq` takes, whatever these are.
///
/// Kernels depend on a shape through its size alone, so that powers of two meet all of them. Shapes that do not fit the
/// adapter have none.
pub fn kernels(graph: &Graph, weights: &WeightPlan, caps: &DeviceCaps, options: &PlanOptions) -> BTreeSet<Kernel> {
    let longest = longest_input(graph);
    let lengths = std::iter::successors(Some(1), |length| Some(length * 2)).take_while(|length| *length < longest);
    let lengths: Vec<usize> = lengths.chain([longest]).collect();
    let shapes = BATCHES.iter().flat_map(|batch| lengths.iter().map(|seq| (*batch, *seq)));
    let recordings = shapes.filter_map(|(batch, seq)| {
        lower(graph, weights, &Bindings::new([("batch", batch), ("seq", seq)]), caps, options).ok()
    });
    recordings.flat_map(|recording| recording.dispatches).map(|dispatch| dispatch.kernel).collect()
}

/// Whether the adapter has workgroups of the size that is asked for.
///
/// # Errors
/// [`PlanError::WorkgroupTooLarge`] where it has not.
pub fn check_workgroup(caps: &DeviceCaps, options: &PlanOptions) -> Result<(), PlanError> {
    match options.workgroup_size {
        Some(asked) if asked as usize > caps.invocations => {
            Err(PlanError::WorkgroupTooLarge { asked, limit: caps.invocations })
        }
        _ => Ok(()),
    }
}
