//! Problems that the backends' tests share.

use webnibble_common::graph::{Activation, Node, Op};
use webnibble_common::tensor::Tensor;
use webnibble_kernels::cpu::run;
use webnibble_kernels::exec::ExecError;
use webnibble_kernels::problems::{Problem, problems};

/// The encoder with what its embeddings give as another output, in front.
pub(super) fn encoder_of_two_outputs(problem: &Problem) -> Problem {
    let mut problem = problem.clone();
    let first = problem.graph.nodes[0].output;
    problem.graph.outputs.insert(0, first);
    problem
}

/// The same inputs, but for the floats: those are multiplied.
pub(super) fn scaled(problem: &Problem, by: f32) -> Vec<(String, Tensor)> {
    let scaled = |(name, tensor): &(String, Tensor)| {
        let values = tensor.as_f32().map(|values| values.iter().map(|value| value * by).collect());
        let tensor = values.map_or_else(|_| tensor.clone(), |values| Tensor::f32(tensor.shape(), values).unwrap());
        (name.clone(), tensor)
    };
    problem.inputs.iter().map(scaled).collect()
}

/// Inputs of the same shapes, all of the largest float.
pub(super) fn largest(inputs: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    let largest = |(name, tensor): &(String, Tensor)| {
        let tensor = Tensor::f32(tensor.shape(), vec![f32::MAX; tensor.len()]).unwrap();
        (name.clone(), tensor)
    };
    inputs.iter().map(largest).collect()
}

/// A linear operator with inputs that are finite and an output that is not.
pub(super) fn overflowing() -> (Problem, Vec<(String, Tensor)>) {
    let is_plain = |problem: &Problem| match &problem.graph.nodes[..] {
        [Node { op: Op::Linear(op), .. }] => op.activation == Activation::Identity,
        _ => false,
    };
    let plain = problems().into_iter().filter(|problem| problem.name.starts_with("linear f32") && is_plain(problem));
    let mut with_inputs = plain.map(|problem| (largest(&problem.inputs), problem));
    let overflows = |(inputs, problem): &(Vec<_>, Problem)| {
        matches!(run(&problem.graph, &problem.weights, inputs), Err(ExecError::NonFinite { maker: "linear", .. }))
    };
    let (inputs, problem) = with_inputs.find(overflows).expect("sums of the largest float overflow");
    (problem, inputs)
}
