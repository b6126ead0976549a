//! Dispatches of `attention.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Attention, ValueId};
use webnibble_common::quant::round_up;

use crate::plan::chunks::parts;
use crate::plan::device::DeviceCaps;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
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

/// Records attention, in parts where the batch or the work is too much for one dispatch.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Attention, output: ValueId) -> Result<(), PlanError> {
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
    }
}
