//! Which graph of a program runs, and how much of it.

use webnibble_common::graph::Graph;
use webnibble_common::program::Program;
use webnibble_common::wire::RemoteError;

use crate::error::internal;

/// A program, one of its graphs, and that graph as far as the outputs need it that are wanted.
pub(super) struct Selected {
    program: Program,
    name: String,
    wanted: Graph,
}

impl Selected {
    /// The first graph with every output.
    pub(super) fn first(program: Program) -> Self {
        let (name, graph) = program.graphs().next().expect("a program that is loaded has a graph");
        let (name, wanted) = (name.to_owned(), graph.clone());
        Self { program, name, wanted }
    }

    /// The graph of that name, for these outputs alone.
    ///
    /// # Errors
    /// `internal` where the program has no such graph.
    pub(super) fn want(&mut self, name: &str, outputs: &[String]) -> Result<(), RemoteError> {
        let graph = self.program.named(name).map_err(|e| internal(e.to_string()))?;
        self.wanted = graph.only(outputs);
        name.clone_into(&mut self.name);
        Ok(())
    }

    /// What every graph of the program knows: all weights and states.
    pub(super) fn last(&self) -> &Graph {
        self.program.last().expect("a program that is loaded has a graph")
    }

    /// The selected graph's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What runs. Inputs, values, weights and states are those of the whole graph.
    pub(super) fn wanted(&self) -> &Graph {
        &self.wanted
    }
}
