//! Operators as their executors see them: slices and extents in place of ids.

use webnibble_common::graph::{self, Activation, Columns, Op, Pooling, ValueId, WeightId};
use webnibble_common::quant::QTensor;
use webnibble_common::tensor::element_count;
use webnibble_common::weights::WeightData;

use super::{Int8, State};

/// One operator with everything that it reads.
#[derive(Clone, Copy, Debug)]
pub enum Operands<'a> {
    /// [`Op::Embedding`].
    Embedding(Embedding<'a>),
    /// [`Op::Linear`].
    Linear(Linear<'a>),
    /// [`Op::LayerNorm`].
    LayerNorm(LayerNorm<'a>),
    /// [`Op::Attention`].
    Attention(Attention<'a>),
    /// [`Op::Pool`].
    Pool(Pool<'a>),
}

/// Scale and shift of a normalization.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[hidden]`.
    pub weight: &'a [f32],
    /// `[hidden]`.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// Operands of [`Op::Embedding`]. Ids are inside their tables.
#[derive(Clone, Copy, Debug)]
pub struct Embedding<'a> {
    /// `[batch · seq]`.
    pub ids: &'a [u32],
    /// Segment of each token, and the segment table.
    pub types: Option<(&'a [u32], &'a QTensor)>,
    /// Tokens of a sequence.
    pub seq: usize,
    /// Token table.
    pub table: &'a QTensor,
    /// Position table.
    pub positions: Option<&'a QTensor>,
    /// Its row of the first token.
    pub position_offset: usize,
    /// Normalization of the sum.
    pub norm: Option<Norm<'a>>,
}

/// Operands of [`Op::Linear`]: `x` is `[m, k]`, the weight `[n, k]`.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Name of the weight, which is also that of the operator's activations.
    pub name: &'a str,
    /// Computed in int8, and how; `None` computes in floats.
    pub int8: Option<&'a Int8>,
    /// `[m, k]`.
    pub x: &'a [f32],
    /// `[n, k]`.
    pub weight: &'a QTensor,
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Applied before the residual.
    pub activation: Activation,
    /// `[m, n]`.
    pub residual: Option<&'a [f32]>,
}

/// Operands of [`Op::LayerNorm`].
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `[rows, hidden]`.
    pub x: &'a [f32],
    /// Scale, shift and epsilon.
    pub norm: Norm<'a>,
}

/// Columns `start..` of rows that lie `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// All rows.
    pub data: &'a [f32],
    /// Elements from a row to the next.
    pub stride: usize,
    /// First column.
    pub start: usize,
}

impl<'a> Strided<'a> {
    /// `len` columns of a row, from column `from` of those that count.
    pub fn row(&self, row: usize, from: usize, len: usize) -> &'a [f32] {
        &self.data[row * self.stride + self.start + from..][..len]
    }
}

/// Operands of [`Op::Attention`].
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// `[batch · queries, heads · head_dim]`.
    pub q: Strided<'a>,
    /// `[batch · keys, heads · head_dim]`.
    pub k: Strided<'a>,
    /// `[batch · keys, heads · head_dim]`.
    pub v: Strided<'a>,
    /// `[batch · keys]`: 0 drops a key.
    pub mask: Option<&'a [u32]>,
    /// Sequences.
    pub batch: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
}

/// Operands of [`Op::Pool`].
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// `[batch, seq, hidden]`.
    pub x: &'a [f32],
    /// `[batch, seq]`: 0 drops a token.
    pub mask: Option<&'a [u32]>,
    /// Tokens of a sequence.
    pub seq: usize,
    /// Width.
    pub hidden: usize,
    /// How.
    pub pooling: Pooling,
    /// Divide by the norm.
    pub normalize: bool,
}

/// Lower bound of the norm that [`Op::Pool`] divides by, so that a zero vector stays one.
pub(crate) const LEAST_NORM: f64 = 1e-12;

