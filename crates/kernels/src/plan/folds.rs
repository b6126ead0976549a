//! Which nodes of a graph are computed by others.

use webnibble_common::graph::{Graph, ValueId};

/// Which nodes of a graph are computed by others.
#[derive(Debug, Default)]
pub(super) struct Folds {
    /// For each node the one that computes it, where another one does.
    into: Vec<Option<usize>>,
    /// The node that makes each value.
    makers: Vec<Option<usize>>,
}

impl Folds {
    /// Every node computes itself.
    pub(super) fn none(graph: &Graph) -> Self {
        let mut makers = vec![None; graph.values.len()];
        graph.nodes.iter().enumerate().for_each(|(index, node)| makers[node.output.0] = Some(index));
        Self { into: vec![None; graph.nodes.len()], makers }
    }

    /// Has a node be computed by another.
    pub(super) fn fold(&mut self, node: usize, into: usize) {
        self.into[node] = Some(into);
    }

    /// Whether another node computes it.
    pub(super) fn is_folded(&self, node: usize) -> bool {
        self.into[node].is_some()
    }

    /// The node at which it is computed.
    pub(super) fn at(&self, node: usize) -> usize {
        self.into[node].map_or(node, |into| self.at(into))
    }

    /// The node that makes a value; inputs have none.
    pub(super) fn node_of(&self, value: ValueId) -> Option<usize> {
        self.makers[value.0]
    }

    /// The node that makes a value, where the one that reads it computes it.
    pub(super) fn folded(&self, value: ValueId) -> Option<usize> {
        self.node_of(value).filter(|node| self.is_folded(*node))
    }
}
