//! The linear operator: which kernel, over which tiles, and in which parts.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Linear, ValueId};
use webnibble_common::package::Part;
use webnibble_common::quant::{Bits, Layout};
use webnibble_common::tensor::element_count;

use crate::params::WeightParams;
use crate::plan::activation::activation_code;
use crate::plan::chunks::parts;
use crate::plan::device::DeviceCaps;
use crate::plan::error::PlanError;
use crate::plan::options::{PlanOptions, Tiling};
use crate::plan::recorder::Recorder;
use crate::plan::recording::Binding;
use crate::plan::workgroups::workgroup_for;
use crate::shaders::Kernel;

/// Up to this many rows, a tile would be mostly empty.
const FEW_ROWS: usize = 4;

/// Threads of a workgroup without workgroup memory.
const DIRECT_THREADS: u32 = 32;

/// Up to this many tiles of 32 × 32, large GPUs have multiprocessors to spare.
const FEW_TILES: usize = 128;

/// From this many outputs on there are enough tiles without cutting K.
const MANY_OUTPUTS: usize = 1 << 21;

/// `linear_tiles.wgsl`, `linear_rows.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct LinearParams {
    /// The matrix.
    pub weight: WeightParams,
    /// Rows of the input.
    pub m: u32,
    /// Columns of the output.
    pub n: u32,
    /// Columns of the input.
    pub k: u32,
    /// From a row of the output to the next: more than `n` where only some columns are made.
    pub stride: u32,
}

/// Records the product, in parts where the weight, an input or the work is too much for one dispatch.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Linear, output: ValueId) -> Result<(), PlanError> {
    let layout = *r.layout(op.weight);
    let (n, k) = (layout.rows, layout.cols);
    let m = element_count(&r.shape(output)?) / n;
    let rows = r.limits.items(m, &[k * 4, n * 4], n.saturating_mul(k));
    // Columns are cut only where few rows are too much already.
    let columns = r.limits.multiply_adds / rows.saturating_mul(k).max(1);
    for columns in r.weights.row_ranges(op.weight, columns) {
        for rows in parts(0..m, rows) {
            piece(r, op, output, Piece { rows, columns: columns.clone(), m, layout })?;
        }
    }
    Ok(())
}

/// What a dispatch makes of `m` rows and `layout.rows` columns.
struct Piece {
    rows: Range<usize>,
    columns: Range<usize>,
    m: usize,
    layout: Layout,
}

fn piece(r: &mut Recorder<'_>, op: &Linear, output: ValueId, piece: Piece) -> Result<(), PlanError> {
    let Piece { rows, columns, m: total, layout } = piece;
    let (m, n, k) = (rows.len(), columns.len(), layout.cols);
    let (kernel, workgroups) = kernel(m, n, op, &layout, r.caps, r.options);
    let weight = WeightParams { rows: n as u32, ..WeightParams::new(&layout) };
    let params = LinearParams { weight, m: m as u32, n: n as u32, k: k as u32, stride: layout.rows as u32 };
    let mut bindings = vec![r.items(1, op.x, &rows, total)?];
    for (number, part) in [(2, Part::Packed), (3, Part::Scale), (4, Part::Zero)] {
        bindings.extend(r.plane_rows(number, op.weight, part, &columns));
    }
    bindings.extend(op.bias.and_then(|bias| r.plane_rows(5, bias, Part::Packed, &columns)));
    if let Some(residual) = op.residual {
        bindings.push(from_column(r.items(6, residual, &rows, total)?, columns.start));
    }
    bindings.push(from_column(r.items(7, output, &rows, total)?, columns.start));
    r.dispatch(output, kernel, params, bindings, workgroups)
}

/// The binding from a column of its first row on.
fn from_column(binding: Binding, column: usize) -> Binding {
    Binding { offset: binding.offset + column * 4, bytes: binding.bytes - column * 4, ..binding }
}

