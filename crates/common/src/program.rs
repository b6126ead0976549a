//! Programs: named graphs over one set of weights, and the states that a conversation keeps between their runs.

use std::collections::BTreeSet;

use crate::graph::{Dim, Graph, GraphError, Weight};
use crate::tensor::DType;

/// Name of the graph that makes hidden states or embeddings of whole inputs.
pub const ENCODE: &str = "encode";

/// What a conversation keeps of every position that it has seen, such as the keys of a layer's attention. It stays on the
/// device, belongs to one [`StateSet`](crate::state::StateSet), and is written in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Name for messages and GPU labels, unique in the program.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions of what is kept of one position of one item of the batch.
    pub shape: Vec<Dim>,
    /// Positions that it has room for at most; 1 for what does not grow.
    pub capacity: Dim,
}

/// What a model family makes: graphs that share weights and states.
///
/// A graph's weights are the first of the program's, so that a `WeightId` means the same in all of them, and the weights
/// are laid out once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    weights: Vec<Weight>,
    states: Vec<State>,
    graphs: Vec<(String, Graph)>,
}

/// Why a program is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// One of its graphs is not.
    #[error("graph `{graph}`: {error}")]
    Graph {
        /// Which.
        graph: String,
        /// Why.
        error: Box<GraphError>,
    },
    /// A graph that changed weights of those before it.
    #[error(
        "graph `{graph}`: weight {index} should be `{expected}` as in the graphs before it; weights are added at the end"
    )]
    Weights {
        /// The graph.
        graph: String,
        /// The first weight that differs.
        index: usize,
        /// The program's weight there.
        expected: String,
    },
    /// Two graphs or two states have the same name.
    #[error("two {what} of the program are called `{name}`")]
    Duplicate {
        /// "graphs" or "states".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// There is no graph of that name.
    #[error("the program should have a graph `{wanted}`, found {found:?}")]
    NoGraph {
        /// The name.
        wanted: String,
        /// Those that it has.
        found: Vec<String>,
    },
}

impl Program {
    /// A program of one graph without states.
    pub fn of(name: &str, graph: Graph) -> Self {
        Self { weights: graph.weights.clone(), states: Vec::new(), graphs: vec![(name.to_owned(), graph)] }
    }

    /// Adds a state.
    pub fn state(&mut self, state: State) {
        self.states.push(state);
    }

    /// Adds a graph that `build` makes over the weights that are there, which it finds by
    /// [`Graph::find_weight`](crate::graph::Graph::find_weight); those that it adds are the program's too.
    ///
    /// # Errors
    /// When it changed weights that were there.
    pub fn graph(&mut self, name: &str, build: impl FnOnce(&mut Graph)) -> Result<(), ProgramError> {
        let mut graph = Graph { weights: self.weights.clone(), ..Graph::default() };
        build(&mut graph);
        let differs = (0..self.weights.len()).find(|index| graph.weights.get(*index) != Some(&self.weights[*index]));
        if let Some(index) = differs {
            let expected = self.weights[index].name.clone();
            return Err(ProgramError::Weights { graph: name.to_owned(), index, expected });
        }
        self.weights.clone_from(&graph.weights);
        self.graphs.push((name.to_owned(), graph));
        Ok(())
    }

    /// Every weight of every graph, each once.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// What a conversation keeps.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The graphs by their names, in the order in which they were added.
    pub fn graphs(&self) -> impl Iterator<Item = (&str, &Graph)> {
        self.graphs.iter().map(|(name, graph)| (name.as_str(), graph))
    }

    /// The graph of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> Result<&Graph, ProgramError> {
        let found = self.graphs().find(|(given, _)| *given == name).map(|(_, graph)| graph);
        found.ok_or_else(|| ProgramError::NoGraph {
            wanted: name.to_owned(),
            found: self.graphs().map(|(name, _)| name.to_owned()).collect(),
        })
    }

    /// Checks every graph, and that names are unique.
    ///
    /// # Errors
    /// For the first graph that is not well formed, and for a name that is there twice.
    pub fn validate(&self) -> Result<(), ProgramError> {
        unique("graphs", self.graphs().map(|(name, _)| name))?;
        unique("states", self.states.iter().map(|state| &*state.name))?;
        self.graphs().try_for_each(|(name, graph)| {
            graph.validate().map_err(|error| ProgramError::Graph { graph: name.to_owned(), error: Box::new(error) })
        })
    }
}

fn unique<'a>(what: &'static str, mut names: impl Iterator<Item = &'a str>) -> Result<(), ProgramError> {
    let mut seen = BTreeSet::new();
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => Err(ProgramError::Duplicate { what, name: name.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Linear, Role};

    /// `x · wᵀ` over the weight called `name`, which is made where it is not there.
    fn product(graph: &mut Graph, name: &str) {
        let x = graph.input("x", DType::F32, ["rows".into(), 4.into()]);
        let weight = graph.find_weight(name).unwrap_or_else(|| graph.weight(name, [3, 4], Role::Linear, &[name]));
        let y = graph.push("y", Linear { x, weight, bias: None, activation: Activation::Identity, residual: None });
        graph.output(y);
    }

    fn cache() -> State {
        State { name: "keys".into(), dtype: DType::F16, shape: vec![2.into(), 8.into()], capacity: "capacity".into() }
    }

    #[test]
    fn graphs_share_weights_by_the_same_ids() {
        let mut program = Program::default();
        program.graph("prefill", |graph| product(graph, "a")).unwrap();
        program.graph("decode", |graph| product(graph, "b")).unwrap();
        program.graph("last", |graph| product(graph, "a")).unwrap();
        program.state(cache());
        program.validate().unwrap();
        let names: Vec<_> = program.weights().iter().map(|weight| &*weight.name).collect();
        assert_eq!(names, ["a", "b"]);
        let weight = |name: &str| program.named(name).unwrap().find_weight("a");
        assert!(weight("prefill").is_some() && weight("prefill") == weight("last"));
        assert_eq!(program.states(), [cache()]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut program = Program::default();
        program.graph("main", |graph| product(graph, "a")).unwrap();
        let error = program.graph("wrong", |graph| graph.weights.clear()).unwrap_err().to_string();
        assert!(error.starts_with("graph `wrong`: weight 0 should be `a`"), "{error}");
        let error = program.named("decode").unwrap_err().to_string();
        assert_eq!(error, r#"the program should have a graph `decode`, found ["main"]"#);
        [cache(), cache()].into_iter().for_each(|state| program.state(state));
        assert_eq!(program.validate().unwrap_err().to_string(), "two states of the program are called `keys`");
        let mut twice = Program::of("main", Graph::default());
        twice.graph("main", |_| {}).unwrap();
        assert_eq!(twice.validate().unwrap_err().to_string(), "two graphs of the program are called `main`");
    }
}
