//! A whole graph as one program.

use webnibble_common::graph::{Bindings, Graph, Node};

use super::error::WebNnError;
use super::program::Program;
use super::recorder::{Recorder, Slice};
use super::target::Target;
use crate::ops;
use crate::plan::weights::Formats;

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
    // A builder drops what no output needs, and a dispatch takes the inputs that are left and no other.
    for id in graph.inputs.iter().filter(|id| graph.uses(**id)) {
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

/// Records what a node makes.
pub(super) fn record(recorder: &mut Recorder<'_>, node: &Node) -> Result<(), WebNnError> {
    let output = ops::webnn(recorder, &node.op)?;
    recorder.bind(node.output, output);
    Ok(())
}
