//! The graph: a model as a list of transformer-sized operators over named weights.
//!
//! A graph is built by a model family, checked once by [`Graph::validate`], and read by every backend.
//! Dimensions may be symbolic (`batch`, `seq`); an executable is prepared for concrete [`Bindings`].
//! Operators are coarse on purpose: a handful of them means few dispatches.

mod dim;
mod error;
mod operator;
mod ops;
mod state;
mod value;
mod weight;

use std::collections::BTreeSet;

use crate::tensor::DType;
use dim::show_dims;

pub use dim::{Bindings, Dim, DimError, Expression};
pub use error::GraphError;
pub use operator::{Checker, Operator, Positions, Read, Rows, Shapes};
pub use ops::*;
pub use state::{State, StateId, StateWrite, Written};
pub use value::{Columns, Value, ValueId};
pub use weight::{Role, Weight, WeightId};

/// An operator and the value it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// What it makes.
    pub output: ValueId,
}

impl Node {
    /// What the operator writes to states.
    fn writes(&self) -> Vec<StateWrite> {
        self.op.operator().states()
    }
}

/// A model: operators in order of execution, the values between them and the weights they need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Every value, inputs included.
    pub values: Vec<Value>,
    /// Every weight.
    pub weights: Vec<Weight>,
    /// What a conversation keeps between runs.
    pub states: Vec<State>,
    /// Operators, in order.
    pub nodes: Vec<Node>,
    /// What the caller gives; the value's name is the input's name.
    pub inputs: Vec<ValueId>,
    /// What the caller may get; the value's name is the output's name. The first is what the answer is made of where nobody
    /// asks for another.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// Adds an input.
    pub fn input(&mut self, name: &str, dtype: DType, shape: impl IntoIterator<Item = Dim>) -> ValueId {
        let id = self.value(name, dtype, shape.into_iter().collect());
        self.inputs.push(id);
        id
    }

    /// Adds a weight; `sources` are the checkpoint tensors stacked to make it.
    pub fn weight(&mut self, name: &str, shape: impl Into<Vec<usize>>, role: Role, sources: &[&str]) -> WeightId {
        let sources = sources.iter().map(ToString::to_string).collect();
        self.weights.push(Weight { name: name.to_owned(), shape: shape.into(), role, sources });
        WeightId(self.weights.len() - 1)
    }

    /// The weight of that name.
    pub fn find_weight(&self, name: &str) -> Option<WeightId> {
        self.weights.iter().position(|weight| weight.name == name).map(WeightId)
    }

    /// Adds a state.
    pub fn state(&mut self, state: State) -> StateId {
        self.states.push(state);
        StateId(self.states.len() - 1)
    }

    /// The state of that name.
    pub fn find_state(&self, name: &str) -> Option<StateId> {
        self.states.iter().position(|state| state.name == name).map(StateId)
    }

    /// Adds an operator whose output is called `name`; the shape is inferred.
    ///
    /// Panics when an operand's rank is too small to infer a shape from, which is a bug in the family that builds the graph.
    pub fn push(&mut self, name: &str, op: impl Into<Op>) -> ValueId {
        let op = op.into();
        let shape = op.operator().shape(&self.shapes());
        let output = self.value(name, op.operator().dtype(), shape);
        self.nodes.push(Node { op, output });
        output
    }

    /// Marks a value as an output.
    pub fn output(&mut self, value: ValueId) {
        self.outputs.push(value);
    }

    /// The output of that name.
    pub fn output_named(&self, name: &str) -> Option<ValueId> {
        self.outputs.iter().copied().find(|id| self.value_of(*id).name == name)
    }

    /// Names of the outputs.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|id| self.value_of(*id).name.as_str())
    }

    /// The same graph with these of its outputs alone, and the operators that they need, or that write states: a later run
    /// reads those. Values, weights, states and inputs stay what they are, with their ids, though some may have no use. Names
    /// that are no output's are passed over, and so is one that comes again.
    pub fn only<S: AsRef<str>>(&self, outputs: &[S]) -> Graph {
        let mut needed = BTreeSet::new();
        let named = outputs.iter().filter_map(|name| self.output_named(name.as_ref()));
        let outputs: Vec<ValueId> = named.filter(|id| needed.insert(*id)).collect();
        let mut nodes = Vec::new();
        for node in self.nodes.iter().rev() {
            if needed.contains(&node.output) || !node.writes().is_empty() {
                needed.extend(node.op.inputs());
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        Graph { nodes, outputs, ..self.clone() }
    }

    /// The same graph with its first output alone.
    pub fn answer(&self) -> Graph {
        let first: Vec<&str> = self.output_names().take(1).collect();
        self.only(&first)
    }

    /// The name of each linear operator's weight, in order of execution.
    pub fn linears(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| match &node.op {
            Op::Linear(linear) => Some(self.weight_of(linear.weight).name.as_str()),
            _ => None,
        })
    }

    /// Whether an operator reads the value, or it is an output.
    pub fn uses(&self, id: ValueId) -> bool {
        self.outputs.contains(&id) || self.nodes.iter().any(|node| node.op.inputs().contains(&id))
    }

    /// Number of elements of all weights.
    pub fn parameters(&self) -> u64 {
        // Without a checkpoint nobody has said that the counts are possible.
        let count = |shape: &[usize]| shape.iter().fold(1, |all: u64, extent| all.saturating_mul(*extent as u64));
        self.weights.iter().fold(0, |all, weight| all.saturating_add(count(&weight.shape)))
    }

    /// The value's description.
    pub fn value_of(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The weight's description.
    pub fn weight_of(&self, id: WeightId) -> &Weight {
        &self.weights[id.0]
    }

    /// The state's description.
    pub fn state_of(&self, id: StateId) -> &State {
        &self.states[id.0]
    }

    /// What a run writes to each state; `None` for a graph that uses no states.
    ///
    /// # Errors
    /// When a symbol is not bound.
    pub fn written(&self, bindings: &Bindings) -> Result<Option<Written>, GraphError> {
        let Some(write) = self.nodes.iter().flat_map(Node::writes).next() else {
            return Ok(None);
        };
        let shape = self.shape(write.from.value, bindings)?;
        Ok(Some(Written { batch: shape[0], positions: shape[1] }))
    }

    /// Positions that a sequence can have at most.
    pub fn longest(&self, positions: Positions) -> usize {
        self.weight_of(positions.table).shape[0].saturating_sub(positions.offset)
    }

    /// Concrete shape of a value under `bindings`.
    pub fn shape(&self, id: ValueId, bindings: &Bindings) -> Result<Vec<usize>, GraphError> {
        let value = self.value_of(id);
        bindings.extents(&value.shape).map_err(|error| GraphError::Dim { value: value.name.clone(), error })
    }

    /// Binds the graph's symbols from the shapes of the inputs, `(name, dtype, shape)` in any order.
    /// Every input must be there, once, with the type and rank that the graph says; expressions must come out as given.
    pub fn bind(&self, given: &[(&str, DType, &[usize])]) -> Result<Bindings, GraphError> {
        let mut bindings = Bindings::default();
        let inputs = self.pair_with_inputs(given)?;
        for (value, dtype, shape) in &inputs {
            let known = bindings.clone();
            let of_kind = *dtype == value.dtype && shape.len() == value.shape.len();
            let fits = of_kind
                && value.shape.iter().zip(*shape).all(|(dim, extent)| match dim {
                    Dim::Fixed(expected) => expected == extent,
                    Dim::Symbol(name) => bindings.bind(name, *extent),
                    // Its symbols may be another input's.
                    Dim::Expression(_) => true,
                });
            if !fits {
                return Err(wrong_input(value, *dtype, shape, &known));
            }
        }
        for (value, dtype, shape) in inputs {
            let expressions = value.shape.iter().zip(shape).filter(|(dim, _)| matches!(dim, Dim::Expression(_)));
            for (dim, extent) in expressions {
                let error = |error| GraphError::Dim { value: value.name.clone(), error };
                if bindings.extent(dim).map_err(error)? != *extent {
                    return Err(wrong_input(value, dtype, shape, &Bindings::default()));
                }
            }
        }
        Ok(bindings)
    }

    /// Checks operand shapes and types, order of execution and names.
    pub fn validate(&self) -> Result<(), GraphError> {
        check_unique("values", self.values.iter().map(|v| &v.name))?;
        check_unique("weights", self.weights.iter().map(|w| &w.name))?;
        check_unique("states", self.states.iter().map(|s| &s.name))?;
        let mut made = vec![false; self.values.len()];
        for id in &self.inputs {
            made[id.0] = true;
        }
        for node in &self.nodes {
            self.check(node, &made)?;
            made[node.output.0] = true;
        }
        self.check_states()?;
        match self.outputs.iter().find(|id| !made[id.0]) {
            Some(id) => Err(GraphError::Order {
                op: "graph",
                output: "output".to_owned(),
                value: self.value_of(*id).name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Checks one operator, before which those values are `made`.
    fn check(&self, node: &Node, made: &[bool]) -> Result<(), GraphError> {
        let op = node.op.name();
        if let Some(id) = node.op.inputs().into_iter().find(|id| !made[id.0]) {
            let name = |id: ValueId| self.value_of(id).name.clone();
            return Err(GraphError::Order { op, output: name(node.output), value: name(id) });
        }
        node.op.operator().check(&Checker { shapes: self.shapes(), op, output: node.output })
    }

    /// Every state is one operand's, and a run writes as many positions to each.
    fn check_states(&self) -> Result<(), GraphError> {
        let (mut used, mut rows) = (BTreeSet::new(), None);
        let writes = |node| Node::writes(node).into_iter().map(move |write| (node, write));
        for (node, StateWrite { state, from }) in self.nodes.iter().flat_map(writes) {
            let found = &self.value_of(from.value).shape[..2];
            let first = *rows.get_or_insert(found);
            let wrong = |expected: String| GraphError::State {
                op: node.op.name(),
                output: self.value_of(node.output).name.clone(),
                state: self.state_of(state).name.clone(),
                expected,
            };
            if !used.insert(state) {
                return Err(wrong("no other operand's".into()));
            }
            if found != first {
                let (first, found) = (show_dims(first), show_dims(found));
                return Err(wrong(format!("written {first} as the others, found {found}")));
            }
        }
        Ok(())
    }

    fn shapes(&self) -> Shapes<'_> {
        Shapes { values: &self.values, weights: &self.weights, states: &self.states }
    }

    fn value(&mut self, name: &str, dtype: DType, shape: Vec<Dim>) -> ValueId {
        self.values.push(Value { name: name.to_owned(), dtype, shape });
        ValueId(self.values.len() - 1)
    }

    /// Each input with the type and shape that were given for it.
    fn pair_with_inputs<'a>(&'a self, given: &[(&str, DType, &'a [usize])]) -> Result<Vec<GivenInput<'a>>, GraphError> {
        let of = |id: &ValueId| {
            let value = self.value_of(*id);
            given.iter().find(|(name, ..)| *name == value.name).map(|(_, dtype, shape)| (value, *dtype, *shape))
        };
        let pairs: Option<Vec<_>> = self.inputs.iter().map(of).collect();
        pairs.filter(|pairs| pairs.len() == given.len()).ok_or_else(|| GraphError::Inputs {
            expected: self.inputs.iter().map(|id| self.value_of(*id).name.clone()).collect(),
            found: given.iter().map(|(name, ..)| (*name).to_owned()).collect(),
        })
    }
}

/// An input of the graph, and the type and shape that were given for it.
type GivenInput<'a> = (&'a Value, DType, &'a [usize]);

/// `known` are the extents that inputs before it gave.
fn wrong_input(value: &Value, dtype: DType, shape: &[usize], known: &Bindings) -> GraphError {
    let symbols = value.shape.iter().filter_map(|dim| match dim {
        Dim::Symbol(name) => known.symbol(name).map(|extent| format!("{name} {extent}")),
        _ => None,
    });
    let mut symbols: Vec<String> = symbols.collect();
    symbols.dedup();
    let given = if symbols.is_empty() { String::new() } else { format!(" with {}", symbols.join(" and ")) };
    GraphError::Input {
        name: value.name.clone(),
        expected: format!("{} {}{given}", value.dtype, show_dims(&value.shape)),
        found: format!("{dtype} {shape:?}"),
    }
}

fn check_unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), GraphError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GraphError::Duplicate { what, name: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(k_of_x: usize, bias_len: usize) -> Graph {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, ["rows".into(), k_of_x.into()]);
        let weight = graph.weight("w", [5, 7], Role::Linear, &["w"]);
        let bias = Some(graph.weight("b", [bias_len], Role::Vector, &["b"]));
        let y = graph.push("y", Linear { x, weight, bias, activation: Activation::Gelu, residual: None });
        graph.output(y);
        graph
    }

    #[test]
    fn shapes_are_inferred_and_bound() {
        let graph = linear(7, 5);
        graph.validate().unwrap();
        let bindings = graph.bind(&[("x", DType::F32, &[3, 7])]).unwrap();
        assert_eq!(graph.shape(graph.outputs[0], &bindings).unwrap(), [3, 5]);
        assert!(matches!(graph.shape(graph.outputs[0], &Bindings::default()), Err(GraphError::Dim { .. })));
    }

    #[test]
    fn errors_name_operand_expected_and_found() {
        assert_eq!(linear(6, 5).validate().unwrap_err().to_string(), "linear `y`: x should be […, 7], found […, 6]");
        assert_eq!(linear(7, 4).validate().unwrap_err().to_string(), "linear `y`: bias should be [5], found [4]");
    }

    #[test]
    fn inputs_must_be_those_of_the_graph() {
        let graph = linear(7, 5);
        let error = graph.bind(&[("y", DType::F32, &[3, 7])]).unwrap_err();
        assert_eq!(error.to_string(), r#"inputs should be ["x"], found ["y"]"#);
        let error = graph.bind(&[("x", DType::U32, &[3, 7])]).unwrap_err();
        assert_eq!(error.to_string(), "input `x` should be f32 [rows, 7], found u32 [3, 7]");
    }

    #[test]
    fn operators_that_no_output_needs_are_left_out() {
        let mut graph = linear(7, 5);
        let y = graph.outputs[0];
        let weight = graph.weight("v", [3, 5], Role::Linear, &["v"]);
        let z = graph.push("z", Linear { x: y, weight, bias: None, activation: Activation::Tanh, residual: None });
        graph.output(z);
        assert_eq!(graph.output_names().collect::<Vec<_>>(), ["y", "z"]);
        let made = |graph: &Graph| graph.nodes.iter().map(|node| node.output).collect::<Vec<_>>();
        assert_eq!((made(&graph.answer()), made(&graph.only(&["z"]))), (vec![y], vec![y, z]));
        assert_eq!(graph.only(&["z"]).outputs, [z]);
        assert_eq!(graph.only(&["z", "y"]).outputs, [z, y]);
        assert!(graph.only(&["x"]).nodes.is_empty(), "no output is called so");
        for part in [graph.answer(), graph.only(&["z"])] {
            part.validate().unwrap();
            assert_eq!((part.weights.len(), part.inputs.len()), (3, 1));
        }
        assert!(graph.uses(z) && !graph.answer().uses(z));
        assert_eq!(graph.parameters(), 5 * 7 + 5 + 3 * 5);
    }

    #[test]
    fn an_input_that_differs_from_those_before_it_is_told_their_extents() {
        let mut graph = Graph::default();
        let tokens = || ["batch".into(), "seq".into()];
        let ids = graph.input("ids", DType::U32, tokens());
        let mask = graph.input("mask", DType::U32, tokens());
        graph.outputs.extend([ids, mask]);
        let error = graph.bind(&[("ids", DType::U32, &[1, 3]), ("mask", DType::U32, &[1, 4])]).unwrap_err();
        let expected = "input `mask` should be u32 [batch, seq] with batch 1 and seq 3, found u32 [1, 4]";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_value_is_made_before_it_is_read() {
        let mut graph = linear(7, 5);
        graph.nodes.clear();
        assert!(matches!(graph.validate(), Err(GraphError::Order { .. })));
    }

    #[test]
    fn an_unbound_symbol_is_named() {
        let graph = linear(7, 5);
        let error = graph.shape(graph.outputs[0], &Bindings::default()).unwrap_err();
        assert_eq!(error.to_string(), "value `y`: dimension `rows` is not bound");
    }

    #[test]
    fn an_input_may_be_as_long_as_an_expression_says() {
        let mut graph = Graph::default();
        let [past, seq] = ["past", "seq"].map(Dim::from);
        let all = past.clone() + seq.clone();
        let mask = graph.input("mask", DType::U32, [1.into(), all.clone()]);
        let x = graph.input("x", DType::F32, [1.into(), seq, 4.into()]);
        let cache = graph.input("cache", DType::F32, [1.into(), past, 4.into()]);
        graph.outputs.extend([mask, x, cache]);
        graph.validate().unwrap();
        let given = |all: usize| {
            let shapes: [(&str, DType, &[usize]); 3] =
                [("mask", DType::U32, &[1, all]), ("x", DType::F32, &[1, 2, 4]), ("cache", DType::F32, &[1, 5, 4])];
            graph.bind(&shapes)
        };
        assert_eq!(given(7).unwrap().extent(&all), Ok(7));
        let error = given(6).unwrap_err().to_string();
        assert_eq!(error, "input `mask` should be u32 [1, past + seq], found u32 [1, 6]");
    }

    #[test]
    fn every_operator_reads_what_its_checks_name() {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, ["batch".into(), "seq".into(), 12.into()]);
        let mask = graph.input("mask", DType::U32, ["batch".into(), "seq".into()]);
        let part = |index: usize| Columns { value: x, start: index * 4 };
        let attention = Attention { mask: Some(mask), ..Attention::new([0, 1, 2].map(part), 2, 2) };
        let y = graph.push("y", attention);
        assert_eq!(Op::from(attention).inputs(), [x, mask]);
        let z = graph.push("z", Pool { x: y, mask: Some(x), pooling: Pooling::Mean, normalize: false });
        assert_eq!(show_dims(&graph.value_of(z).shape), "[batch, 4]");
        let error = graph.validate().unwrap_err().to_string();
        assert_eq!(error, "pool `z`: mask should be u32 of rank 2, found f32 [batch, seq, 12]");
    }
}
