//! Which kernel an operator takes, and what it is bound to.

use webnibble_common::graph::{Activation, Columns, Node, Norm, Op, Pooling, ValueId, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Bits, Layout, round_up};
use webnibble_common::tensor::element_count;

use super::recording::Recorder;
use super::{DeviceCaps, PlanError, PlanOptions, Tiling};
use crate::params::{
    AttentionParams, EmbeddingParams, LayerNormParams, LinearParams, NONE, PoolParams, Table, WeightParams,
};
use crate::shaders::Kernel;

/// Up to this many rows, a tile would be mostly empty.
const FEW_ROWS: usize = 4;

/// Threads of a workgroup without workgroup memory.
const DIRECT_THREADS: usize = 32;

/// Up to this many tiles of 32 × 32, large GPUs have multiprocessors to spare.
const FEW_TILES: usize = 128;

/// From this many outputs on there are enough tiles without cutting K.
const MANY_OUTPUTS: usize = 1 << 21;

pub(super) fn record(recorder: &mut Recorder<'_>, node: &Node, options: &PlanOptions) -> Result<(), PlanError> {
    let output = node.output;
    match &node.op {
        Op::Embedding { .. } => embedding(recorder, output, &node.op),
        Op::Linear { x, weight, bias, activation, residual } => {
            let operands = Linear { x: *x, weight: *weight, bias: *bias, activation: *activation, residual: *residual };
            linear(recorder, output, &operands, options)
        }
        Op::LayerNorm { x, norm } => layer_norm(recorder, output, *x, *norm),
        Op::Attention { q, k, v, mask, heads, head_dim, scale } => {
            let operands =
                Attention { q: *q, k: *k, v: *v, mask: *mask, heads: *heads, head_dim: *head_dim, scale: *scale };
            attention(recorder, output, &operands)
        }
        Op::Pool { x, mask, pooling, normalize } => pool(recorder, output, *x, *mask, *pooling, *normalize),
    }
}

struct Linear {
    x: ValueId,
    weight: WeightId,
    bias: Option<WeightId>,
    activation: Activation,
    residual: Option<ValueId>,
}

fn linear(r: &mut Recorder<'_>, output: ValueId, op: &Linear, options: &PlanOptions) -> Result<(), PlanError> {
    let layout = *r.layout(op.weight);
    let (n, k) = (layout.rows, layout.cols);
    let m = element_count(&r.shape(output)?) / n;
    let kernel = |file| linear_kernel(file, op, &layout);
    let (kernel, workgroups) = match tiling(m, n, options.tiling, r.caps) {
        Tiling::Fixed(bm, bn, bk, slices) => {
            let kernel = kernel("linear_tiles")
                .flag("SLICED", slices > 1)
                .flag("F16", r.caps.f16 && options.half_tiles)
                .constant("BM", bm)
                .constant("BN", bn)
                .constant("BK", bk)
                .constant("SLICES", slices);
            (kernel, [n.div_ceil(bn as usize), m.div_ceil(bm as usize), 1])
        }
        Tiling::Direct => {
            let kernel = kernel("linear_direct").constant("WG", DIRECT_THREADS as u32);
            (kernel, [n.div_ceil(4).div_ceil(DIRECT_THREADS), m.div_ceil(4), 1])
        }
        Tiling::Rows | Tiling::Auto => {
            let kernel = kernel("linear_rows").flag("SUBGROUPS", r.caps.subgroups).constant("WG", workgroup_for(k / 4));
            (kernel, [n.div_ceil(4), m, 1])
        }
    };
    let params =
        LinearParams { weight: WeightParams::new(&layout), m: m as u32, n: n as u32, k: k as u32, reserved: 0 };
    let mut bindings = vec![r.value(1, op.x)?];
    bindings.extend(r.plane(2, op.weight, Part::Packed));
    bindings.extend(r.plane(3, op.weight, Part::Scale));
    bindings.extend(r.plane(4, op.weight, Part::Zero));
    bindings.extend(op.bias.and_then(|bias| r.plane(5, bias, Part::Packed)));
    if let Some(residual) = op.residual {
        bindings.push(r.value(6, residual)?);
    }
    bindings.push(r.value(7, output)?);
    r.dispatch(output, kernel, params, bindings, workgroups)
}

fn linear_kernel(file: &'static str, op: &Linear, layout: &Layout) -> Kernel {
    let bits = layout.format.bits;
    let kernel = Kernel::new(file)
        .flag("QUANTIZED", bits.is_integer())
        .flag("HALF", bits == Bits::B16)
        .flag("SINGLE", bits == Bits::B32)
        .flag("ZEROS", layout.format.has_zeros())
        .flag("BIAS", op.bias.is_some())
        .flag("RESIDUAL", op.residual.is_some())
        .flag("K_VEC4", layout.cols.is_multiple_of(4))
        .flag("N_VEC4", layout.rows.is_multiple_of(4))
        .constant("BITS", bits.count() as u32)
        .constant("ACTIVATION", activation_code(op.activation));
    match layout.groups_per_row {
        // Nothing is divided then, and one pipeline serves every width.
        0 | 1 => kernel.constant("GROUP", 64),
        _ => kernel.constant("GROUP", layout.group_size as u32),
    }
}

