//! Dispatches of `attention.wgsl` and `attention_cache.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Attention, Cache, ValueId};
use webnibble_common::quant::round_up;
use webnibble_common::state::BLOCK_POSITIONS;

use super::step::{self, is_of_one_query};
use crate::plan::chunks::parts;
use crate::plan::device::DeviceCaps;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::workgroup_for;
use crate::shaders::Kernel;

/// `attention.wgsl`. Strides and starts count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(super) struct AttentionParams {
    /// Query rows of a batch item.
    pub(super) queries: u32,
    /// Key rows of a batch item.
    pub(super) keys: u32,
    /// Width of a head.
    pub(super) head_dim: u32,
    /// Number of heads.
    pub(super) heads: u32,
    /// From a query row to the next.
    pub(super) q_stride: u32,
    /// First column of the queries.
    pub(super) q_start: u32,
    /// From a key row to the next.
    pub(super) k_stride: u32,
    /// First column of the keys.
    pub(super) k_start: u32,
    /// From a value row to the next.
    pub(super) v_stride: u32,
    /// First column of the values.
    pub(super) v_start: u32,
    /// Multiplies the scores.
    pub(super) scale: f32,
    /// Element of the mask at which the first batch item begins.
    pub(super) mask_start: u32,
}

/// `attention_cache.wgsl`. Strides and starts count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(super) struct CacheParams {
    /// Positions of an item in this run.
    pub(super) positions: u32,
    /// Elements of a position.
    pub(super) width: u32,
    /// Width of a head.
    pub(super) head_dim: u32,
    /// From a key row to the next.
    pub(super) k_stride: u32,
    /// First column of the keys.
    pub(super) k_start: u32,
    /// From a value row to the next.
    pub(super) v_stride: u32,
    /// First column of the values.
    pub(super) v_start: u32,
    /// From a block to the next.
    pub(super) block_stride: u32,
    /// Of a block, where the first item begins that is bound.
    pub(super) block_start: u32,
}

/// Shapes of queries, keys and values, `[batch, length, width]`.
struct Shapes {
    q: Vec<usize>,
    k: Vec<usize>,
    v: Vec<usize>,
}

impl Shapes {
    /// Bytes of an item in each.
    fn item_bytes(&self) -> [usize; 3] {
        [&self.q, &self.k, &self.v].map(|shape| shape[1] * shape[2] * 4)
    }
}

/// Records attention, in parts where the batch or the work is too much for one dispatch; before it, what writes its keys and
/// values where a conversation keeps them.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Attention, output: ValueId) -> Result<(), PlanError> {
    if let Some(cache) = op.cache.filter(|_| is_of_one_query(r, op)) {
        return step::record(r, op, cache, output);
    }
    let shapes = Shapes { q: r.shape(op.q.value)?, k: r.shape(op.k.value)?, v: r.shape(op.v.value)? };
    if let Some(cache) = op.cache {
        record_writes(r, op, cache, &shapes, output)?;
    }
    let (batch, queries, keys) = (shapes.q[0], shapes.q[1], shapes.k[1]);
    let (kernel, bq) = kernel(op, &shapes, r.caps);
    let [q, k, v] = shapes.item_bytes();
    // A `usize` has 32 bits in the page. How many keys a conversation has is not known here: at least those of the run.
    let work = (2 * op.heads * op.head_dim * queries).saturating_mul(keys);
    for items in parts(0..batch, r.limits.items(batch, &[q, k, v, queries * op.heads * op.head_dim * 4], work)) {
        let params = params(op, &shapes, items.start);
        let mut bindings = vec![r.items(1, op.q.value, &items, batch)?];
        match op.cache {
            Some(Cache { keys, values }) => {
                bindings.extend([r.state(2, keys, batch)?, r.state(3, values, batch)?, r.step(4)]);
            }
            None => {
                bindings.extend([r.items(2, op.k.value, &items, batch)?, r.items(3, op.v.value, &items, batch)?]);
                bindings.extend(op.mask.map(|mask| r.whole(4, mask)).transpose()?);
            }
        }
        bindings.push(r.items(5, output, &items, batch)?);
        let groups = [queries.div_ceil(bq), op.heads, items.len()];
        r.dispatch(output, kernel.clone(), params, bindings, groups)?;
    }
    Ok(())
}

