//! Pooling: one vector a sequence.

use webnibble_common::graph::{Pool, Pooling};

use super::reference::LEAST_NORM;
use crate::cpu::math::sum_by;
use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;

/// Mean, maximum, first or last token of each sequence, `[batch, hidden]`; zeros where no token is left.
pub(crate) fn compute(op: &Pool, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let (seq, hidden) = (operands.shape(op.x)[1], operands.shape(op.x)[2]);
    let masks = op.mask.map(|mask| operands.ids(mask));
    let sequences = operands.floats(op.x).chunks_exact(seq * hidden);
    let mut y = vec![0.0; sequences.len() * hidden];
    for (batch, (sequence, out)) in sequences.zip(y.chunks_exact_mut(hidden)).enumerate() {
        let mask = masks.map(|mask| &mask[batch * seq..][..seq]);
        let kept = || {
            let tokens = sequence.chunks_exact(hidden).enumerate();
            tokens.filter(|(token, _)| mask.is_none_or(|mask| mask[*token] != 0)).map(|(_, values)| values)
        };
        match op.pooling {
            Pooling::Cls => out.copy_from_slice(&sequence[..hidden]),
            Pooling::Last => out.copy_from_slice(&sequence[(seq - 1) * hidden..]),
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
