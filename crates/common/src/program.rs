//! Programs: named graphs over one set of weights, and the states that a conversation keeps between their runs.

use std::collections::BTreeSet;

use crate::graph::{Graph, GraphError, State, Weight};

/// Name of the graph that makes hidden states or embeddings of whole inputs.
pub const ENCODE: &str = "encode";

/// Name of the graph that continues a conversation: its inputs stand behind those of the runs before.
pub const DECODE: &str = "decode";

/// What a model family makes: graphs that share weights and states.
///
/// A graph's weights and states are the first of the program's, so that a `WeightId` or a `StateId` means the same in all of
/// them, the weights are laid out once, and what one graph writes the next one reads.
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
    /// A graph that changed weights or states of those before it.
    #[error(
        "graph `{graph}`: {what} {index} should be `{expected}` as in the graphs before it; new ones are added at the end"
    )]
    Changed {
        /// The graph.
        graph: String,
        /// "weight" or "state".
        what: &'static str,
        /// The first that differs.
        index: usize,
        /// The program's there.
        expected: String,
    },
    /// Two graphs have the same name.
    #[error("two graphs of the program are called `{0}`")]
    Duplicate(String),
    /// There is no graph of that name.
    #[error("the program should have a graph `{wanted}`, found {found:?}")]
    NoGraph {
        /// The name.
        wanted: String,
        /// Those that it has.
        found: Vec<String>,
    },
}

impl From<Graph> for Program {
    /// A program of that graph alone, as [`ENCODE`].
    fn from(graph: Graph) -> Self {
        Self::of(ENCODE, graph)
    }
}

impl Program {
    /// A program of one graph.
    pub fn of(name: &str, graph: Graph) -> Self {
        let (weights, states) = (graph.weights.clone(), graph.states.clone());
        Self { weights, states, graphs: vec![(name.to_owned(), graph)] }
    }

    /// Adds a graph that `build` makes over the weights and states that are there, which it finds by
    /// [`Graph::find_weight`] and [`Graph::find_state`]; those that it adds are the program's too.
    ///
    /// # Errors
    /// When it changed weights or states that were there.
    pub fn graph(&mut self, name: &str, build: impl FnOnce(&mut Graph)) -> Result<(), ProgramError> {
        let mut graph = Graph { weights: self.weights.clone(), states: self.states.clone(), ..Graph::default() };
        build(&mut graph);
        let changed = |what, index, expected: &String| {
            Err(ProgramError::Changed { graph: name.to_owned(), what, index, expected: expected.clone() })
        };
        if let Some(index) = first_change(&self.weights, &graph.weights) {
            return changed("weight", index, &self.weights[index].name);
        }
        if let Some(index) = first_change(&self.states, &graph.states) {
            return changed("state", index, &self.states[index].name);
        }
        self.weights.clone_from(&graph.weights);
        self.states.clone_from(&graph.states);
        self.graphs.push((name.to_owned(), graph));
        Ok(())
    }

    /// The first graph.
    ///
    /// # Errors
    /// When there is no graph at all.
    pub fn first(&self) -> Result<&Graph, ProgramError> {
        self.graphs().next().map(|(_, graph)| graph).ok_or_else(no_graph)
    }

    /// The last graph, which knows every weight and state that any of them has.
    ///
    /// # Errors
    /// When there is no graph at all.
    pub fn last(&self) -> Result<&Graph, ProgramError> {
        self.graphs().last().map(|(_, graph)| graph).ok_or_else(no_graph)
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

    /// Checks every graph, and that their names are unique.
    ///
    /// # Errors
    /// For the first graph that is not well formed, and for a name that is there twice.
    pub fn validate(&self) -> Result<(), ProgramError> {
        let mut seen = BTreeSet::new();
        if let Some((name, _)) = self.graphs().find(|(name, _)| !seen.insert(*name)) {
            return Err(ProgramError::Duplicate(name.to_owned()));
        }
        self.graphs().try_for_each(|(name, graph)| {
            graph.validate().map_err(|error| ProgramError::Graph { graph: name.to_owned(), error: Box::new(error) })
        })
    }
}

fn no_graph() -> ProgramError {
    ProgramError::NoGraph { wanted: "of any name".to_owned(), found: Vec::new() }
}

/// The first of `before` that is not there any more, or not what it was.
fn first_change<T: PartialEq>(before: &[T], now: &[T]) -> Option<usize> {
    (0..before.len()).find(|index| now.get(*index) != Some(&before[*index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Activation, Linear, Role, StateId};
    use crate::tensor::DType;

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

    /// As [`product`], with the state of the keys.
    fn keeping(graph: &mut Graph, name: &str) {
        if graph.find_state("keys").is_none() {
            graph.state(cache());
        }
        product(graph, name);
    }

    #[test]
    fn graphs_share_weights_and_states_by_the_same_ids() {
        let mut program = Program::default();
        program.graph("prefill", |graph| keeping(graph, "a")).unwrap();
        program.graph("decode", |graph| product(graph, "b")).unwrap();
        program.graph("last", |graph| keeping(graph, "a")).unwrap();
        program.validate().unwrap();
        let names: Vec<_> = program.weights().iter().map(|weight| &*weight.name).collect();
        assert_eq!(names, ["a", "b"]);
        let weight = |name: &str| program.named(name).unwrap().find_weight("a");
        assert!(weight("prefill").is_some() && weight("prefill") == weight("last"));
        assert_eq!(program.states(), [cache()]);
        assert_eq!(program.named("decode").unwrap().find_state("keys"), Some(StateId(0)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut program = Program::default();
        program.graph("main", |graph| product(graph, "a")).unwrap();
        let error = program.graph("wrong", |graph| graph.weights.clear()).unwrap_err().to_string();
        assert!(error.starts_with("graph `wrong`: weight 0 should be `a`"), "{error}");
        let error = program.named("decode").unwrap_err().to_string();
        assert_eq!(error, r#"the program should have a graph `decode`, found ["main"]"#);
        let mut keeps = Program::of("main", Graph { states: vec![cache()], ..Graph::default() });
        let error = keeps.graph("wrong", |graph| graph.states[0].dtype = DType::F32).unwrap_err().to_string();
        assert!(error.starts_with("graph `wrong`: state 0 should be `keys`"), "{error}");
        keeps.graph("twice", |graph| _ = graph.state(cache())).unwrap();
        assert_eq!(keeps.validate().unwrap_err().to_string(), "graph `twice`: two states are called `keys`");
        let mut twice = Program::of("main", Graph::default());
        twice.graph("main", |_| {}).unwrap();
        assert_eq!(twice.validate().unwrap_err().to_string(), "two graphs of the program are called `main`");
    }
}
