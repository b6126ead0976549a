//! Dispatches of `attention_step.wgsl` and `attention_join.wgsl`: one query of a conversation.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Attention, Cache, Op, Rotary, RotaryStyle, ValueId};
use webnibble_common::state::BLOCK_POSITIONS;

use crate::ops::rotary::plan::{VECTORS, turns};
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::shaders::Kernel;

/// Workgroups that share the keys of a head: so many blocks are looked at side by side.
const MOST_SHARES: usize = 16;

/// Heads of queries for one of keys that a thread's registers have room for.
const MOST_GROUP: usize = 8;

/// Threads of a workgroup that puts shares together.
const JOIN_THREADS: usize = 64;

/// `attention_step.wgsl`. Strides and starts count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
struct StepParams {
    heads: u32,
    kv_heads: u32,
    shares: u32,
    scale: f32,
    q_stride: u32,
    q_start: u32,
    k_stride: u32,
    k_start: u32,
    v_stride: u32,
    v_start: u32,
    block_stride: u32,
    pairs: u32,
    turns: [[u32; 4]; VECTORS],
}

/// `attention_join.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
struct JoinParams {
    heads: u32,
    shares: u32,
}

/// Whether it is of one query of a conversation, and of a shape that the kernel has.
pub(crate) fn is_of_one_query(r: &Recorder<'_>, op: &Attention) -> bool {
    let Ok(shape) = r.shape(op.q.value) else { return false };
    let (vectors, group) = (op.head_dim / 4, op.group());
    let bytes = group * (op.head_dim + 2 * BLOCK_POSITIONS) * 4 + BLOCK_POSITIONS * 16;
    let batch_bytes = [shape[2] * 4, op.heads * op.head_dim * 4];
    op.cache.is_some()
        && shape[1] == 1
        && op.head_dim.is_multiple_of(4)
        && vectors.is_power_of_two()
        && vectors <= BLOCK_POSITIONS
        && group <= MOST_GROUP
        && bytes <= r.caps.workgroup_storage_bytes
        && BLOCK_POSITIONS <= r.caps.invocations
        && r.limits.items(shape[0], &batch_bytes, 0) == shape[0]
}

/// Records one query over the keys of its conversation, its own among them.
pub(super) fn record(r: &mut Recorder<'_>, op: &Attention, cache: Cache, output: ValueId) -> Result<(), PlanError> {
    let rotary = match r.folded(op.q.value) {
        Some(Op::Rotary(rotary)) => Some(rotary),
        _ => None,
    };
    let batch = r.shape(op.v.value)?[0];
    let capacity = r.capacity(cache.keys)?;
    let shares = capacity.div_ceil(BLOCK_POSITIONS).clamp(1, MOST_SHARES);
    let made = r.scratch(output, batch * shares * op.heads * (op.head_dim + 2) * 4)?;
    let turned = rotary.map_or(op.q.value, |rotary| rotary.x.value);
    let mut bindings = vec![r.step(1), r.whole(2, turned)?, r.whole(3, op.v.value)?];
    bindings.extend([r.state(4, cache.keys, batch)?, r.state(5, cache.values, batch)?]);
    if rotary.is_none() {
        bindings.push(r.whole(6, op.k.value)?);
    }
    bindings.push(made.at(7));
    let params = params(r, op, (rotary, batch, shares))?;
    let kernel = Kernel::new("attention_step")
        .flag("TURNED", rotary.is_some())
        .flag("INTERLEAVED", rotary.is_some_and(|rotary| rotary.style == RotaryStyle::Interleaved))
        .constant("D", op.head_dim as u32)
        .constant("GROUP", op.group() as u32)
        .constant("BLOCK", BLOCK_POSITIONS as u32);
    r.dispatch(output, kernel, params, bindings, [shares, op.kv_heads, batch])?;
    let kernel = Kernel::new("attention_join")
        .constant("D", op.head_dim as u32)
        .constant("BLOCK", BLOCK_POSITIONS as u32)
        .constant("WG", JOIN_THREADS as u32);
    let params = JoinParams { heads: op.heads as u32, shares: shares as u32 };
    let bindings = [r.step(1), made.at(2), r.whole(3, output)?];
    let groups = [(op.heads * op.head_dim).div_ceil(JOIN_THREADS), batch, 1];
    r.dispatch(output, kernel, params, bindings, groups)
}

/// With `rotary`, queries and keys are columns of what it reads.
fn params(
    r: &Recorder<'_>,
    op: &Attention,
    (rotary, batch, shares): (Option<&Rotary>, usize, usize),
) -> Result<StepParams, PlanError> {
    let turned = rotary.map_or(op.q.value, |rotary| rotary.x.value);
    let start = rotary.map_or(0, |rotary| rotary.x.start);
    let key_value = if rotary.is_some() { turned } else { op.k.value };
    let stride = |value| Ok::<_, PlanError>(r.shape(value)?[2] as u32);
    Ok(StepParams {
        heads: op.heads as u32,
        kv_heads: op.kv_heads as u32,
        shares: shares as u32,
        scale: op.scale,
        q_stride: stride(turned)?,
        q_start: (start + op.q.start) as u32,
        k_stride: stride(key_value)?,
        k_start: (start + op.k.start) as u32,
        v_stride: stride(op.v.value)?,
        v_start: op.v.start as u32,
        block_stride: (batch * op.kv_heads * op.head_dim * BLOCK_POSITIONS) as u32,
        pairs: rotary.map_or(0, |rotary| rotary.frequencies.len()) as u32,
        turns: rotary.map_or([[0; 4]; VECTORS], |rotary| turns(&rotary.frequencies)),
    })
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let of =
            |name| Kernel::new(name).constant("D", 16).constant("GROUP", 1).constant("BLOCK", 128).constant("WG", 64);
        assert_same_layout!(
            of("attention_step").flag("TURNED", true),
            StepParams {
                heads,
                kv_heads,
                shares,
                scale,
                q_stride,
                q_start,
                k_stride,
                k_start,
                v_stride,
                v_start,
                block_stride,
                pairs,
                turns
            }
        );
        assert_same_layout!(of("attention_join"), JoinParams { heads, shares });
    }
}
