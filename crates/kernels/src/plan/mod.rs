//! From a graph to a recording: which kernels run, over which buffers, in what order.
//!
//! [`WeightPlan`] lays the weights of a model out in buffers, once. [`lower`] makes a [`Recording`] for concrete
//! shapes: plain data that a backend turns into pipelines, bind groups and dispatches, and replays for every inference.
//! Which kernel an operator takes, and what it is bound to, stands in its own folder ([`crate::ops`]).

pub(crate) mod activation;
mod choose;
pub(crate) mod chunks;
pub(crate) mod device;
pub(crate) mod error;
mod finite;
mod fold;
mod folds;
mod memory;
pub(crate) mod options;
pub(crate) mod recorder;
pub(crate) mod recording;
mod step;
pub(crate) mod weights;
pub(crate) mod workgroups;

pub use choose::{NO_TOKEN, Sampling, seen_bytes};
pub use chunks::Chunking;
pub use device::DeviceCaps;
pub use error::PlanError;
pub use finite::{FOUND_WORDS, Found};
pub use options::{PlanOptions, Tiling};
pub use recording::{Binding, Buffer, BufferId, BufferKind, Choice, Dispatch, Port, Recording, UNIFORM_ALIGNMENT};
pub use step::Step;
pub use weights::{Formats, PlaneSlot, WeightBuffer, WeightPlan};

use std::collections::BTreeSet;

use webnibble_common::graph::{Bindings, Graph};

use crate::ops;
use crate::shaders::Kernel;
use recorder::Recorder;

/// Plans `graph` for the shapes in `bindings`.
pub fn lower(
    graph: &Graph,
    weights: &WeightPlan,
    bindings: &Bindings,
    caps: &DeviceCaps,
    options: &PlanOptions,
) -> Result<Recording, PlanError> {
    let caps = if options.portable {
        DeviceCaps { f16: false, subgroups: false, subgroup_size: None, ..*caps }
    } else {
        *caps
    };
    check_workgroup(&caps, options)?;
    let mut recorder = Recorder::new(graph, weights, bindings, &caps, options)?;
    let folds = fold::folds(&recorder);
    recorder.fold(folds);
    for (index, node) in graph.nodes.iter().enumerate() {
        if !recorder.is_folded(index) {
            ops::plan(&mut recorder, node)?;
        }
        recorder.release_after(index);
    }
    recorder.finish()
}

/// Tokens of the longest input, where the graph has no table of positions that says.
const USUAL_POSITIONS: usize = 512;

/// Batches for which [`kernels`] looks, beside one item.
const BATCHES: [usize; 4] = [1, 4, 16, 64];

/// Tokens of the longest input of a graph.
pub fn longest_input(graph: &Graph) -> usize {
    let positions = graph.nodes.iter().find_map(|node| node.op.operator().positions());
    positions.map_or(USUAL_POSITIONS, |positions| graph.longest(positions))
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
    recordings.flat_map(Recording::into_every_dispatch).map(|dispatch| dispatch.kernel).collect()
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
