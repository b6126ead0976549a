//! From a graph to a WebNN program: constants, operators and their order, as plain data.
//!
//! [`lower`] makes a [`Program`] for concrete shapes, and [`lower_parts`] several that run side by side; a backend
//! gives its constants ([`ConstantMaker::bytes`]) to an `MLGraphBuilder` and makes its calls
//! ([`Operation::arguments`]). Nothing in here needs a browser: what one takes is told by [`Limits`].
//!
//! Every float value between operators is two-dimensional, `[rows, columns]`: WebNN's `gemm` takes no more, and what
//! attention and pooling need is a reshape away. How weights are given to the graph is a [`Lowering`].

mod attention;
mod bucket;
mod constants;
mod cut;
mod embedding;
mod error;
mod formats;
mod infer;
mod limits;
mod linear;
mod normalize;
mod pool;
mod program;
mod recorder;
mod schedule;
#[cfg(test)]
mod tests;

pub use bucket::{Bucket, bucket_of, copy_rows, longest};
pub use constants::{Bytes, CodePart, Constant, ConstantMaker, Int8Part, Sign, Source};
pub use error::WebNnError;
pub use formats::{Candidate, Lowering, Request, candidates};
pub use limits::Limits;
pub use program::{Argument, Arguments, Call, DataType, Operand, Operation, Port, Program};
pub use schedule::{Schedule, lower_parts};

use std::collections::BTreeMap;

use webnibble_common::graph::{Bindings, Graph, Node, Op};
use webnibble_common::quant::LinearActivations;

use crate::plan::Formats;
use recorder::{Recorder, Slice};

/// Ranges of activations, by the name of the linear operator's weight.
pub type Ranges = BTreeMap<String, LinearActivations>;

/// What a program is made for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What the context takes.
    pub limits: &'a Limits,
    /// How weights are given to the graph.
    pub lowering: Lowering,
    /// Ranges of activations, for [`Lowering::Int8`]; linear operators that are not in it are computed in floats.
    pub ranges: &'a Ranges,
}

/// Lowers `graph`, whose matrices have `formats`, for the shapes in `bindings`.
///
/// # Errors
/// When the graph does not fit the bindings, when a weight has no format, and when the context does not take an operator
/// or a tensor of the size that is needed.
pub fn lower(
    graph: &Graph,
    formats: &Formats,
    bindings: &Bindings,
    target: &Target<'_>,
) -> Result<Program, WebNnError> {
    let mut recorder = Recorder::new(graph, formats, bindings, target)?;
    let whole = |id| -> Result<Slice, WebNnError> {
        let shape = graph.shape(id, bindings)?;
        Ok(Slice { name: graph.value_of(id).name.clone(), shape: shape.clone(), offset: 0, whole: shape })
    };
    for id in &graph.inputs {
        let operand = recorder.read(*id, whole(*id)?)?;
        recorder.bind(*id, operand);
    }
    for node in &graph.nodes {
        record(&mut recorder, node)?;
    }
    for id in &graph.outputs {
        recorder.write(*id, whole(*id)?)?;
    }
    Ok(recorder.finish())
}

fn record(recorder: &mut Recorder<'_>, node: &Node) -> Result<(), WebNnError> {
    let output = match &node.op {
        Op::Embedding { .. } => embedding::record(recorder, &node.op)?,
        Op::Linear { .. } => linear::record(recorder, &node.op)?,
        Op::LayerNorm { x, norm } => {
            let x = recorder.value(*x)?;
            normalize::record(recorder, x, *norm)?
        }
        Op::Attention { .. } => attention::record(recorder, &node.op)?,
        Op::Pool { .. } => pool::record(recorder, &node.op)?,
    };
    recorder.bind(node.output, output);
    Ok(())
}
