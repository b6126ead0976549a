//! A run of a graph, operator by operator, whoever computes them.

use std::borrow::Cow;

use webnibble_common::graph::{Bindings, Graph, Node, Op, StateWrite, Written};
use webnibble_common::state::{StateError, StateSet};
use webnibble_common::tensor::{Data, Tensor, element_count};
use webnibble_common::weights::WeightMap;

use super::check::{check_inputs, check_weights};
use super::error::ExecError;
use super::finite::first_non_finite_of;
use super::int8::Int8Linears;
use super::operands::Operands;

/// The graph's outputs by name, in its order.
pub type Outputs = Vec<(String, Tensor)>;

/// A run of a graph: the values that are still needed, and the next operator.
pub(crate) struct Run<'a> {
    graph: &'a Graph,
    weights: &'a WeightMap,
    /// Linear operators that are computed in int8.
    int8: Option<&'a Int8Linears>,
    bindings: Bindings,
    /// What the run writes to each state; `None` for a graph without.
    written: Option<Written>,
    /// What the conversation keeps.
    states: Option<&'a mut StateSet>,
    /// By [`ValueId`](webnibble_common::graph::ValueId): `None` before it is made, and after its last reader.
    values: Vec<Option<Cow<'a, Tensor>>>,
    /// By [`ValueId`](webnibble_common::graph::ValueId): the last node that reads it; outputs are kept to the end.
    last_reader: Vec<Option<usize>>,
    next: usize,
}

impl<'a> Run<'a> {
    /// Checks graph, weights and inputs.
    pub(crate) fn new<S: AsRef<str>>(
        graph: &'a Graph,
        weights: &'a WeightMap,
        inputs: &'a [(S, Tensor)],
    ) -> Result<Self, ExecError> {
        graph.validate()?;
        check_weights(graph, weights)?;
        let bindings = check_inputs(graph, inputs)?;
        let written = graph.written(&bindings)?;
        let mut values = vec![None; graph.values.len()];
        for id in &graph.inputs {
            let name = &graph.value_of(*id).name;
            let given = inputs.iter().find(|(given, _)| given.as_ref() == name);
            values[id.0] = given.map(|(_, tensor)| Cow::Borrowed(tensor));
        }
        let last_reader = last_readers(graph);
        Ok(Self { graph, weights, int8: None, bindings, written, states: None, values, last_reader, next: 0 })
    }

    /// The same run with some linear operators in int8.
    pub(crate) fn with_int8(self, int8: &'a Int8Linears) -> Self {
        Self { int8: Some(int8), ..self }
    }

    /// The same run in a conversation, whose states have room for what it writes.
    pub(crate) fn with_states(self, states: &'a mut StateSet) -> Result<Self, ExecError> {
        if let Some(written) = self.written {
            states.reserve(written)?;
        }
        Ok(Self { states: Some(states), ..self })
    }

    /// Runs the next operator with `compute`; whether any is left after it. After the last one the conversation has the run's
    /// positions.
    pub(crate) fn step(&mut self, compute: impl FnOnce(&Op, Operands<'_>) -> Data) -> Result<bool, ExecError> {
        let graph = self.graph;
        let Some(node) = graph.nodes.get(self.next) else { return Ok(false) };
        self.write_states(node)?;
        let data = compute(&node.op, self.operands());
        let shape = graph.shape(node.output, &self.bindings)?;
        let tensor = Tensor::new(shape, data).expect("an operator makes as many elements as its shape has");
        debug_assert_eq!(tensor.dtype(), graph.value_of(node.output).dtype, "{}", node.op.name());
        if let Some((index, found)) = first_non_finite_of(&tensor) {
            let value = graph.value_of(node.output).name.clone();
            return Err(ExecError::NonFinite { maker: node.op.name(), value, index, found });
        }
        self.values[node.output.0] = Some(Cow::Owned(tensor));
        for input in node.op.inputs() {
            if self.last_reader[input.0] == Some(self.next) {
                self.values[input.0] = None;
            }
        }
        self.next += 1;
        let more = self.next < graph.nodes.len();
        if let (false, Some(states), Some(written)) = (more, &mut self.states, self.written) {
            states.set_past(states.past() + written.positions);
        }
        Ok(more)
    }

    /// Writes the run's positions to the states that an operator reads.
    fn write_states(&mut self, node: &Node) -> Result<(), ExecError> {
        let writes = node.op.operator().states();
        if self.states.is_none() && !writes.is_empty() {
            let states = self.graph.states.iter().map(|state| state.name.clone()).collect();
            return Err(ExecError::NoStates { states });
        }
        for write in writes {
            let positions = self.positions(write)?;
            if let Some(states) = &mut self.states {
                states.write(&self.graph.state_of(write.state).name, &positions)?;
            }
        }
        Ok(())
    }

    /// What is written to a state, `[batch, positions, shape…]`.
    fn positions(&self, StateWrite { state, from }: StateWrite) -> Result<Tensor, ExecError> {
        let state = self.graph.state_of(state);
        let mut shape = self.graph.shape(from.value, &self.bindings)?;
        let rows = shape[0] * shape[1];
        shape.truncate(2);
        let position = self.bindings.extents(&state.shape);
        shape.extend(position.map_err(|error| StateError::Dim { state: state.name.clone(), error })?);
        let (columns, width) = (self.operands().columns(from), element_count(&shape[2..]));
        let data: Vec<f32> = (0..rows).flat_map(|row| columns.row(row, 0, width)).copied().collect();
        Ok(Tensor::f32(shape, data).expect("as many rows as positions"))
    }

    /// The outputs, once every operator has run.
    pub(crate) fn into_outputs(mut self) -> Outputs {
        let graph = self.graph;
        let mut outputs = Outputs::new();
        for (place, id) in graph.outputs.iter().enumerate() {
            let again = graph.outputs[place + 1..].contains(id);
            let value = if again { self.values[id.0].clone() } else { self.values[id.0].take() };
            let tensor = value.expect("outputs are kept to the end").into_owned();
            outputs.push((graph.value_of(*id).name.clone(), tensor));
        }
        outputs
    }

    fn operands(&self) -> Operands<'_> {
        Operands {
            graph: self.graph,
            weights: self.weights,
            int8: self.int8,
            states: self.states.as_deref(),
            values: &self.values,
        }
    }
}

/// For each value the last node that reads it; `None` where nothing does, and for outputs.
fn last_readers(graph: &Graph) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for input in node.op.inputs() {
            last[input.0] = Some(index);
        }
    }
    for output in &graph.outputs {
        last[output.0] = None;
    }
    last
}
