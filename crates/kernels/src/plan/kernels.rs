//! Which kernel an operator takes, and what it is bound to.

use std::ops::Range;

use webnibble_common::graph::{Columns, Node, Norm, Op, Pooling, ValueId, WeightId};
use webnibble_common::package::Part;
use webnibble_common::quant::round_up;
use webnibble_common::tensor::element_count;

use super::chunks::parts;
use super::linear::{Linear, linear};
use super::recording::Recorder;
use super::{DeviceCaps, PlanError, PlanOptions};
use crate::params::{AttentionParams, EmbeddingParams, LayerNormParams, NONE, PoolParams, Table, WeightParams};
use crate::shaders::Kernel;

pub(super) fn record(recorder: &mut Recorder<'_>, node: &Node, options: &PlanOptions) -> Result<(), PlanError> {
    let output = node.output;
    match &node.op {
        Op::Embedding { .. } => embedding(recorder, output, &node.op, options),
        Op::Linear { x, weight, bias, activation, residual } => {
            let operands = Linear { x: *x, weight: *weight, bias: *bias, activation: *activation, residual: *residual };
            linear(recorder, output, &operands, options)
        }
        Op::LayerNorm { x, norm } => layer_norm(recorder, output, *x, *norm, options),
        Op::Attention { q, k, v, mask, heads, head_dim, scale } => {
            let operands =
                Attention { q: *q, k: *k, v: *v, mask: *mask, heads: *heads, head_dim: *head_dim, scale: *scale };
            attention(recorder, output, &operands)
        }
        Op::Pool { x, mask, pooling, normalize } => {
            let operands = Pool { x: *x, mask: *mask, pooling: *pooling, normalize: *normalize };
            pool(recorder, output, &operands, options)
        }
    }
}

/// Threads for a row of `items`: as many as were asked for, or else enough to read it in a few steps.
pub(super) fn workgroup_for(items: usize, options: &PlanOptions) -> u32 {
    match (options.workgroup_size, items) {
        (Some(asked), _) => asked,
        (None, 0..=64) => 64,
        (None, 65..=512) => 128,
        (None, _) => 256,
    }
}

/// Rows over two dimensions of the dispatch, since one holds 65,535.
fn row_groups(rows: usize, caps: &DeviceCaps) -> [usize; 3] {
    let x = rows.min(caps.workgroups_per_dimension);
    [x, rows.div_ceil(x), 1]
}