/// A sentence gives few tiles, so K is cut as well: more often the fewer there are; a large product has enough of
/// larger ones. The numbers were measured on BERT-base's shapes (docs/gpu.md).
/// SwiftShader clears workgroup memory word by word in unrolled code, so that 32 KiB take seconds to compile, and has no
/// faster memory to stage tiles in.
fn tiling(m: usize, n: usize, wish: Tiling, caps: &DeviceCaps) -> Tiling {
    let small_tiles = m.div_ceil(32) * n.div_ceil(32);
    let eight_slices = caps.invocations >= 512 && caps.workgroup_storage_bytes >= 32 << 10;
    match wish {
        Tiling::Auto if m <= FEW_ROWS => Tiling::Rows,
        Tiling::Auto if caps.software => Tiling::Direct,
        Tiling::Auto if m * n >= MANY_OUTPUTS => Tiling::Fixed(64, 64, 16, 1),
        Tiling::Auto if small_tiles <= FEW_TILES && eight_slices => Tiling::Fixed(32, 32, 16, 8),
        Tiling::Auto => Tiling::Fixed(32, 32, 16, 4),
        chosen => chosen,
    }
}

/// Number of an activation in `activation.wgsl`.
fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Gelu => 2,
        Activation::GeluTanh => 3,
        Activation::Silu => 4,
        Activation::Tanh => 5,
    }
}

/// Threads for a row of `items`: enough to read it in a few steps.
fn workgroup_for(items: usize) -> u32 {
    match items {
        0..=64 => 64,
        65..=512 => 128,
        _ => 256,
    }
}

/// Rows over two dimensions of the dispatch, since one holds 65,535.
fn row_groups(rows: usize, caps: &DeviceCaps) -> [usize; 3] {
    let x = rows.min(caps.workgroups_per_dimension);
    [x, rows.div_ceil(x), 1]
}

fn layer_norm(r: &mut Recorder<'_>, output: ValueId, x: ValueId, norm: Norm) -> Result<(), PlanError> {
    let shape = r.shape(output)?;
    let hidden = *shape.last().expect("validation says that there is a last dimension");
    let rows = element_count(&shape) / hidden;
    let kernel = Kernel::new("layer_norm").flag("SUBGROUPS", r.caps.subgroups).constant("WG", workgroup_for(hidden));
    let params = LayerNormParams { rows: rows as u32, hidden: hidden as u32, eps: norm.eps, reserved: 0 };
    let mut bindings = vec![r.value(1, x)?];
    bindings.extend(r.plane(2, norm.weight, Part::Packed));
    bindings.extend(r.plane(3, norm.bias, Part::Packed));
    bindings.push(r.value(4, output)?);
    let groups = row_groups(rows, r.caps);
    r.dispatch(output, kernel, params, bindings, groups)
}

struct Attention {
    q: Columns,
    k: Columns,
    v: Columns,
    mask: Option<ValueId>,
    heads: usize,
    head_dim: usize,
    scale: f32,
}

fn attention(r: &mut Recorder<'_>, output: ValueId, op: &Attention) -> Result<(), PlanError> {
    let (q_shape, k_shape, v_shape) = (r.shape(op.q.value)?, r.shape(op.k.value)?, r.shape(op.v.value)?);
    let (batch, queries, keys) = (q_shape[0], q_shape[1], k_shape[1]);
    let params = AttentionParams {
        queries: queries as u32,
        keys: keys as u32,
        head_dim: op.head_dim as u32,
        heads: op.heads as u32,
        q_stride: q_shape[2] as u32,
        q_start: op.q.start as u32,
        k_stride: k_shape[2] as u32,
        k_start: op.k.start as u32,
        v_stride: v_shape[2] as u32,
        v_start: op.v.start as u32,
        scale: op.scale,
        reserved: 0,
    };
    let by_four = [op.head_dim, q_shape[2], op.q.start, k_shape[2], op.k.start, v_shape[2], op.v.start];
    let d = round_up(op.head_dim, 4);
    let (bq, bk, threads) = attention_tiles(d, r.caps);
    let kernel = Kernel::new("attention")
        .flag("MASK", op.mask.is_some())
        .flag("VEC4", by_four.iter().all(|n| n.is_multiple_of(4)))
        .constant("D", d as u32)
        .constant("BQ", bq)
        .constant("BK", bk)
        .constant("WG", threads);
    let mut bindings = vec![r.value(1, op.q.value)?, r.value(2, op.k.value)?, r.value(3, op.v.value)?];
    if let Some(mask) = op.mask {
        bindings.push(r.value(4, mask)?);
    }
    bindings.push(r.value(5, output)?);
    r.dispatch(output, kernel, params, bindings, [queries.div_ceil(bq as usize), op.heads, batch])
}

