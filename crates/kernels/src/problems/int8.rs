//! Linear with activations in int8: zero points, shifted channels of input and output, what comes after the product.

use std::collections::BTreeMap;

use webnibble_common::graph::{Activation, Graph, Linear, Role};
use webnibble_common::package::Activations;
use webnibble_common::quant::{ActivationScale, Bits, Format, Granularity, LinearActivations, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use super::Problem;
use super::random::Random;
use crate::exec::{ExecError, Int8Linears, Outputs};
use crate::reference;

/// A step of the output, relative to the largest: an executor that rounds a value the other way is right.
const ONE_STEP: f64 = 0.015;

/// A case whose linear operators are computed in int8.
#[derive(Clone, Debug)]
pub struct Int8Problem {
    /// The operator, its weights and inputs.
    pub problem: Problem,
    /// Scales of its activations.
    pub activations: Activations,
}

impl Int8Problem {
    /// The expected outputs.
    ///
    /// # Errors
    /// None that a well-formed problem has.
    pub fn reference(&self) -> Result<Outputs, ExecError> {
        let Problem { graph, weights, inputs, .. } = &self.problem;
        reference::run_int8(graph, weights, &Int8Linears::new(graph, weights, &self.activations)?, inputs)
    }

    /// The largest error of `found`.
    ///
    /// # Errors
    /// As [`Problem::check`].
    pub fn check(&self, found: &Outputs) -> Result<f64, String> {
        let expected = self.reference().map_err(|error| format!("{}: {error}", self.problem.name))?;
        self.problem.check_against(&expected, found)
    }
}

/// A case whose linear operators are computed in int8 by ranges of their own input.
#[derive(Clone, Debug)]
pub struct DynamicInt8Problem(pub Problem);

/// Codes are the same everywhere, and sums of a group are exact; scales and sums over groups are rounded.
const ROUNDING: f64 = 1e-4;

impl DynamicInt8Problem {
    /// The expected outputs.
    ///
    /// # Errors
    /// None that a well-formed problem has.
    pub fn reference(&self) -> Result<Outputs, ExecError> {
        let Problem { graph, weights, inputs, .. } = &self.0;
        reference::run_int8(graph, weights, &Int8Linears::dynamic(graph, weights), inputs)
    }

    /// The largest error of `found`.
    ///
    /// # Errors
    /// As [`Problem::check`].
    pub fn check(&self, found: &Outputs) -> Result<f64, String> {
        let expected = self.reference().map_err(|error| format!("{}: {error}", self.0.name))?;
        self.0.check_against(&expected, found)
    }
}

/// Every problem of ranges that are found as values come: odd shapes, rows that make no full tile, rows of nothing, and
/// channels far larger than the others.
pub fn dynamic_int8_problems() -> Vec<DynamicInt8Problem> {
    let linear = |shape: [usize; 2], n: usize, activation: Activation, granularity: Granularity| {
        let mut problem = problem(shape, n, BTreeMap::new(), BTreeMap::new(), activation, granularity).problem;
        problem.name = problem.name.replace("int8", "dynamic int8");
        problem.tolerance = ROUNDING;
        problem
    };
    let mut outliers = linear([13, 384], 40, Activation::Identity, Granularity::Channel);
    outliers.name.push_str(", outliers");
    let channels = [(3, 40.0), (200, -500.0)];
    change(&mut outliers, |row, values| channels.iter().for_each(|(at, factor)| values[*at] *= factor + row as f32));
    let mut flat = linear([7, 192], 24, Activation::Relu, Granularity::Channel);
    flat.name.push_str(", rows of one value");
    change(&mut flat, |row, values| values[..128].fill([0.0, -3.5, 1e-41][row % 3]));
    let problems = [
        linear([1, 16], 16, Activation::Identity, Granularity::Channel),
        linear([17, 129], 65, Activation::Gelu, Granularity::Channel),
        linear([6, 64], 8, Activation::Identity, Granularity::Tensor),
        linear([33, 384], 384, Activation::Tanh, Granularity::Channel),
        linear([11, 1536], 100, Activation::Identity, Granularity::Channel),
        outliers,
        flat,
    ];
    problems.map(DynamicInt8Problem).into()
}

/// Changes the rows of `x`.
fn change(problem: &mut Problem, change: impl Fn(usize, &mut [f32])) {
    let x = &mut problem.inputs[0].1;
    let shape = x.shape().to_vec();
    let mut values = x.as_f32().expect("it is made of f32").to_vec();
    values.chunks_exact_mut(shape[1]).enumerate().for_each(|(row, values)| change(row, values));
    *x = super::random::floats(&shape, values);
}

/// Every problem.
pub fn int8_problems() -> Vec<Int8Problem> {
    let shifted = |channels: &[(usize, u8)]| -> BTreeMap<usize, u8> { channels.iter().copied().collect() };
    let none = || shifted(&[]);
    vec![
        problem([1, 16], 16, none(), none(), Activation::Identity, Granularity::Channel),
        problem([17, 129], 65, none(), none(), Activation::Gelu, Granularity::Channel),
        problem([5, 64], 48, shifted(&[(3, 2)]), none(), Activation::Identity, Granularity::Channel),
        problem([5, 64], 48, none(), shifted(&[(7, 2), (47, 1)]), Activation::Relu, Granularity::Channel),
        problem(
            [33, 384],
            384,
            shifted(&[(0, 2), (383, 1)]),
            shifted(&[(1, 1)]),
            Activation::Tanh,
            Granularity::Channel,
        ),
        problem([12, 1536], 384, none(), shifted(&[(100, 2)]), Activation::Identity, Granularity::Tensor),
    ]
}

fn problem(
    shape: [usize; 2],
    n: usize,
    input_shifts: BTreeMap<usize, u8>,
    output_shifts: BTreeMap<usize, u8>,
    activation: Activation,
    granularity: Granularity,
) -> Int8Problem {
    let (inputs, outputs) = (input_shifts.len(), output_shifts.len());
    let name = format!("linear int8 {granularity:?} {shape:?} -> {n} {activation:?}, {inputs} and {outputs} shifted");
    let format = Format { bits: Bits::B8, scheme: Scheme::Symmetric, granularity };
    let mut random = Random::named(&name);
    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["rows".into(), shape[1].into()]);
    let residual = graph.input("residual", DType::F32, ["rows".into(), n.into()]);
    let weight = graph.weight("weight", [n, shape[1]], Role::Linear, &[]);
    let bias = graph.weight("bias", [n], Role::Vector, &[]);
    let op = Linear { x, weight, bias: Some(bias), activation, residual: Some(residual) };
    let y = graph.push("y", op);
    graph.output(y);
    let weights = WeightMap::from([
        ("weight".to_owned(), random.matrix([n, shape[1]], format)),
        ("bias".to_owned(), random.vector(n, 0.1)),
    ]);
    let inputs =
        vec![("x".to_owned(), random.tensor(&shape, 1.0)), ("residual".to_owned(), random.tensor(&[shape[0], n], 0.1))];
    // Ranges that clip some of the inputs and outputs, with zero in another place each.
    let input = ActivationScale { shifts: input_shifts, ..ActivationScale::of_range(-2.5, 3.0) };
    let widest_step = output_shifts.values().copied().max().map_or(1.0, |shift| f64::from(1_u32 << shift));
    let output = ActivationScale { shifts: output_shifts, ..ActivationScale::of_range(-3.0, 2.0) };
    let linears = BTreeMap::from([("weight".to_owned(), LinearActivations { input, output })]);
    Int8Problem {
        problem: Problem { name, graph, weights, inputs, tolerance: ONE_STEP * widest_step },
        activations: Activations { source: "problem".to_owned(), samples: 1, linears },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Executor;

    #[test]
    fn the_cpu_solves_every_problem() {
        for case in int8_problems() {
            let Problem { graph, weights, inputs, name, .. } = &case.problem;
            let int8 = Int8Linears::new(graph, weights, &case.activations).unwrap();
            let executor = Executor::new(graph, weights, inputs).unwrap().with_activations(&int8);
            let outputs = executor.outputs().unwrap();
            // The same codes, so only the activation function may differ.
            let error = case.check(&outputs).unwrap();
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }

    #[test]
    fn int8_is_near_the_product_in_floats_and_not_the_same() {
        for case in int8_problems() {
            let mut wide = case.clone();
            for linear in wide.activations.linears.values_mut() {
                for scale in [&mut linear.input, &mut linear.output] {
                    // Nothing is clipped.
                    let shifts = std::mem::take(&mut scale.shifts);
                    *scale = ActivationScale { shifts, ..ActivationScale::of_range(-5.0, 5.0) };
                }
            }
            let int8 = wide.reference().unwrap();
            let error = super::super::compare(&case.problem.reference().unwrap()[0].1, &int8[0].1);
            assert!(error > 1e-4 && error < 0.1, "{}: {error:e}", case.problem.name);
        }
    }

    #[test]
    fn the_cpu_finds_ranges_as_the_reference_does() {
        for case in dynamic_int8_problems() {
            let Problem { graph, weights, inputs, name, .. } = &case.0;
            let int8 = Int8Linears::dynamic(graph, weights);
            assert_eq!(int8.names().collect::<Vec<_>>(), ["weight"]);
            let executor = Executor::new(graph, weights, inputs).unwrap().with_activations(&int8);
            let error = case.check(&executor.outputs().unwrap()).unwrap();
            // And is near the product in floats, but not the same.
            let floats = super::super::compare(&case.0.reference().unwrap()[0].1, &case.reference().unwrap()[0].1);
            println!("{name}: {error:e} from the reference, {floats:e} from floats");
            assert!(floats > ROUNDING && floats < 0.05, "{name}: {floats:e}");
        }
    }

    #[test]
    fn only_bytes_with_one_scale_a_row_are_multiplied_as_they_are_stored() {
        use Granularity::{Channel, Group, Tensor};
        for (bits, scheme, granularity, expected) in [
            (Bits::B8, Scheme::Symmetric, Channel, true),
            (Bits::B8, Scheme::Symmetric, Tensor, true),
            (Bits::B8, Scheme::Symmetric, Group(64), false),
            (Bits::B8, Scheme::Asymmetric, Channel, false),
            (Bits::B4, Scheme::Symmetric, Channel, false),
            (Bits::B16, Scheme::Symmetric, Channel, false),
        ] {
            let mut problem = dynamic_int8_problems().remove(0).0;
            let format = Format { bits, scheme, granularity };
            problem.weights.insert("weight".into(), Random::named("weight").matrix([16, 16], format));
            assert_eq!(Int8Linears::dynamic(&problem.graph, &problem.weights).is_empty(), !expected, "{format}");
        }
    }

    #[test]
    fn a_case_of_known_codes() {
        // x = [1.0, 0.26] in steps of 0.1 from code -10 on: 10 and 3 steps; weights 127 and -64 steps of 1/127.
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, [1.into(), 2.into()]);
        let weight = graph.weight("weight", [1, 2], Role::Linear, &[]);
        let op = Linear { x, weight, bias: None, activation: Activation::Identity, residual: None };
        let y = graph.push("y", op);
        graph.output(y);
        let format = Format { bits: Bits::B8, scheme: Scheme::Symmetric, granularity: Granularity::Channel };
        let matrix = webnibble_common::quant::Quantizer::for_format(format).quantize(&[127.0, -64.0], &[1, 2]).unwrap();
        let weights = WeightMap::from([("weight".to_owned(), webnibble_common::weights::WeightData::Matrix(matrix))]);
        let scale = |scale, zero_point| ActivationScale { scale, zero_point, shifts: BTreeMap::new() };
        let linear = LinearActivations { input: scale(0.1, -10), output: scale(1.0, 5) };
        let activations =
            Activations { source: String::new(), samples: 0, linears: BTreeMap::from([("weight".into(), linear)]) };
        let inputs = [("x", super::super::random::floats(&[1, 2], vec![1.0, 0.26]))];
        let int8 = Int8Linears::new(&graph, &weights, &activations).unwrap();
        let found = reference::run_int8(&graph, &weights, &int8, &inputs).unwrap();
        // 0.1 · (10 · 127 - 3 · 64) = 107.8, rounded to 108 steps of 1.
        assert_eq!(found[0].1.as_f32().unwrap(), [108.0]);
    }

    #[test]
    fn activations_of_nothing_are_an_error() {
        let mut case = int8_problems().remove(0);
        let linear = case.activations.linears["weight"].clone();
        case.activations.linears.insert("absent".into(), linear);
        assert_eq!(case.reference().unwrap_err(), ExecError::NoLinear { name: "absent".into() });
        assert!(case.check(&Vec::new()).is_err());
    }

    #[test]
    fn observers_see_the_product_and_change_nothing() {
        let case = &int8_problems()[1].problem;
        let expected = crate::cpu::run(&case.graph, &case.weights, &case.inputs).unwrap();
        let mut seen = Vec::new();
        let mut executor = Executor::new(&case.graph, &case.weights, &case.inputs).unwrap();
        let mut observe = |observed: crate::cpu::Observed<'_>| {
            seen.push((observed.weight.to_owned(), observed.input.len(), observed.output.to_vec()));
        };
        while executor.step_observed(&mut observe).unwrap() {}
        let found = executor.outputs().unwrap();
        assert!(super::super::compare(&expected[0].1, &found[0].1) < 1e-6);
        assert_eq!((seen.len(), &seen[0].0[..], seen[0].1, seen[0].2.len()), (1, "weight", 17 * 129, 17 * 65));
        // Before GELU there are values far below its least one.
        assert!(seen[0].2.iter().any(|value| *value < -0.5));
    }
}
