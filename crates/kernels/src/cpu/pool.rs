//! Pooling: one vector a sequence.

use webnibble_common::graph::Pooling;

use super::math::sum_by;
use crate::exec::{LEAST_NORM, Pool};

/// Mean, maximum or first token of each sequence, `[batch, hidden]`; zeros where no token is left.
pub(super) fn pool(op: &Pool<'_>) -> Vec<f32> {
    let mut y = vec![0.0; op.x.len() / op.seq];
    for (batch, out) in y.chunks_exact_mut(op.hidden).enumerate() {
        let sequence = &op.x[batch * op.seq * op.hidden..][..op.seq * op.hidden];
        let mask = op.mask.map(|mask| &mask[batch * op.seq..][..op.seq]);
        let kept = || {
            let tokens = sequence.chunks_exact(op.hidden).enumerate();
            tokens.filter(|(token, _)| mask.is_none_or(|mask| mask[*token] != 0)).map(|(_, values)| values)
        };
        match op.pooling {
            Pooling::Cls => out.copy_from_slice(&sequence[..op.hidden]),
            Pooling::Mean => mean(kept(), out),
            Pooling::Max => maximum(kept(), out),
        }
        if op.normalize {
            let norm = sum_by(out, |value| value * value).sqrt().max(LEAST_NORM as f32);
            out.iter_mut().for_each(|value| *value /= norm);
        }
    }
    y
}

fn mean<'a>(tokens: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    let mut count = 0;
    for values in tokens {
        count += 1;
        out.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    out.iter_mut().for_each(|sum| *sum /= count.max(1) as f32);
}

fn maximum<'a>(mut tokens: impl Iterator<Item = &'a [f32]>, out: &mut [f32]) {
    let Some(first) = tokens.next() else { return };
    out.copy_from_slice(first);
    for values in tokens {
        out.iter_mut().zip(values).for_each(|(top, value)| *top = top.max(*value));
    }
}
