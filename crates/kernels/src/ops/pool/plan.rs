//! Dispatches of `pool.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Pool, Pooling, ValueId};

use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::workgroup_for;
use crate::shaders::Kernel;

/// `pool.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct PoolParams {
    /// Tokens of a batch item.
    pub(super) seq: u32,
    /// Columns.
    pub(super) hidden: u32,
    /// Batch items.
    pub(super) batch: u32,
    /// Element of the mask at which the first of them begins.
    pub(super) mask_start: u32,
}

/// Records pooling, in parts where the batch is too large for one binding.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Pool, output: ValueId) -> Result<(), PlanError> {
    let shape = r.shape(op.x)?;
    let (batch, seq, hidden) = (shape[0], shape[1], shape[2]);
    // The first and the last token count whether the mask keeps them or not.
    let mask = op.mask.filter(|_| matches!(op.pooling, Pooling::Mean | Pooling::Max));
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
                Pooling::Last => 3,
            },
        )
        .constant("WG", workgroup_for(hidden, r.options));
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

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let pool = Kernel::new("pool").constant("WG", 64).constant("POOLING", 1);
        assert_same_layout!(pool, PoolParams { seq, hidden, batch, mask_start });
    }
}
