//! Attention in memory, as both CPU executors compute it.

use webnibble_common::graph::Attention;

use crate::exec::operands::{Operands, Strided};

/// Queries `[batch · queries, heads · head_dim]`; keys and values `[batch · keys, heads · head_dim]`.
#[derive(Clone, Copy)]
pub(super) struct AttentionOperands<'a> {
    pub(super) q: Strided<'a>,
    pub(super) k: Strided<'a>,
    pub(super) v: Strided<'a>,
    /// `[batch · keys]`: 0 drops a key.
    pub(super) mask: Option<&'a [u32]>,
    /// Sequences.
    pub(super) batch: usize,
    /// Queries of a sequence.
    pub(super) queries: usize,
    /// Keys of a sequence.
    pub(super) keys: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) scale: f32,
}

impl<'a> AttentionOperands<'a> {
    pub(super) fn of(op: &Attention, operands: Operands<'a>) -> Self {
        let (queries, keys) = (operands.shape(op.q.value), operands.shape(op.k.value));
        let Attention { heads, head_dim, scale, .. } = *op;
        Self {
            q: operands.columns(op.q),
            k: operands.columns(op.k),
            v: operands.columns(op.v),
            mask: op.mask.map(|mask| operands.ids(mask)),
            batch: queries[0],
            queries: queries[1],
            keys: keys[1],
            heads,
            head_dim,
            scale,
        }
    }
}
