//! Twin of `wgsl/pool.wgsl`.

use webnibble_common::graph::Pooling;

use crate::exec::{LEAST_NORM, Pool};

/// One vector a sequence, `[batch, hidden]`. A sequence with no token left gives zeros.
pub fn pool(op: &Pool<'_>) -> Vec<f32> {
    let sequences = op.x.chunks_exact(op.seq * op.hidden);
    sequences
        .enumerate()
        .flat_map(|(batch, sequence)| {
            let mask = op.mask.map(|mask| &mask[batch * op.seq..][..op.seq]);
            let mut vector: Vec<f64> = (0..op.hidden).map(|col| pooled(op, sequence, mask, col)).collect();
            if op.normalize {
                let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(LEAST_NORM);
                vector.iter_mut().for_each(|value| *value /= norm);
            }
            vector.into_iter().map(|value| value as f32)
        })
        .collect()
}

fn pooled(op: &Pool<'_>, sequence: &[f32], mask: Option<&[u32]>, col: usize) -> f64 {
    if op.pooling == Pooling::Cls {
        return f64::from(sequence[col]);
    }
    let kept = (0..op.seq).filter(|token| mask.is_none_or(|mask| mask[*token] != 0));
    let values: Vec<f64> = kept.map(|token| f64::from(sequence[token * op.hidden + col])).collect();
    match op.pooling {
        _ if values.is_empty() => 0.0,
        Pooling::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Pooling::Mean | Pooling::Cls => values.iter().sum::<f64>() / values.len() as f64,
    }
}
