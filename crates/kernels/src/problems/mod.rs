//! Op problems: one set of cases that every backend runs, and the oracle's answer to each.
//!
//! A problem is a graph of one operator (or a small encoder) with weights and inputs. A backend runs it and compares with
//! [`Problem::reference`]; shapes are odd on purpose, and the choices of an operator are combined pairwise.
//! Everything is drawn from fixed seeds, so a failing case is the same everywhere, in the page too.

mod decoder;
mod encoder;
mod int8;
pub(crate) mod pairs;
pub(crate) mod problem;
pub(crate) mod random;

use webnibble_common::graph::Op;
use webnibble_common::tensor::Tensor;

use crate::exec::{ExecError, Outputs};
use crate::{ops, reference};

pub use decoder::{DECODER_POSITIONS, DecoderProblem, decoder_problems};
pub use int8::{DynamicInt8Problem, Int8Problem, dynamic_int8_problems, int8_problems};
pub use problem::{Problem, TOLERANCE};

impl Problem {
    /// The expected outputs.
    ///
    /// # Errors
    /// None that a well-formed problem has.
    pub fn reference(&self) -> Result<Outputs, ExecError> {
        reference::run(&self.graph, &self.weights, &self.inputs)
    }

    /// The largest error of `found` over all outputs.
    ///
    /// # Errors
    /// A message with the problem's name when an output is missing, has another shape, or is too far from the reference.
    pub fn check(&self, found: &[(String, Tensor)]) -> Result<f64, String> {
        let expected = self.reference().map_err(|error| format!("{}: {error}", self.name))?;
        self.check_against(&expected, found)
    }

    fn check_against(&self, expected: &Outputs, found: &[(String, Tensor)]) -> Result<f64, String> {
        let names =
            |outputs: &[(String, Tensor)]| -> Vec<String> { outputs.iter().map(|(name, _)| name.clone()).collect() };
        if names(expected) != names(found) {
            let (expected, found) = (names(expected), names(found));
            return Err(format!("{}: outputs should be {expected:?}, found {found:?}", self.name));
        }
        let mut worst = 0.0;
        for ((output, expected), (_, found)) in expected.iter().zip(found) {
            let error = compare(expected, found);
            if error.is_nan() || error > self.tolerance {
                return Err(format!("{}: `{output}` is off by {error:e}, allowed {:e}", self.name, self.tolerance));
            }
            worst = error.max(worst);
        }
        Ok(worst)
    }
}

/// `max |expected − found| / max |expected|`. Infinite when shapes or types differ, when `found` has a NaN, or when it is
/// not zero where all of `expected` is.
pub fn compare(expected: &Tensor, found: &Tensor) -> f64 {
    let (Ok(a), Ok(b)) = (expected.as_f32(), found.as_f32()) else { return f64::INFINITY };
    if expected.shape() != found.shape() {
        return f64::INFINITY;
    }
    let largest = a.iter().fold(0.0, |top: f64, value| top.max(f64::from(value.abs())));
    let mut off = 0.0_f64;
    for (a, b) in a.iter().zip(b) {
        let difference = (f64::from(*a) - f64::from(*b)).abs();
        if difference.is_nan() {
            return f64::INFINITY;
        }
        off = off.max(difference);
    }
    if off == 0.0 { 0.0 } else { off / largest }
}

/// The problems that encoders have, which have no heads that share keys, no causal attention and no rotary positions.
pub fn encoder_problems() -> Vec<Problem> {
    let is_plain = |op: &Op| match op {
        Op::Attention(attention) => attention.beside_plain().is_none(),
        Op::Rotary(_) => false,
        _ => true,
    };
    problems().into_iter().filter(|problem| problem.graph.nodes.iter().all(|node| is_plain(&node.op))).collect()
}

/// Every problem of one run: those of each operator, and a small encoder.
pub fn problems() -> Vec<Problem> {
    [ops::problems(), encoder::problems()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

    /// What the CPU executor keeps, ten times closer than a kernel has to be.
    const CPU_TOLERANCE: f64 = 1e-4;

    #[test]
    fn the_cpu_solves_every_problem() {
        let mut failures = Vec::new();
        for mut problem in problems() {
            problem.tolerance = CPU_TOLERANCE;
            let outputs = cpu::run(&problem.graph, &problem.weights, &problem.inputs);
            let outputs = outputs.map_err(|error| format!("{}: {error}", problem.name));
            if let Err(message) = outputs.and_then(|outputs| problem.check(&outputs)) {
                failures.push(message);
            }
        }
        assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    }

    #[test]
    fn names_are_unique_and_outputs_are_not_all_zero() {
        let problems = problems();
        let names: std::collections::BTreeSet<_> = problems.iter().map(|problem| problem.name.clone()).collect();
        assert_eq!(names.len(), problems.len());
        for problem in problems.iter().filter(|problem| !problem.name.contains("zeros")) {
            let outputs = problem.reference().unwrap();
            let values = outputs[0].1.as_f32().unwrap();
            // One weight at 2 bits may well be 0.
            assert!(values.len() == 1 || values.iter().any(|value| *value != 0.0), "{}", problem.name);
        }
    }

    #[test]
    fn comparing_is_relative_to_the_largest_and_strict() {
        let tensor = |values: &[f32]| Tensor::f32([values.len()], values.to_vec()).unwrap();
        assert_eq!(compare(&tensor(&[1.0, -4.0]), &tensor(&[1.5, -4.0])), 0.125);
        assert_eq!(compare(&tensor(&[0.0]), &tensor(&[0.0])), 0.0);
        assert_eq!(compare(&tensor(&[0.0]), &tensor(&[1e-9])), f64::INFINITY);
        assert_eq!(compare(&tensor(&[1.0]), &tensor(&[f32::NAN])), f64::INFINITY);
        assert_eq!(compare(&tensor(&[1.0]), &tensor(&[1.0, 1.0])), f64::INFINITY);
    }

    #[test]
    fn a_wrong_answer_is_named() {
        let problem = &problems()[0];
        let mut outputs = problem.reference().unwrap();
        assert_eq!(problem.check(&outputs), Ok(0.0));
        let values: Vec<f32> = outputs[0].1.as_f32().unwrap().iter().map(|value| value * 1.01).collect();
        outputs[0].1 = Tensor::f32(outputs[0].1.shape(), values).unwrap();
        let message = problem.check(&outputs).unwrap_err();
        assert!(message.starts_with(&problem.name) && message.contains("is off by"), "{message}");
        assert!(problem.check(&[]).is_err());
    }
}
