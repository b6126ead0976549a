//! The linear operator: which kernel, over which tiles, and in which parts.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Activation, Linear, Normalization, Op, ValueId};
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
use crate::plan::workgroups::row_groups;
use crate::shaders::Kernel;

/// Up to this many rows, a tile would be mostly empty.
const FEW_ROWS: usize = 4;

/// Threads of a workgroup without workgroup memory.
const DIRECT_THREADS: u32 = 32;

/// Threads of a workgroup for few rows.
const ROWS_THREADS: u32 = 128;

/// Threads that make an output of few rows, where subgroups are of several sizes or there are none.
const TEAM: u32 = 32;

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

/// What a dispatch computes beside the operator.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    /// Takes the root mean square out of the input before.
    norm: Option<Normalization>,
    /// Makes the gate of both halves of the product after.
    gate: Option<Activation>,
}

/// Records the product, in parts where the weight, an input or the work is too much for one dispatch.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Linear, output: ValueId) -> Result<(), PlanError> {
    if let (op, norm @ Some(_)) = with_norm(r, op) {
        return record_few_rows(r, &op, output, Beside { norm, gate: None });
    }
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

/// Records the product of a gate's two halves, and the gate.
pub(crate) fn record_gated(
    r: &mut Recorder<'_>,
    op: &Linear,
    gate: Activation,
    output: ValueId,
) -> Result<(), PlanError> {
    let (op, norm) = with_norm(r, op);
    record_few_rows(r, &op, output, Beside { norm, gate: Some(gate) })
}

/// The operator over what a normalization reads that it computes itself, and that normalization; else as it is.
fn with_norm(r: &Recorder<'_>, op: &Linear) -> (Linear, Option<Normalization>) {
    match r.folded(op.x) {
        Some(Op::Norm(norm)) => (Linear { x: norm.x, ..*op }, Some(norm.by)),
        _ => (*op, None),
    }
}

/// Whether the operator, or a gate behind it, has so few rows that one dispatch computes what is beside it too.
pub(crate) fn takes_few_rows(r: &Recorder<'_>, op: &Linear, output: ValueId) -> bool {
    let layout = r.layout(op.weight);
    let Ok(shape) = r.shape(output) else { return false };
    let m = element_count(&shape) / shape.last().copied().unwrap_or(1).max(1);
    let half = r.caps.f16 && r.options.half_tiles;
    let is_whole = r.weights.row_ranges(op.weight, usize::MAX).len() == 1
        && r.limits.items(m, &[layout.cols * 4, layout.rows * 4], layout.rows.saturating_mul(layout.cols)) >= m;
    m <= FEW_ROWS && is_whole && tiling(m, layout.rows, r.options.tiling, half, r.caps) == Tiling::Rows
}

/// Records few rows as one dispatch.
fn record_few_rows(r: &mut Recorder<'_>, op: &Linear, output: ValueId, beside: Beside) -> Result<(), PlanError> {
    let layout = *r.layout(op.weight);
    let made = if beside.gate.is_some() { layout.rows / 2 } else { layout.rows };
    let m = element_count(&r.shape(output)?) / made;
    let op = &Linear { activation: beside.gate.unwrap_or(op.activation), ..*op };
    let (kernel, workgroups) = rows_kernel(m, made, op, &layout, (r.caps, r.options));
    let kernel = kernel.flag("NORM", beside.norm.is_some()).flag("GATE", beside.gate.is_some());
    let kernel = match beside.norm {
        Some(norm) => kernel.constant("EPSILON", norm.eps.to_bits()),
        None => kernel,
    };
    let weight = WeightParams::new(&layout);
    let params = LinearParams { weight, m: m as u32, n: made as u32, k: layout.cols as u32, stride: made as u32 };
    let (every_row, every_weight) = (0..m, 0..layout.rows);
    let mut bindings = operands(r, op, &every_weight);
    bindings.push(r.items(1, op.x, &every_row, m)?);
    bindings.extend(op.residual.map(|residual| r.items(6, residual, &every_row, m)).transpose()?);
    bindings.extend(beside.norm.and_then(|norm| r.vector(7, norm.weight)));
    bindings.push(r.items(8, output, &every_row, m)?);
    r.dispatch(output, kernel, params, bindings, workgroups)
}

/// Binds some rows of the weight, and of the bias.
fn operands(r: &Recorder<'_>, op: &Linear, rows: &Range<usize>) -> Vec<Binding> {
    let planes = [(2, Part::Packed), (3, Part::Scale), (4, Part::Zero)];
    let planes = planes.into_iter().filter_map(|(number, part)| r.plane_rows(number, op.weight, part, rows));
    planes.chain(op.bias.and_then(|bias| r.plane_rows(5, bias, Part::Packed, rows))).collect()
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
    let mut bindings = operands(r, op, &columns);
    bindings.push(r.items(1, op.x, &rows, total)?);
    if let Some(residual) = op.residual {
        bindings.push(from_column(r.items(6, residual, &rows, total)?, columns.start));
    }
    bindings.push(from_column(r.items(8, output, &rows, total)?, columns.start));
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
        Tiling::Rows | Tiling::Auto => rows_kernel(m, n, op, layout, (caps, options)),
    }
}

/// The kernel for few rows, and its workgroups.
fn rows_kernel(
    m: usize,
    n: usize,
    op: &Linear,
    layout: &Layout,
    (caps, options): (&DeviceCaps, &PlanOptions),
) -> (Kernel, [usize; 3]) {
    let threads = options.workgroup_size.unwrap_or(ROWS_THREADS);
    let subgroup = caps.subgroup_size.filter(|size| size.is_power_of_two() && *size <= threads);
    let team = subgroup.unwrap_or(TEAM.min(threads));
    let kernel = linear_kernel("linear_rows", op, layout)
        .flag("SUBGROUPS", subgroup.is_some())
        .constant("K", layout.cols as u32)
        .constant("TEAM", team)
        .constant("WG", threads);
    let [x, z, _] = row_groups(n.div_ceil((threads / team) as usize), caps);
    (kernel, [x, m, z])
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
        .flag("N_VEC4", layout.rows.is_multiple_of(4) && file != "linear_rows")
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
            .constant("K", 4)
            .constant("TEAM", 32)
            .constant("WG", 64)
            .constant("BITS", 32)
            .constant("ACTIVATION", 0);
        assert_same_layout!(linear, WeightParams { row_words, group_size, groups_per_row, rows });
        assert_same_layout!(linear, LinearParams { weight, m, n, k, stride });
    }
}
