//! Looking for NaN and infinity in an output where it lies.

use std::collections::BTreeMap;

use super::constants::{Constant, Source};
use super::operand::{DataType, Operand};
use super::program::{Call, Operation, Port, Program};

/// Name of the tensor that [`finite_check`] writes.
pub const FOUND: &str = "found";

/// A program that reads an output of floats and makes one float `[1, 1]` of it: 0 where every element is finite, else NaN. A
/// NaN or an infinity times 0 is NaN, and so is every sum with it.
pub fn finite_check(output: &Port) -> Program {
    let [input, zero, product, sum] = [0, 1, 2, 3].map(Operand);
    let data_type = output.data_type;
    let constant = Constant { operand: zero, dtype: data_type, shape: vec![1, 1], source: Source::Numbers(vec![0.0]) };
    let axes = (0..output.shape.len()).collect();
    let found = Port {
        name: FOUND.to_owned(),
        operand: sum,
        shape: vec![1; output.shape.len()],
        value: FOUND.to_owned(),
        value_shape: vec![1; output.shape.len()],
        offset: 0,
        ..output.clone()
    };
    Program {
        constants: vec![constant],
        inputs: vec![Port { operand: input, ..output.clone() }],
        calls: vec![
            Call { output: product, operation: Operation::Mul { a: input, b: zero } },
            Call { output: sum, operation: Operation::ReduceSum { input: product, axes } },
        ],
        outputs: vec![found],
        linears: BTreeMap::new(),
        part: None,
    }
}

/// Whether there can be anything in a tensor of that type that is no number.
pub fn may_be_not_finite(data_type: DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float16)
}