/// The kernel for `m` rows and `n` columns, and its workgroups.
fn kernel(
    m: usize,
    n: usize,
    op: &Linear,
    layout: &Layout,
    caps: &DeviceCaps,
    options: &PlanOptions,
) -> (Kernel, [usize; 3]) {
    let kernel = |file| linear_kernel(file, op, layout);
    let half = caps.f16 && options.half_tiles;
    match tiling(m, n, options.tiling, half, caps) {
        Tiling::Fixed(bm, bn, bk, slices) => {
            let kernel = kernel("linear_tiles")
                .flag("SLICED", slices > 1)
                .flag("F16", half)
                .constant("BM", bm)
                .constant("BN", bn)
                .constant("BK", bk)
                .constant("SLICES", slices);
            (kernel, [n.div_ceil(bn as usize), m.div_ceil(bm as usize), 1])
        }
        Tiling::Direct => {
            let threads = options.workgroup_size.unwrap_or(DIRECT_THREADS);
            let kernel = kernel("linear_direct").constant("WG", threads);
            (kernel, [n.div_ceil(4).div_ceil(threads as usize), m.div_ceil(4), 1])
        }
        Tiling::Rows | Tiling::Auto => {
            let threads = workgroup_for(layout.cols / 4, options);
            let kernel = kernel("linear_rows").flag("SUBGROUPS", caps.subgroups).constant("WG", threads);
            (kernel, [n.div_ceil(4), m, 1])
        }
    }
}

fn linear_kernel(file: &'static str, op: &Linear, layout: &Layout) -> Kernel {
    let bits = layout.format.bits;
    let kernel = Kernel::new(file)
        .flag("QUANTIZED", bits.is_integer())
        .flag("HALF", bits == Bits::B16)
        .flag("SINGLE", bits == Bits::B32)
        .flag("ZEROS", layout.format.has_zeros())
        .flag("BIAS", op.bias.is_some())
        .flag("RESIDUAL", op.residual.is_some())
        .flag("K_VEC4", layout.cols.is_multiple_of(4))
        .flag("N_VEC4", layout.rows.is_multiple_of(4))
        .constant("BITS", bits.count() as u32)
        .constant("ACTIVATION", activation_code(op.activation));
    match layout.groups_per_row {
        // Nothing is divided then, and one pipeline serves every width.
        0 | 1 => kernel.constant("GROUP", 64),
        _ => kernel.constant("GROUP", layout.group_size as u32),
    }
}

/// A sentence gives few tiles, so K is cut as well: more often the fewer there are; a large product has enough of
/// larger ones. The numbers were measured on BERT-base's shapes (docs/gpu.md).
/// SwiftShader clears workgroup memory word by word in unrolled code, so that 32 KiB take seconds to compile, and has no
/// faster memory to stage tiles in; only tiles can be kept in `half` precision.
fn tiling(m: usize, n: usize, wish: Tiling, half: bool, caps: &DeviceCaps) -> Tiling {
    let small_tiles = m.div_ceil(32) * n.div_ceil(32);
    // A slice's partial sums lie in the place of its tiles in f32, and beside those in f16.
    let slice_bytes = if half { 6 << 10 } else { 4 << 10 };
    let fit = |slices: usize| caps.workgroup_storage_bytes >= slices * slice_bytes;
    let eight_slices = caps.invocations >= 512 && fit(8);
    match wish {
        Tiling::Auto if caps.software && !half => Tiling::Direct,
        Tiling::Auto if m <= FEW_ROWS => Tiling::Rows,
        Tiling::Auto if m * n >= MANY_OUTPUTS => Tiling::Fixed(64, 64, 16, 1),
        Tiling::Auto if small_tiles <= FEW_TILES && eight_slices => Tiling::Fixed(32, 32, 16, 8),
        Tiling::Auto if fit(4) => Tiling::Fixed(32, 32, 16, 4),
        Tiling::Auto => Tiling::Fixed(32, 32, 16, 2),
        chosen => chosen,
    }
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let linear = Kernel::new("linear_rows")
            .flag("SINGLE", true)
            .constant("WG", 64)
            .constant("BITS", 32)
            .constant("ACTIVATION", 0);
        assert_same_layout!(linear, WeightParams { row_words, group_size, groups_per_row, rows });
        assert_same_layout!(linear, LinearParams { weight, m, n, k, stride });
    }
}
