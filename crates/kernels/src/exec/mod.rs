//! What the two CPU executors share: checked inputs and weights, the values between operators, and errors.
//!
//! [`crate::reference`] is the oracle, [`crate::cpu`] the fast one. Both see an operator as [`Operands`], plain slices
//! and extents, so that neither knows how graphs and values are kept.

mod check;
mod int8;
mod operands;

use std::borrow::Cow;

use webnibble_common::graph::{Graph, GraphError, Node, ValueId};
use webnibble_common::quant::QuantError;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;

pub use check::{check_inputs, check_weights};
pub use int8::{Int8, Int8Linears};
pub(crate) use operands::LEAST_NORM;
pub use operands::{Attention, Embedding, LayerNorm, Linear, Norm, Operands, Pool, Strided};

/// The graph's outputs by name, in its order.
pub type Outputs = Vec<(String, Tensor)>;

/// Why a graph cannot be run, or what went wrong in it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The graph is not well formed, or the inputs are not those that it takes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An input without elements.
    #[error("input `{input}` should have at least one element, found shape {shape:?}")]
    Empty {
        /// The input.
        input: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An id that is no row of its table.
    #[error("input `{input}` should be below {rows}, found {id} at index {index}")]
    Id {
        /// The input.
        input: String,
        /// Index in row-major order.
        index: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// A sequence longer than the table of positions.
    #[error("sequences should have at most {limit} positions, found {found}: shorten the text, or truncate it")]
    Positions {
        /// Positions that the model has.
        limit: usize,
        /// Length of the sequences.
        found: usize,
    },
    /// A weight is missing, or is not what the graph says.
    #[error("weight `{name}` should be {expected}, found {found}")]
    Weight {
        /// The weight.
        name: String,
        /// Kind and shape by the graph.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An operator that cannot be computed in int8 as its activations say.
    #[error("activations of `{name}`: {error}")]
    Int8 {
        /// The operator, by its weight.
        name: String,
        /// What is wrong.
        error: QuantError,
    },
    /// Activations of an operator that the graph does not have.
    #[error("activations of `{name}`: the graph has no linear operator with a weight of that name")]
    NoLinear {
        /// The name.
        name: String,
    },
    /// A NaN or an infinity, in the first value that has one.
    #[error(
        "{maker} `{value}`: element {index} is {found}; inputs, weights and every operator's output must be finite"
    )]
    NonFinite {
        /// The operator that made it, or `input`.
        maker: &'static str,
        /// Name of the value.
        value: String,
        /// Index in row-major order.
        index: usize,
        /// The element.
        found: f32,
    },
}

impl ExecError {
    /// Whether the caller's input is at fault, and not the model or the executor.
    pub fn is_bad_input(&self) -> bool {
        match self {
            ExecError::Empty { .. } | ExecError::Id { .. } | ExecError::Positions { .. } => true,
            ExecError::Graph(error) => matches!(error, GraphError::Input { .. } | GraphError::Inputs { .. }),
            ExecError::NonFinite { maker, .. } => *maker == INPUT,
            ExecError::Weight { .. } | ExecError::Int8 { .. } | ExecError::NoLinear { .. } => false,
        }
    }
}

/// Who made an input, in [`ExecError::NonFinite`].
const INPUT: &str = "input";

/// Index and value of the first NaN or infinity.
pub fn first_non_finite(values: &[f32]) -> Option<(usize, f32)> {
    // A whole chunk at a time: a loop that may leave at every element is not vectorized.
    const CHUNK: usize = 256;
    for (chunk, part) in values.chunks(CHUNK).enumerate() {
        if part.iter().fold(false, |any, value| any | !value.is_finite()) {
            let index = part.iter().position(|value| !value.is_finite())?;
            return Some((chunk * CHUNK + index, part[index]));
        }
    }
    None
}

/// A run under way: the values that are still needed, and the next operator.
pub(crate) struct State<'a> {
    graph: &'a Graph,
    weights: &'a WeightMap,
    /// Linear operators that are computed in int8.
    int8: Option<&'a Int8Linears>,
    /// By [`ValueId`]: `None` before it is made, and after its last reader.
    values: Vec<Option<Cow<'a, Tensor>>>,
    /// By [`ValueId`]: the last node that reads it; outputs are kept to the end.
    last_reader: Vec<Option<usize>>,
    next: usize,
}

impl<'a> State<'a> {
    /// Checks graph, weights and inputs.
    pub(crate) fn new<S: AsRef<str>>(
        graph: &'a Graph,
        weights: &'a WeightMap,
        inputs: &'a [(S, Tensor)],
    ) -> Result<Self, ExecError> {
        graph.validate()?;
        check_weights(graph, weights)?;
        check_inputs(graph, inputs)?;
        let mut values = vec![None; graph.values.len()];
        for id in &graph.inputs {
            let name = &graph.value_of(*id).name;
            let given = inputs.iter().find(|(given, _)| given.as_ref() == name);
            values[id.0] = given.map(|(_, tensor)| Cow::Borrowed(tensor));
        }
        Ok(Self { graph, weights, int8: None, values, last_reader: last_readers(graph), next: 0 })
    }

    /// The same run with some linear operators in int8.
    pub(crate) fn with_int8(self, int8: &'a Int8Linears) -> Self {
        Self { int8: Some(int8), ..self }
    }

    /// Runs the next operator with `compute`; whether any is left after it.
    pub(crate) fn step(&mut self, compute: impl FnOnce(&Operands<'_>) -> Vec<f32>) -> Result<bool, ExecError> {
        let graph = self.graph;
        let Some(node) = graph.nodes.get(self.next) else { return Ok(false) };
        let (data, shape) = {
            let operands = Operands::resolve(&node.op, self);
            (compute(&operands), operands.output_shape(self.shape_of_first_input(node)))
        };
        if let Some((index, found)) = first_non_finite(&data) {
            let value = graph.value_of(node.output).name.clone();
            return Err(ExecError::NonFinite { maker: node.op.name(), value, index, found });
        }
        let tensor = Tensor::f32(shape, data).expect("an operator makes as many elements as its shape has");
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

    fn shape_of_first_input(&self, node: &Node) -> &[usize] {
        self.tensor(node.op.inputs()[0]).shape()
    }

    fn tensor(&self, id: ValueId) -> &Tensor {
        // `validate` checks that values are made before they are read; `step` drops them after their last reader.
        self.values[id.0].as_deref().expect("values are there until their last reader has run")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_non_finite_is_found_wherever_it_lies() {
        assert_eq!(first_non_finite(&[0.0; 1000]), None);
        for index in [0, 255, 256, 999] {
            let mut values = vec![1.0; 1000];
            values[index] = f32::NEG_INFINITY;
            assert_eq!(first_non_finite(&values), Some((index, f32::NEG_INFINITY)));
        }
        assert!(
            first_non_finite(&[0.0, f32::NAN, f32::INFINITY])
                .is_some_and(|(index, found)| index == 1 && found.is_nan())
        );
    }
}
