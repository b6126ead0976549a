//! Normalization over the columns of a value.

use webnibble_common::graph::{Norm, NormKind, Normalization};

use crate::webnn::constants::Source;
use crate::webnn::error::WebNnError;
use crate::webnn::operand::{DataType, Operand};
use crate::webnn::program::Operation;
use crate::webnn::recorder::{Recorder, Value};

/// Least epsilon in half precision, which holds nothing smaller than 6e-8.
const LEAST_HALF_EPSILON: f64 = 1e-6;

/// Records the normalization; gives `[rows, cols]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Norm) -> Result<Operand, WebNnError> {
    let x = recorder.value(op.x)?;
    normalize(recorder, x, op.by)
}

/// Records the normalization of a value; gives `[rows, cols]`.
pub(crate) fn normalize(recorder: &mut Recorder<'_>, x: Value, norm: Normalization) -> Result<Operand, WebNnError> {
    match norm.kind {
        NormKind::Layer => layer(recorder, x, norm),
        NormKind::Rms => rms(recorder, x, norm),
    }
}

fn layer(recorder: &mut Recorder<'_>, x: Value, norm: Normalization) -> Result<Operand, WebNnError> {
    let scale = recorder.vector(norm.weight)?;
    let bias = norm.bias.map(|bias| recorder.vector(bias)).transpose()?;
    let epsilon = match recorder.compute() {
        DataType::Float16 => f64::from(norm.eps).max(LEAST_HALF_EPSILON),
        _ => f64::from(norm.eps),
    };
    recorder.call(Operation::LayerNormalization { input: x.operand, scale, bias, axes: vec![1], epsilon })
}

/// WebNN has no such operation. Squares and their mean are f32 always: in half precision they overflow from 256 on.
fn rms(recorder: &mut Recorder<'_>, x: Value, norm: Normalization) -> Result<Operand, WebNnError> {
    let x = recorder.cast(x.operand, DataType::Float32)?;
    let squares = recorder.mul(x, x)?;
    let mean = recorder.call(Operation::ReduceMean { input: squares, axes: vec![1] })?;
    let epsilon = Source::Numbers(vec![f64::from(norm.eps)]);
    let epsilon = recorder.constant(DataType::Float32, [1, 1], epsilon)?;
    let raised = recorder.add(mean, epsilon)?;
    let root = recorder.call(Operation::Sqrt { input: raised })?;
    let even = recorder.call(Operation::Div { a: x, b: root })?;
    let even = recorder.cast(even, recorder.compute())?;
    let weight = recorder.vector(norm.weight)?;
    let scaled = recorder.mul(even, weight)?;
    let bias = norm.bias.map(|bias| recorder.vector(bias)).transpose()?;
    bias.map_or(Ok(scaled), |bias| recorder.add(scaled, bias))
}
