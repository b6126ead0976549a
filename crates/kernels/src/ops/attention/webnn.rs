//! Attention: two `matmul`s a head around a `softmax`, all heads at once.

use webnibble_common::graph::{Attention, Columns, Operator};

use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::program::Operation;
use crate::webnn::recorder::{Recorder, Value};

/// Records attention; gives `[batch · queries, heads · head_dim]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Attention) -> Result<Operand, WebNnError> {
    if let Some(what) = op.beside_plain() {
        return Err(WebNnError::Unsupported { operator: op.name(), what });
    }
    let Attention { q, k, v, mask, heads, head_dim, scale, .. } = *op;
    let queries = recorder.shape(q.value)?;
    let (batch, length) = (queries[0], queries[1]);
    let keys = recorder.pieces(k.value)?.iter().map(|piece| piece.rows).sum::<usize>() / batch;
    let width = heads * head_dim;

    let rows = recorder.value(q.value)?;
    let rows = columns(recorder, rows, q.start, width)?;
    // There are fewer queries than scores.
    let scale = recorder.number(f64::from(scale), 2)?;
    let rows = recorder.mul(rows, scale)?;
    let q = split_heads(recorder, rows, [batch, length, heads, head_dim], [0, 2, 1, 3])?;
    let rows = all_columns(recorder, k, width)?;
    let k = split_heads(recorder, rows, [batch, keys, heads, head_dim], [0, 2, 3, 1])?;
    let rows = all_columns(recorder, v, width)?;
    let v = split_heads(recorder, rows, [batch, keys, heads, head_dim], [0, 2, 1, 3])?;

    let mut scores = recorder.call(Operation::Matmul { a: q, b: k })?;
    let mask = mask.map(|mask| recorder.mask(mask)).transpose()?;
    if let Some(mask) = mask {
        let bias = recorder.reshape(mask.bias, [batch, 1, 1, keys])?;
        scores = recorder.add(scores, bias)?;
    }
    let weights = recorder.call(Operation::Softmax { input: scores, axis: 3 })?;
    let mut mixed = recorder.call(Operation::Matmul { a: weights, b: v })?;
    if let Some(mask) = mask {
        // Where every key is dropped the softmax cannot tell, and gives the mean of all values.
        let any = recorder.reshape(mask.any, [batch, 1, 1, 1])?;
        mixed = recorder.mul(mixed, any)?;
    }
    let joined = recorder.call(Operation::Transpose { input: mixed, permutation: vec![0, 2, 1, 3] })?;
    recorder.reshape(joined, [batch * length, width])
}

/// The columns of all rows of a value.
fn all_columns(recorder: &mut Recorder<'_>, of: Columns, width: usize) -> Result<Operand, WebNnError> {
    let pieces = recorder.pieces(of.value)?;
    let pieces = pieces.into_iter().map(|piece| columns(recorder, piece, of.start, width));
    let pieces = pieces.collect::<Result<_, _>>()?;
    recorder.stack(pieces)
}

/// The columns that count.
fn columns(recorder: &mut Recorder<'_>, value: Value, start: usize, width: usize) -> Result<Operand, WebNnError> {
    if value.cols == width {
        return Ok(value.operand);
    }
    let (starts, sizes) = (vec![0, start], vec![value.rows, width]);
    recorder.call(Operation::Slice { input: value.operand, starts, sizes })
}

fn split_heads(
    recorder: &mut Recorder<'_>,
    rows: Operand,
    shape: [usize; 4],
    permutation: [usize; 4],
) -> Result<Operand, WebNnError> {
    let input = recorder.reshape(rows, shape)?;
    recorder.call(Operation::Transpose { input, permutation: permutation.to_vec() })
}