fn layer_norm(
    r: &mut Recorder<'_>,
    output: ValueId,
    x: ValueId,
    norm: Norm,
    options: &PlanOptions,
) -> Result<(), PlanError> {
    let shape = r.shape(output)?;
    let hidden = *shape.last().expect("validation says that there is a last dimension");
    let rows = element_count(&shape) / hidden;
    let threads = workgroup_for(hidden, options);
    let kernel = Kernel::new("layer_norm").flag("SUBGROUPS", r.caps.subgroups).constant("WG", threads);
    for part in parts(0..rows, r.limits.items(rows, &[hidden * 4], 0)) {
        let params = LayerNormParams { rows: part.len() as u32, hidden: hidden as u32, eps: norm.eps, reserved: 0 };
        let mut bindings = vec![r.items(1, x, &part, rows)?];
        bindings.extend(r.vector(2, norm.weight));
        bindings.extend(r.vector(3, norm.bias));
        bindings.push(r.items(4, output, &part, rows)?);
        let groups = row_groups(part.len(), r.caps);
        r.dispatch(output, kernel.clone(), params, bindings, groups)?;
    }
    Ok(())
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
        mask_start: 0,
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
    let widths = [queries * q_shape[2], keys * k_shape[2], keys * v_shape[2], queries * op.heads * op.head_dim];
    // A `usize` has 32 bits in the page.
    let work = (2 * op.heads * op.head_dim * queries).saturating_mul(keys);
    for items in parts(0..batch, r.limits.items(batch, &widths.map(|width| width * 4), work)) {
        let params = AttentionParams { mask_start: (items.start * keys) as u32, ..params };
        let mut bindings = Vec::new();
        for (number, value) in [(1, op.q.value), (2, op.k.value), (3, op.v.value)] {
            bindings.push(r.items(number, value, &items, batch)?);
        }
        if let Some(mask) = op.mask {
            bindings.push(r.whole(4, mask)?);
        }
        bindings.push(r.items(5, output, &items, batch)?);
        let groups = [queries.div_ceil(bq as usize), op.heads, items.len()];
        r.dispatch(output, kernel.clone(), params, bindings, groups)?;
    }
    Ok(())
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

struct Pool {
    x: ValueId,
    mask: Option<ValueId>,
    pooling: Pooling,
    normalize: bool,
}

fn pool(r: &mut Recorder<'_>, output: ValueId, op: &Pool, options: &PlanOptions) -> Result<(), PlanError> {
    let shape = r.shape(op.x)?;
    let (batch, seq, hidden) = (shape[0], shape[1], shape[2]);
    // The first token counts whether the mask keeps it or not.
    let mask = op.mask.filter(|_| op.pooling != Pooling::Cls);
    let kernel = Kernel::new("pool")
        .flag("MASK", mask.is_some())
        .flag("NORMALIZE", op.normalize)
        .flag("SUBGROUPS", r.caps.subgroups && op.normalize)
        .constant(
            "POOLING",
            match op.pooling {
                Pooling::Mean => 0,
                Pooling::Cls => 1,
                Pooling::Max => 2,
            },
        )
        .constant("WG", workgroup_for(hidden, options));
    for items in parts(0..batch, r.limits.items(batch, &[seq * hidden * 4, hidden * 4], 0)) {
        let mask_start = (items.start * seq) as u32;
        let params = PoolParams { seq: seq as u32, hidden: hidden as u32, batch: items.len() as u32, mask_start };
        let mut bindings = vec![r.items(1, op.x, &items, batch)?];
        if let Some(mask) = mask {
            bindings.push(r.whole(2, mask)?);
        }
        bindings.push(r.items(3, output, &items, batch)?);
        r.dispatch(output, kernel.clone(), params, bindings, [items.len(), 1, 1])?;
    }
    Ok(())
}

fn embedding(r: &mut Recorder<'_>, output: ValueId, op: &Op, options: &PlanOptions) -> Result<(), PlanError> {
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
        .constant("WG", workgroup_for(layout.cols, options));
    let offset = |id: Option<WeightId>| id.and_then(|id| r.word_offset(id, Part::Packed)).unwrap_or(NONE);
    let params = EmbeddingParams {
        positions: positions.map_or(Table::default(), |id| aux_table(r, id)),
        types: types.map_or(Table::default(), |id| aux_table(r, id)),
        seq: seq as u32,
        hidden: layout.cols as u32,
        position_offset: *position_offset as u32,
        norm_weight: offset(norm.map(|n| n.weight)),
        norm_bias: offset(norm.map(|n| n.bias)),
        eps: norm.map_or(0.0, |n| n.eps),
        last_row: layout.rows as u32 - 1,
        ..EmbeddingParams::default()
    };
    for rows in r.weights.row_ranges(*table, usize::MAX) {
        for items in parts(0..batch, r.limits.items(batch, &[seq * layout.cols * 4], 0)) {
            let tokens = items.len() * seq;
            let params = EmbeddingParams {
                table: token_table(r, *table, &rows),
                tokens: tokens as u32,
                first_token: (items.start * seq) as u32,
                ..params
            };
            let mut bindings = vec![r.whole(1, *ids)?];
            if let Some(token_types) = token_types {
                bindings.push(r.whole(2, *token_types)?);
            }
            bindings.extend(r.plane_rows(3, *table, Part::Packed, &rows));
            bindings.extend(r.aux(4));
            bindings.push(r.items(5, output, &items, batch)?);
            let groups = row_groups(tokens, r.caps);
            r.dispatch(output, kernel.clone(), params, bindings, groups)?;
        }
    }
    Ok(())
}

/// Rows of the token table, which are bound on their own.
fn token_table(r: &Recorder<'_>, id: WeightId, rows: &Range<usize>) -> Table {
    Table { packed: 0, rows: rows.len() as u32, first_row: rows.start as u32, ..aux_table(r, id) }
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
        first_row: 0,
    }
}
