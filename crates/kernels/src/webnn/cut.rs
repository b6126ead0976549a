//! Where a graph can be cut so that parts of its rows are computed side by side.
//!
//! Most operators compute each row of a sequence by itself. Attention needs the keys and values of every row, and pooling
//! needs every row ([`Rows`]): before such operators, what the parts made so far must be there. So a graph falls into
//! stages; within one, parts need nothing of one another.

use std::collections::BTreeSet;
use std::ops::Range;

use webnibble_common::graph::{Dim, Graph, Op, Rows, ValueId};

/// A graph in stages.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    /// The symbol whose extent is divided among parts: always a second dimension.
    pub(super) symbol: &'static str,
    /// Values that each part has its own rows of.
    pub(super) divided: BTreeSet<ValueId>,
    /// In order of execution.
    pub(super) stages: Vec<Stage>,
}

/// Operators between two points where parts meet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    /// Which of the graph's nodes.
    pub(super) nodes: Range<usize>,
    /// Whether parts compute it, each its rows; otherwise it is computed once.
    pub(super) divided: bool,
}

/// Values of which an operator reads the rows that it computes.
pub(super) fn row_reads(op: &Op) -> Vec<ValueId> {
    read_as(op, |rows| rows == Rows::Same)
}

/// Values that an operator reads all of, whatever it computes.
pub(super) fn whole_reads(op: &Op) -> Vec<ValueId> {
    read_as(op, |rows| rows != Rows::Same)
}

fn read_as(op: &Op, which: impl Fn(Rows) -> bool) -> Vec<ValueId> {
    op.operator().reads().into_iter().filter(|read| which(read.rows)).map(|read| read.value).collect()
}

/// Cuts a graph; `None` for one whose rows are not those of one sequence.
pub(super) fn cut(graph: &Graph) -> Option<Cut> {
    let symbol = graph.inputs.iter().find_map(|id| match graph.value_of(*id).shape.get(1) {
        Some(Dim::Symbol(name)) => Some(*name),
        _ => None,
    })?;
    let divided = divided(graph, symbol)?;
    let stages = stages(graph, &divided);
    stages.iter().any(|stage| stage.divided).then_some(Cut { symbol, divided, stages })
}

fn divided(graph: &Graph, symbol: &'static str) -> Option<BTreeSet<ValueId>> {
    let in_rows = |id: ValueId| graph.value_of(id).shape.get(1) == Some(&Dim::Symbol(symbol));
    let read_by_row: BTreeSet<ValueId> = graph.nodes.iter().flat_map(|node| row_reads(&node.op)).collect();
    let inputs = graph.inputs.iter().copied().filter(|id| read_by_row.contains(id) && in_rows(*id));
    let mut divided: BTreeSet<ValueId> = inputs.collect();
    for node in &graph.nodes {
        let reads = row_reads(&node.op);
        let count = reads.iter().filter(|id| divided.contains(id)).count();
        if count > 0 {
            // An operator with rows of some values and all of others has no rows of its own.
            if count < reads.len() || !in_rows(node.output) {
                return None;
            }
            divided.insert(node.output);
        }
        // Masks are given whole.
        if read_as(&node.op, |rows| rows == Rows::Mask).iter().any(|mask| divided.contains(mask)) {
            return None;
        }
    }
    Some(divided)
}

fn stages(graph: &Graph, divided: &BTreeSet<ValueId>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut made = BTreeSet::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let by_parts = divided.contains(&node.output);
        let waits = whole_reads(&node.op).iter().any(|id| divided.contains(id) && made.contains(id));
        match stages.last_mut() {
            Some(stage) if stage.divided == by_parts && !waits => stage.nodes.end = index + 1,
            _ => {
                made.clear();
                stages.push(Stage { nodes: index..index + 1, divided: by_parts });
            }
        }
        made.insert(node.output);
    }
    stages
}