impl<'a> Operands<'a> {
    /// The operands of `op` in `state`, whose weights and inputs are checked.
    pub(super) fn resolve(op: &Op, state: &'a State<'_>) -> Self {
        match op {
            Op::Embedding { ids, token_types, table, positions, position_offset, types, norm } => {
                Operands::Embedding(Embedding {
                    ids: state.ids(*ids),
                    types: token_types.zip(*types).map(|(ids, table)| (state.ids(ids), state.matrix(table))),
                    seq: state.tensor(*ids).shape()[1],
                    table: state.matrix(*table),
                    positions: positions.map(|table| state.matrix(table)),
                    position_offset: *position_offset,
                    norm: norm.map(|norm| state.norm(norm)),
                })
            }
            Op::Linear { x, weight, bias, activation, residual } => Operands::Linear(Linear {
                name: &state.graph.weight_of(*weight).name,
                int8: state.int8.and_then(|int8| int8.get(&state.graph.weight_of(*weight).name)),
                x: state.floats(*x),
                weight: state.matrix(*weight),
                bias: bias.map(|bias| state.vector(bias)),
                activation: *activation,
                residual: residual.map(|residual| state.floats(residual)),
            }),
            Op::LayerNorm { x, norm } => {
                Operands::LayerNorm(LayerNorm { x: state.floats(*x), norm: state.norm(*norm) })
            }
            Op::Attention { q, k, v, mask, heads, head_dim, scale } => {
                let (queries, keys) = (state.tensor(q.value).shape(), state.tensor(k.value).shape());
                Operands::Attention(Attention {
                    q: state.columns(*q),
                    k: state.columns(*k),
                    v: state.columns(*v),
                    mask: mask.map(|mask| state.ids(mask)),
                    batch: queries[0],
                    queries: queries[1],
                    keys: keys[1],
                    heads: *heads,
                    head_dim: *head_dim,
                    scale: *scale,
                })
            }
            Op::Pool { x, mask, pooling, normalize } => {
                let shape = state.tensor(*x).shape();
                Operands::Pool(Pool {
                    x: state.floats(*x),
                    mask: mask.map(|mask| state.ids(mask)),
                    seq: shape[1],
                    hidden: shape[2],
                    pooling: *pooling,
                    normalize: *normalize,
                })
            }
        }
    }

    /// Shape of the output, from that of the operator's first input.
    pub(super) fn output_shape(&self, input: &[usize]) -> Vec<usize> {
        let outer = &input[..input.len() - 1];
        match self {
            Operands::Embedding(op) => [input, &[op.table.layout.cols]].concat(),
            Operands::Linear(op) => [outer, &[op.weight.layout.rows]].concat(),
            Operands::LayerNorm(_) => input.to_vec(),
            Operands::Attention(op) => [outer, &[op.heads * op.head_dim]].concat(),
            Operands::Pool(op) => vec![input[0], op.hidden],
        }
    }
}

/// Typed views of values and weights. Kinds and types are checked before a run starts.
impl State<'_> {
    fn floats(&self, id: ValueId) -> &[f32] {
        self.tensor(id).as_f32().expect("the graph says f32")
    }

    fn ids(&self, id: ValueId) -> &[u32] {
        self.tensor(id).as_u32().expect("the graph says u32")
    }

    fn columns(&self, columns: Columns) -> Strided<'_> {
        let tensor = self.tensor(columns.value);
        let stride = tensor.len() / element_count(&tensor.shape()[..2]);
        Strided { data: self.floats(columns.value), stride, start: columns.start }
    }

    fn norm(&self, norm: graph::Norm) -> Norm<'_> {
        Norm { weight: self.vector(norm.weight), bias: self.vector(norm.bias), eps: norm.eps }
    }

    fn matrix(&self, id: WeightId) -> &QTensor {
        match self.weights.get(&self.graph.weight_of(id).name) {
            Some(WeightData::Matrix(matrix)) => matrix,
            _ => unreachable!("weights are checked before a run"),
        }
    }

    fn vector(&self, id: WeightId) -> &[f32] {
        match self.weights.get(&self.graph.weight_of(id).name) {
            Some(WeightData::Vector(values)) => values,
            _ => unreachable!("weights are checked before a run"),
        }
    }
}
