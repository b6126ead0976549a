//! Pooling: one vector a sequence.

use webnibble_common::graph::{Pool, Pooling, ValueId};

use super::reference::LEAST_NORM;
use crate::webnn::error::WebNnError;
use crate::webnn::operand::{DataType, Operand};
use crate::webnn::program::Operation;
use crate::webnn::recorder::Recorder;

/// Least divisor in half precision: the smallest normal number.
const LEAST_HALF_NORM: f64 = 6.2e-5;

/// Records pooling; gives `[batch, hidden]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Pool) -> Result<Operand, WebNnError> {
    let Pool { x, mask, pooling, normalize } = *op;
    let shape = recorder.shape(x)?;
    let (batch, length, hidden) = (shape[0], shape[1], shape[2]);
    let pieces = recorder.pieces(x)?.into_iter().map(|piece| piece.operand).collect();
    let tokens = recorder.stack(pieces)?;
    let tokens = recorder.reshape(tokens, [batch, length, hidden])?;
    let pooled = match (pooling, mask) {
        (Pooling::Cls, _) => {
            recorder.call(Operation::Slice { input: tokens, starts: vec![0; 3], sizes: vec![batch, 1, hidden] })?
        }
        (Pooling::Last, _) => {
            let starts = vec![0, length - 1, 0];
            recorder.call(Operation::Slice { input: tokens, starts, sizes: vec![batch, 1, hidden] })?
        }
        (Pooling::Mean, None) => recorder.call(Operation::ReduceMean { input: tokens, axes: vec![1] })?,
        (Pooling::Max, None) => recorder.call(Operation::ReduceMax { input: tokens, axes: vec![1] })?,
        (Pooling::Mean, Some(mask)) => masked_mean(recorder, tokens, mask, [batch, length])?,
        (Pooling::Max, Some(mask)) => masked_max(recorder, tokens, mask, [batch, length])?,
    };
    let pooled = recorder.reshape(pooled, [batch, hidden])?;
    if normalize { normalized(recorder, pooled) } else { Ok(pooled) }
}

/// The mask, divided by the number of tokens that it keeps, times the tokens: a product. No token gives zeros.
fn masked_mean(
    recorder: &mut Recorder<'_>,
    tokens: Operand,
    mask: ValueId,
    [batch, length]: [usize; 2],
) -> Result<Operand, WebNnError> {
    let mask = recorder.mask(mask)?;
    let count = recorder.call(Operation::ReduceSum { input: mask.keep, axes: vec![1] })?;
    let at_least_one = recorder.call(Operation::Clamp { input: count, min: Some(1.0), max: None })?;
    let weights = recorder.call(Operation::Div { a: mask.keep, b: at_least_one })?;
    let a = recorder.reshape(weights, [batch, 1, length])?;
    recorder.call(Operation::Matmul { a, b: tokens })
}

/// The largest of the tokens that the mask keeps. No token gives zeros.
fn masked_max(
    recorder: &mut Recorder<'_>,
    tokens: Operand,
    mask: ValueId,
    [batch, length]: [usize; 2],
) -> Result<Operand, WebNnError> {
    let mask = recorder.mask(mask)?;
    let bias = recorder.reshape(mask.bias, [batch, length, 1])?;
    let kept = recorder.add(tokens, bias)?;
    let largest = recorder.call(Operation::ReduceMax { input: kept, axes: vec![1] })?;
    let any = recorder.reshape(mask.any, [batch, 1, 1])?;
    recorder.mul(largest, any)
}

/// Each row divided by its Euclidean norm.
fn normalized(recorder: &mut Recorder<'_>, rows: Operand) -> Result<Operand, WebNnError> {
    let least = if recorder.compute() == DataType::Float16 { LEAST_HALF_NORM } else { LEAST_NORM };
    let norm = recorder.call(Operation::ReduceL2 { input: rows, axes: vec![1] })?;
    let b = recorder.call(Operation::Clamp { input: norm, min: Some(least), max: None })?;
    recorder.call(Operation::Div { a: rows, b })
}
