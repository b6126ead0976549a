//! Attention in memory, as both CPU executors compute it.

use webnibble_common::graph::Attention;
use webnibble_common::state::BLOCK_POSITIONS;
use webnibble_common::tensor::{Tensor, element_count};

use crate::exec::operands::{Operands, Strided};

/// Queries `[batch · queries, heads · head_dim]`, and the keys and values that they attend to.
pub(super) struct AttentionOperands<'a> {
    pub(super) q: Strided<'a>,
    pub(super) k: Positions<'a>,
    pub(super) v: Positions<'a>,
    /// `[batch · keys]`: 0 drops a key.
    pub(super) mask: Option<&'a [u32]>,
    /// Sequences.
    pub(super) batch: usize,
    /// Queries of a sequence.
    pub(super) queries: usize,
    /// Keys of a sequence, those of the conversation's past among them.
    pub(super) keys: usize,
    pub(super) heads: usize,
    /// Neighbouring heads that share keys and values.
    pub(super) group: usize,
    pub(super) head_dim: usize,
    pub(super) scale: f32,
    causal: bool,
    /// Keys before that of the first query.
    past: usize,
}

/// Keys or values, `kv_heads · head_dim` of each position of each sequence.
pub(super) struct Positions<'a> {
    /// One after the other, each with its positions of every sequence.
    blocks: Vec<Block<'a>>,
    /// Positions of a block; the last one may have fewer.
    block_positions: usize,
}

/// Some positions of every sequence, `[batch · positions, kv_heads · head_dim]`.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) rows: Strided<'a>,
    /// Rows of a sequence.
    pub(super) positions: usize,
}

impl<'a> AttentionOperands<'a> {
    pub(super) fn of(op: &Attention, operands: Operands<'a>) -> Self {
        let (queries, keys) = (operands.shape(op.q.value), operands.shape(op.k.value));
        let Attention { heads, head_dim, scale, causal, .. } = *op;
        let past = op.cache.map_or(0, |_| operands.past());
        let given = |columns| Positions::given(operands.columns(columns), keys[1]);
        let (k, v) = match op.cache {
            Some(cache) => {
                (Positions::kept(operands.blocks(cache.keys)), Positions::kept(operands.blocks(cache.values)))
            }
            None => (given(op.k), given(op.v)),
        };
        Self {
            q: operands.columns(op.q),
            k,
            v,
            mask: op.mask.map(|mask| operands.ids(mask)),
            batch: queries[0],
            queries: queries[1],
            keys: past + keys[1],
            heads,
            group: op.group(),
            head_dim,
            scale,
            causal,
            past,
        }
    }

    /// How many keys a query attends to: they are the first ones.
    pub(super) fn seen(&self, query: usize) -> usize {
        if self.causal { self.keys.min(self.past + query + 1) } else { self.keys }
    }

    /// First column of the keys and values of a head.
    pub(super) fn shared_column(&self, head: usize) -> usize {
        head / self.group * self.head_dim
    }
}

impl<'a> Positions<'a> {
    /// A run's own.
    fn given(rows: Strided<'a>, positions: usize) -> Self {
        Self { blocks: vec![Block { rows, positions }], block_positions: positions }
    }

    /// Those of a conversation.
    fn kept(blocks: &'a [Tensor]) -> Self {
        let block = |tensor: &'a Tensor| {
            let (data, stride) = (tensor.as_f32().expect("the graph says f32"), element_count(&tensor.shape()[2..]));
            Block { rows: Strided { data, stride, start: 0 }, positions: tensor.shape()[1] }
        };
        Self { blocks: blocks.iter().map(block).collect(), block_positions: BLOCK_POSITIONS }
    }

    /// `len` columns of a position of a sequence, from column `from`.
    pub(super) fn row(&self, item: usize, position: usize, from: usize, len: usize) -> &'a [f32] {
        let block = &self.blocks[position / self.block_positions];
        block.rows.row(item * block.positions + position % self.block_positions, from, len)
    }

    /// The first `count` positions in blocks, each with the number of its first and how many there are.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = (usize, usize, Block<'a>)> {
        let size = self.block_positions;
        let blocks = self.blocks.iter().enumerate().map(move |(index, block)| (index * size, *block));
        let some = blocks.take_while(move |(first, _)| *first < count);
        some.map(move |(first, block)| (first, block.positions.min(count - first), block))
    }
}
