//! Operators that another one computes as it goes, since what they make is read by that one alone.
//!
//! Where a conversation goes on by a token, a dispatch costs more than what it computes. A linear operator of few rows takes the
//! root mean square out of its input itself, a gate is made where its two halves are, and attention of one query turns it, and
//! the key beside it, on the way.

use webnibble_common::graph::{Gate, Linear, Norm, Op, Rotary, ValueId};

use super::folds::Folds;
use super::recorder::Recorder;
use crate::ops::attention::step::is_of_one_query;
use crate::ops::linear::plan::takes_few_rows;

/// The folds of the recorder's graph, for its shapes and its adapter.
pub(super) fn folds(r: &Recorder<'_>) -> Folds {
    let graph = r.graph;
    let mut folds = Folds::none(graph);
    let mut readers = vec![0; graph.values.len()];
    let read = graph.nodes.iter().flat_map(|node| node.op.inputs()).chain(graph.outputs.iter().copied());
    read.for_each(|id| readers[id.0] += 1);
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some(value) = operand(&node.op) else { continue };
        let Some(maker) = folds.node_of(value) else { continue };
        if readers[value.0] == 1 && fits(r, &graph.nodes[maker].op, &node.op, node.output) {
            folds.fold(maker, index);
        }
    }
    folds
}

/// The operand whose maker an operator may compute.
fn operand(op: &Op) -> Option<ValueId> {
    match op {
        Op::Linear(Linear { x, .. }) | Op::Gate(Gate { x, .. }) => Some(*x),
        Op::Attention(attention) => Some(attention.q.value),
        _ => None,
    }
}

/// Whether `op`, which makes `output`, computes what `maker` does as it goes.
fn fits(r: &Recorder<'_>, maker: &Op, op: &Op, output: ValueId) -> bool {
    match (maker, op) {
        (Op::Norm(Norm { by, .. }), Op::Linear(linear)) => {
            by.is_rms_without_bias() && takes_few_rows(r, linear, output)
        }
        (Op::Linear(linear), Op::Gate(_)) => linear.is_plain() && takes_few_rows(r, linear, output),
        (Op::Rotary(Rotary { continues, .. }), Op::Attention(attention)) => {
            *continues && attention.k.value == attention.q.value && is_of_one_query(r, attention)
        }
        _ => false,
    }
}
