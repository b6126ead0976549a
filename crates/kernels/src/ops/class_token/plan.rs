//! Dispatches of `class_token.wgsl`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{ClassToken, ValueId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Bits, Layout};

use crate::params::WeightParams;
use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// `class_token.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct ClassTokenParams {
    /// The rows of the position table that are bound.
    pub(super) positions: WeightParams,
    /// Sequences.
    pub(super) batch: u32,
    /// Rows of an output sequence.
    pub(super) seq: u32,
    /// Columns.
    pub(super) hidden: u32,
    /// Row of the whole table that the first one bound is.
    pub(super) first_row: u32,
}

/// Records the sequence: a dispatch for each part of the table that is bound, and for each part of the batch.
pub(crate) fn record(r: &mut Recorder<'_>, op: &ClassToken, output: ValueId) -> Result<(), PlanError> {
    let layout = *r.layout(op.positions);
    let (batch, seq, hidden) = (r.shape(output)?[0], layout.rows, layout.cols);
    let threads = workgroup_for(hidden, r.options);
    let kernel = kernel(&layout, threads);
    for rows in r.weights.row_ranges(op.positions, usize::MAX) {
        for items in parts(0..batch, r.limits.items(batch, &[(seq - 1) * hidden * 4, seq * hidden * 4], 0)) {
            let params = params(&layout, &rows, items.len());
            let mut bindings = vec![r.items(1, op.x, &items, batch)?];
            for (number, part) in [(2, Part::Packed), (3, Part::Scale), (4, Part::Zero)] {
                bindings.extend(r.plane_rows(number, op.positions, part, &rows));
            }
            bindings.extend(r.vector(5, op.token));
            bindings.push(r.items(6, output, &items, batch)?);
            let units = items.len() * rows.len() * hidden.div_ceil(4);
            let groups = row_groups(units.div_ceil(threads as usize), r.caps);
            r.dispatch(output, kernel.clone(), params, bindings, groups)?;
        }
    }
    Ok(())
}

fn params(layout: &Layout, rows: &Range<usize>, batch: usize) -> ClassTokenParams {
    ClassTokenParams {
        positions: WeightParams { rows: rows.len() as u32, ..WeightParams::new(layout) },
        batch: batch as u32,
        seq: layout.rows as u32,
        hidden: layout.cols as u32,
        first_row: rows.start as u32,
    }
}

fn kernel(layout: &Layout, threads: u32) -> Kernel {
    let bits = layout.format.bits;
    Kernel::new("class_token")
        .flag("QUANTIZED", bits.is_integer())
        .flag("HALF", bits == Bits::B16)
        .flag("SINGLE", bits == Bits::B32)
        .flag("ZEROS", layout.format.has_zeros())
        .constant("BITS", bits.count() as u32)
        .constant("GROUP", layout.group_size as u32)
        .constant("WG", threads)
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let single = Kernel::new("class_token").flag("SINGLE", true);
        let class_token = single.constant("BITS", 32).constant("GROUP", 64).constant("WG", 64);
        assert_same_layout!(class_token, ClassTokenParams { positions, batch, seq, hidden, first_row });
    }
}