/// Query and key rows of a tile, so that both tiles and the scores fit workgroup memory; and threads.
fn attention_tiles(d: usize, caps: &DeviceCaps) -> (u32, u32, u32) {
    let bytes = |bq: usize, bk: usize| (bq + bk) * (d / 4 + 1) * 16 + (bq * bk + 3 * bq) * 4;
    let fits = |bq: usize, bk: usize| bytes(bq, bk) <= caps.workgroup_storage_bytes;
    if !caps.software && fits(16, 64) {
        return (16, 64, 256);
    }
    let sizes = [(16, 32), (16, 16), (8, 16), (8, 8), (4, 4)];
    let (bq, bk) = sizes.into_iter().find(|(bq, bk)| fits(*bq, *bk)).unwrap_or((2, 2));
    (bq as u32, bk as u32, 128)
}

fn pool(
    r: &mut Recorder<'_>,
    output: ValueId,
    x: ValueId,
    mask: Option<ValueId>,
    pooling: Pooling,
    normalize: bool,
) -> Result<(), PlanError> {
    let shape = r.shape(x)?;
    let (batch, seq, hidden) = (shape[0], shape[1], shape[2]);
    // The first token counts whether the mask keeps it or not.
    let mask = mask.filter(|_| pooling != Pooling::Cls);
    let kernel = Kernel::new("pool")
        .flag("MASK", mask.is_some())
        .flag("NORMALIZE", normalize)
        .flag("SUBGROUPS", r.caps.subgroups && normalize)
        .constant(
            "POOLING",
            match pooling {
                Pooling::Mean => 0,
                Pooling::Cls => 1,
                Pooling::Max => 2,
            },
        )
        .constant("WG", workgroup_for(hidden));
    let params = PoolParams { seq: seq as u32, hidden: hidden as u32, batch: batch as u32, reserved: 0 };
    let mut bindings = vec![r.value(1, x)?];
    if let Some(mask) = mask {
        bindings.push(r.value(2, mask)?);
    }
    bindings.push(r.value(3, output)?);
    r.dispatch(output, kernel, params, bindings, [batch, 1, 1])
}

fn embedding(r: &mut Recorder<'_>, output: ValueId, op: &Op) -> Result<(), PlanError> {
    let Op::Embedding { ids, token_types, table, positions, position_offset, types, norm } = op else {
        unreachable!("record() calls this for embeddings");
    };
    let shape = r.shape(*ids)?;
    let (batch, seq) = (shape[0], shape[1]);
    let layout = *r.layout(*table);
    let bits = |id: &Option<WeightId>| id.map(|id| r.layout(id).format.bits.count() as u32);
    let kernel = Kernel::new("embedding")
        .flag("AUX", r.weights.aux().is_some())
        .flag("POSITIONS", positions.is_some())
        .flag("TYPES", types.is_some())
        .flag("NORM", norm.is_some())
        .flag("SUBGROUPS", r.caps.subgroups && norm.is_some())
        .constant("TABLE_BITS", layout.format.bits.count() as u32)
        .constant("POSITION_BITS", bits(positions).unwrap_or(32))
        .constant("TYPE_BITS", bits(types).unwrap_or(32))
        .constant("WG", workgroup_for(layout.cols));
    let offset = |id: Option<WeightId>| id.and_then(|id| r.word_offset(id, Part::Packed)).unwrap_or(NONE);
    let params = EmbeddingParams {
        table: Table { packed: 0, ..aux_table(r, *table) },
        positions: positions.map_or(Table::default(), |id| aux_table(r, id)),
        types: types.map_or(Table::default(), |id| aux_table(r, id)),
        tokens: (batch * seq) as u32,
        seq: seq as u32,
        hidden: layout.cols as u32,
        position_offset: *position_offset as u32,
        norm_weight: offset(norm.map(|n| n.weight)),
        norm_bias: offset(norm.map(|n| n.bias)),
        eps: norm.map_or(0.0, |n| n.eps),
        reserved: 0,
    };
    let mut bindings = vec![r.value(1, *ids)?];
    if let Some(token_types) = token_types {
        bindings.push(r.value(2, *token_types)?);
    }
    bindings.extend(r.plane(3, *table, Part::Packed));
    bindings.extend(r.aux(4));
    bindings.push(r.value(5, output)?);
    let groups = row_groups(batch * seq, r.caps);
    r.dispatch(output, kernel, params, bindings, groups)
}

fn aux_table(r: &Recorder<'_>, id: WeightId) -> Table {
    let weight = WeightParams::new(r.layout(id));
    let offset = |part| r.word_offset(id, part).unwrap_or(NONE);
    Table {
        packed: offset(Part::Packed),
        scales: offset(Part::Scale),
        zeros: offset(Part::Zero),
        row_words: weight.row_words,
        group_size: weight.group_size,
        groups_per_row: weight.groups_per_row,
        rows: weight.rows,
        reserved: 0,
    }
}