/// The kernel, and how many query rows a workgroup of it makes.
fn kernel(op: &Attention, shapes: &Shapes, caps: &DeviceCaps) -> (Kernel, usize) {
    let mut by_four = vec![op.head_dim, shapes.q[2], op.q.start];
    if op.cache.is_none() {
        by_four.extend([shapes.k[2], op.k.start, shapes.v[2], op.v.start]);
    }
    let d = round_up(op.head_dim, 4);
    let (bq, bk, threads) = attention_tiles(d, caps);
    let mut kernel = Kernel::new("attention")
        .flag("MASK", op.mask.is_some())
        .flag("VEC4", by_four.iter().all(|n| n.is_multiple_of(4)))
        .flag("GROUPED", op.group() > 1)
        .flag("CAUSAL", op.causal)
        .flag("CACHE", op.cache.is_some())
        .constant("D", d as u32)
        .constant("BQ", bq)
        .constant("BK", bk)
        .constant("WG", threads);
    if op.group() > 1 || op.cache.is_some() {
        kernel = kernel.constant("GROUP", op.group() as u32);
    }
    if op.cache.is_some() {
        kernel = kernel.constant("BLOCK", BLOCK_POSITIONS as u32);
    }
    (kernel, bq as usize)
}

/// Of a part whose first item is number `first`.
fn params(op: &Attention, shapes: &Shapes, first: usize) -> AttentionParams {
    let params = AttentionParams {
        queries: shapes.q[1] as u32,
        keys: shapes.k[1] as u32,
        head_dim: op.head_dim as u32,
        heads: op.heads as u32,
        q_stride: shapes.q[2] as u32,
        q_start: op.q.start as u32,
        k_stride: shapes.k[2] as u32,
        k_start: op.k.start as u32,
        v_stride: shapes.v[2] as u32,
        v_start: op.v.start as u32,
        scale: op.scale,
        mask_start: (first * shapes.k[1]) as u32,
    };
    if op.cache.is_none() {
        return params;
    }
    let (stride, start) = ((shapes.q[0] * block_elements(op)) as u32, (first * block_elements(op)) as u32);
    AttentionParams { k_stride: stride, k_start: start, v_stride: stride, v_start: start, ..params }
}

/// Elements that an item has in a block of a state.
fn block_elements(op: &Attention) -> usize {
    op.kv_heads * op.head_dim * BLOCK_POSITIONS
}

/// Records what writes the run's keys and values behind those of the conversation's past.
fn record_writes(
    r: &mut Recorder<'_>,
    op: &Attention,
    cache: Cache,
    Shapes { k, v, .. }: &Shapes,
    output: ValueId,
) -> Result<(), PlanError> {
    let (batch, positions, width) = (k[0], k[1], op.kv_heads * op.head_dim);
    let threads = workgroup_for(width, r.options);
    let kernel = Kernel::new("attention_cache").constant("BLOCK", BLOCK_POSITIONS as u32).constant("WG", threads);
    for items in parts(0..batch, r.limits.items(batch, &[k, v].map(|shape| shape[1] * shape[2] * 4), 0)) {
        let params = CacheParams {
            positions: positions as u32,
            width: width as u32,
            head_dim: op.head_dim as u32,
            k_stride: k[2] as u32,
            k_start: op.k.start as u32,
            v_stride: v[2] as u32,
            v_start: op.v.start as u32,
            block_stride: (batch * block_elements(op)) as u32,
            block_start: (items.start * block_elements(op)) as u32,
        };
        let (k, v) = (r.items(2, op.k.value, &items, batch)?, r.items(3, op.v.value, &items, batch)?);
        let bindings = [r.step(1), k, v, r.state(4, cache.keys, batch)?, r.state(5, cache.values, batch)?];
        let groups = [width.div_ceil(threads as usize), positions, items.len()];
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

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let attention =
            Kernel::new("attention").constant("D", 32).constant("BQ", 16).constant("BK", 32).constant("WG", 128);
        assert_same_layout!(
            attention,
            AttentionParams {
                queries,
                keys,
                head_dim,
                heads,
                q_stride,
                q_start,
                k_stride,
                k_start,
                v_stride,
                v_start,
                scale,
                mask_start
            }
        );
        let cache = Kernel::new("attention_cache").constant("BLOCK", 128).constant("WG", 64);
        assert_same_layout!(
            cache,
            CacheParams { positions, width, head_dim, k_stride, k_start, v_stride, v_start, block_stride, block_start }
        );
    }
}
