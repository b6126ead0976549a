//! Workgroups of kernels that work row by row.

use super::device::DeviceCaps;
use super::options::PlanOptions;

/// Threads for a row of `items`: as many as were asked for, or else enough to read it in a few steps.
pub(crate) fn workgroup_for(items: usize, options: &PlanOptions) -> u32 {
    match (options.workgroup_size, items) {
        (Some(asked), _) => asked,
        (None, 0..=64) => 64,
        (None, 65..=512) => 128,
        (None, _) => 256,
    }
}

/// Rows over two dimensions of the dispatch, since one holds 65,535.
pub(crate) fn row_groups(rows: usize, caps: &DeviceCaps) -> [usize; 3] {
    let x = rows.min(caps.workgroups_per_dimension);
    [x, rows.div_ceil(x), 1]
}
