//! Dispatches of `patches.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Patches, ValueId};
use webnibble_common::tensor::element_count;

use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// `patches.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct PatchesParams {
    /// Elements of the output.
    pub(super) count: u32,
    /// Channels of an image.
    pub(super) channels: u32,
    /// Lines of an image.
    pub(super) height: u32,
    /// Pixels of a line.
    pub(super) width: u32,
    /// Pixels of a square's side.
    pub(super) size: u32,
    /// Zero.
    pub(super) reserved0: u32,
    /// Zero.
    pub(super) reserved1: u32,
    /// Zero.
    pub(super) reserved2: u32,
}

/// Records the cut, in parts where there are too many images for one binding.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Patches, output: ValueId) -> Result<(), PlanError> {
    let shape = r.shape(op.x)?;
    let (images, elements) = (shape[0], element_count(&shape[1..]));
    let params = PatchesParams {
        channels: shape[1] as u32,
        height: shape[2] as u32,
        width: shape[3] as u32,
        size: op.size as u32,
        ..PatchesParams::default()
    };
    let threads = workgroup_for(elements, r.options);
    let kernel = Kernel::new("patches").constant("WG", threads);
    for part in parts(0..images, r.limits.items(images, &[elements * 4], 0)) {
        let count = part.len() * elements;
        let bindings = [r.items(1, op.x, &part, images)?, r.items(2, output, &part, images)?];
        let groups = row_groups(count.div_ceil(threads as usize), r.caps);
        r.dispatch(output, kernel.clone(), PatchesParams { count: count as u32, ..params }, bindings, groups)?;
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
        let patches = Kernel::new("patches").constant("WG", 64);
        assert_same_layout!(
            patches,
            PatchesParams { count, channels, height, width, size, reserved0, reserved1, reserved2 }
        );
    }
}
