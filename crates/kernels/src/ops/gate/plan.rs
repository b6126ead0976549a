//! Dispatches of `gate.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Gate, Op, ValueId};
use webnibble_common::tensor::element_count;

use crate::ops::linear::plan::record_gated;
use crate::plan::activation::activation_code;
use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// `gate.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct GateParams {
    /// Rows.
    pub(super) rows: u32,
    /// Columns of the output.
    pub(super) columns: u32,
    /// Threads of a row.
    pub(super) units: u32,
    /// Zero.
    pub(super) reserved: u32,
}

/// Records the gate, in parts where there are too many rows for one binding.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Gate, output: ValueId) -> Result<(), PlanError> {
    if let Some(Op::Linear(linear)) = r.folded(op.x) {
        return record_gated(r, linear, op.activation, output);
    }
    let shape = r.shape(output)?;
    let columns = *shape.last().expect("validation says that there is a last dimension");
    let (rows, units) = (element_count(&shape) / columns, columns.div_ceil(4));
    let threads = workgroup_for(columns, r.options);
    let kernel = Kernel::new("gate")
        .flag("VEC4", columns.is_multiple_of(4))
        .constant("ACTIVATION", activation_code(op.activation))
        .constant("WG", threads);
    for part in parts(0..rows, r.limits.items(rows, &[columns * 8, columns * 4], 0)) {
        let params = GateParams { rows: part.len() as u32, columns: columns as u32, units: units as u32, reserved: 0 };
        let bindings = [r.items(1, op.x, &part, rows)?, r.items(2, output, &part, rows)?];
        let groups = row_groups((part.len() * units).div_ceil(threads as usize), r.caps);
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
        let gate = Kernel::new("gate").constant("WG", 64).constant("ACTIVATION", 4);
        assert_same_layout!(gate, GateParams { rows, columns, units, reserved });
    }
}
