//! Twin of `pool.wgsl`.

use webnibble_common::graph::{Pool, Pooling};

use crate::exec::operands::Operands;

/// Lower bound of the norm that is divided by, so that a zero vector stays one.
pub(super) const LEAST_NORM: f64 = 1e-12;

/// One vector a sequence, `[batch, hidden]`. A sequence with no token left gives zeros.
pub(crate) fn compute(op: &Pool, operands: Operands<'_>) -> Vec<f32> {
    let (seq, hidden) = (operands.shape(op.x)[1], operands.shape(op.x)[2]);
    let masks = op.mask.map(|mask| operands.ids(mask));
    let sequences = operands.floats(op.x).chunks_exact(seq * hidden);
    sequences
        .enumerate()
        .flat_map(|(batch, sequence)| {
            let mask = masks.map(|mask| &mask[batch * seq..][..seq]);
            let mut vector: Vec<f64> =
                (0..hidden).map(|col| pooled(op.pooling, &sequence[col..], hidden, mask)).collect();
            if op.normalize {
                let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(LEAST_NORM);
                vector.iter_mut().for_each(|value| *value /= norm);
            }
            vector.into_iter().map(|value| value as f32)
        })
        .collect()
}

/// One column of a sequence, whose tokens lie `stride` apart.
fn pooled(pooling: Pooling, column: &[f32], stride: usize, mask: Option<&[u32]>) -> f64 {
    let tokens = || column.iter().step_by(stride);
    let one = match pooling {
        Pooling::Cls => tokens().next(),
        Pooling::Last => tokens().next_back(),
        Pooling::Mean | Pooling::Max => None,
    };
    if let Some(one) = one {
        return f64::from(*one);
    }
    let kept = tokens().enumerate().filter(|(token, _)| mask.is_none_or(|mask| mask[*token] != 0));
    let values: Vec<f64> = kept.map(|(_, value)| f64::from(*value)).collect();
    match pooling {
        _ if values.is_empty() => 0.0,
        Pooling::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        _ => values.iter().sum::<f64>() / values.len() as f64,
    }
}
