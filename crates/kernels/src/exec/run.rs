//! A run of a graph, operator by operator, whoever computes them.

use std::borrow::Cow;

use webnibble_common::graph::{Bindings, Graph, Op};
use webnibble_common::tensor::{Data, Tensor};
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
        let mut values = vec![None; graph.values.len()];
        for id in &graph.inputs {
            let name = &graph.value_of(*id).name;
            let given = inputs.iter().find(|(given, _)| given.as_ref() == name);
            values[id.0] = given.map(|(_, tensor)| Cow::Borrowed(tensor));
        }
        Ok(Self { graph, weights, int8: None, bindings, values, last_reader: last_readers(graph), next: 0 })
    }

    /// The same run with some linear operators in int8.
    pub(crate) fn with_int8(self, int8: &'a Int8Linears) -> Self {
        Self { int8: Some(int8), ..self }
    }

    /// Runs the next operator with `compute`; whether any is left after it.
    pub(crate) fn step(&mut self, compute: impl FnOnce(&Op, Operands<'_>) -> Data) -> Result<bool, ExecError> {
        let graph = self.graph;
        let Some(node) = graph.nodes.get(self.next) else { return Ok(false) };
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
        Ok(self.next < graph.nodes.len())
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
        Operands { graph: self.graph, weights: self.weights, int8: self.int8, values: &self.values }
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
