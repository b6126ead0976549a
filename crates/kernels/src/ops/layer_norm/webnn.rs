//! Layer normalization over the columns of a value.

use webnibble_common::graph::{LayerNorm, Norm};

use crate::webnn::error::WebNnError;
use crate::webnn::operand::{DataType, Operand};
use crate::webnn::program::Operation;
use crate::webnn::recorder::{Recorder, Value};

/// Least epsilon in half precision, which holds nothing smaller than 6e-8.
const LEAST_HALF_EPSILON: f64 = 1e-6;

/// Records `(x − mean) / sqrt(variance + eps) · weight + bias`; gives `[rows, cols]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &LayerNorm) -> Result<Operand, WebNnError> {
    let x = recorder.value(op.x)?;
    normalize(recorder, x, op.norm)
}

/// Records the normalization of a value; gives `[rows, cols]`.
pub(crate) fn normalize(recorder: &mut Recorder<'_>, x: Value, norm: Norm) -> Result<Operand, WebNnError> {
    let (scale, bias) = (recorder.vector(norm.weight)?, recorder.vector(norm.bias)?);
    let epsilon = match recorder.compute() {
        DataType::Float16 => f64::from(norm.eps).max(LEAST_HALF_EPSILON),
        _ => f64::from(norm.eps),
    };
    recorder.call(Operation::LayerNormalization { input: x.operand, scale, bias, axes: vec![1], epsilon })
}
