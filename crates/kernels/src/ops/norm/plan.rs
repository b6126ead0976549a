//! Dispatches of `norm.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Norm, NormKind, ValueId};
use webnibble_common::tensor::element_count;

use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// `norm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(super) struct NormParams {
    /// Rows.
    pub(super) rows: u32,
    /// Columns.
    pub(super) hidden: u32,
    /// Added to the variance, or to the mean square.
    pub(super) eps: f32,
    /// Zero.
    pub(super) reserved: u32,
}

/// Records the normalization, in parts where there are too many rows for one binding.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Norm, output: ValueId) -> Result<(), PlanError> {
    let Norm { x, by } = *op;
    let shape = r.shape(output)?;
    let hidden = *shape.last().expect("validation says that there is a last dimension");
    let rows = element_count(&shape) / hidden;
    let threads = workgroup_for(hidden, r.options);
    let kernel = Kernel::new("norm")
        .flag("RMS", by.kind == NormKind::Rms)
        .flag("BIAS", by.bias.is_some())
        .flag("SUBGROUPS", r.caps.subgroups)
        .constant("WG", threads);
    for part in parts(0..rows, r.limits.items(rows, &[hidden * 4], 0)) {
        let params = NormParams { rows: part.len() as u32, hidden: hidden as u32, eps: by.eps, reserved: 0 };
        let mut bindings = vec![r.items(1, x, &part, rows)?];
        bindings.extend(r.vector(2, by.weight));
        bindings.extend(by.bias.and_then(|bias| r.vector(3, bias)));
        bindings.push(r.items(4, output, &part, rows)?);
        let groups = row_groups(part.len(), r.caps);
        r.dispatch(output, kernel.clone(), params, bindings, groups)?;
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
        let norm = Kernel::new("norm").constant("WG", 64);
        assert_same_layout!(norm, NormParams { rows, hidden, eps, reserved });
    }
}
