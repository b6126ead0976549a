//! Uniform blocks of the kernels, laid out as WGSL lays out the structs of the same name.
//!
//! A test reads every struct's member offsets from the WGSL by naga and compares them with these.

use bytemuck::{Pod, Zeroable};
use webnibble_common::quant::Layout;

/// Marks an offset in [`EmbeddingParams`] that there is no plane for.
pub const NONE: u32 = u32::MAX;

/// How a matrix lies in its planes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct WeightParams {
    /// 32-bit words of a row.
    pub row_words: u32,
    /// Columns that share a scale.
    pub group_size: u32,
    /// Scales of a row; 0 when there is one for the whole tensor.
    pub groups_per_row: u32,
    /// Rows.
    pub rows: u32,
}

impl WeightParams {
    /// The block for a layout.
    pub fn new(layout: &Layout) -> Self {
        Self {
            row_words: (layout.row_bytes() / 4) as u32,
            group_size: layout.group_size as u32,
            groups_per_row: layout.groups_per_row as u32,
            rows: layout.rows as u32,
        }
    }
}

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

/// `layer_norm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct LayerNormParams {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub hidden: u32,
    /// Added to the variance.
    pub eps: f32,
    /// Zero.
    pub reserved: u32,
}

/// `attention.wgsl`. Strides and starts count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct AttentionParams {
    /// Query rows of a batch item.
    pub queries: u32,
    /// Key rows of a batch item.
    pub keys: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Number of heads.
    pub heads: u32,
    /// From a query row to the next.
    pub q_stride: u32,
    /// First column of the queries.
    pub q_start: u32,
    /// From a key row to the next.
    pub k_stride: u32,
    /// First column of the keys.
    pub k_start: u32,
    /// From a value row to the next.
    pub v_stride: u32,
    /// First column of the values.
    pub v_start: u32,
    /// Multiplies the scores.
    pub scale: f32,
    /// Element of the mask at which the first batch item begins.
    pub mask_start: u32,
}

/// A table of `embedding.wgsl`; word offsets count from the start of `aux`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Table {
    /// Word offset of the packed plane, or 0 for the token table.
    pub packed: u32,
    /// Word offset of the scales, or [`NONE`].
    pub scales: u32,
    /// Word offset of the zero points, or [`NONE`].
    pub zeros: u32,
    /// 32-bit words of a row.
    pub row_words: u32,
    /// Columns that share a scale.
    pub group_size: u32,
    /// Scales of a row; 0 when there is one for the whole tensor.
    pub groups_per_row: u32,
    /// Rows that are bound.
    pub rows: u32,
    /// Row of the whole table that the first of them is.
    pub first_row: u32,
}

impl Default for Table {
    /// No table.
    fn default() -> Self {
        Self {
            packed: NONE,
            scales: NONE,
            zeros: NONE,
            row_words: 0,
            group_size: 1,
            groups_per_row: 0,
            rows: 0,
            first_row: 0,
        }
    }
}

/// `embedding.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct EmbeddingParams {
    /// Token table.
    pub table: Table,
    /// Position table.
    pub positions: Table,
    /// Segment table.
    pub types: Table,
    /// Tokens of the whole batch.
    pub tokens: u32,
    /// Tokens of a batch item.
    pub seq: u32,
    /// Columns.
    pub hidden: u32,
    /// Row of the first position.
    pub position_offset: u32,
    /// Word offset of the norm's scale.
    pub norm_weight: u32,
    /// Word offset of the norm's shift.
    pub norm_bias: u32,
    /// Added to the variance.
    pub eps: f32,
    /// Last row of the whole token table.
    pub last_row: u32,
    /// Token at which the output begins.
    pub first_token: u32,
    /// Zero.
    pub reserved0: u32,
    /// Zero.
    pub reserved1: u32,
    /// Zero.
    pub reserved2: u32,
}

/// `pool.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PoolParams {
    /// Tokens of a batch item.
    pub seq: u32,
    /// Columns.
    pub hidden: u32,
    /// Batch items.
    pub batch: u32,
    /// Element of the mask at which the first of them begins.
    pub mask_start: u32,
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;
    use crate::shaders::Kernel;

    /// Offsets of a WGSL struct's members by name, and its size.
    fn wgsl_struct(kernel: &Kernel, name: &str) -> (Vec<(String, usize)>, usize) {
        let text = kernel.source().unwrap();
        let module = naga::front::wgsl::parse_str(&text).unwrap();
        let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name));
        let Some((_, naga::Type { inner: naga::TypeInner::Struct { members, span }, .. })) = found else {
            panic!("{kernel}: there is no struct {name}");
        };
        let offsets = members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect();
        (offsets, *span as usize)
    }

    macro_rules! assert_same_layout {
        ($kernel:expr, $name:ident { $($field:ident),* }) => {
            let expected = vec![$((stringify!($field).to_owned(), offset_of!($name, $field))),*];
            let (offsets, size) = wgsl_struct(&$kernel, stringify!($name));
            assert_eq!(offsets, expected, stringify!($name));
            assert_eq!(size, size_of::<$name>(), stringify!($name));
        };
    }

    #[test]
    fn structs_agree_with_the_wgsl() {
        let linear = Kernel::new("linear_rows")
            .flag("SINGLE", true)
            .constant("WG", 64)
            .constant("BITS", 32)
            .constant("ACTIVATION", 0);
        assert_same_layout!(linear, WeightParams { row_words, group_size, groups_per_row, rows });
        assert_same_layout!(linear, LinearParams { weight, m, n, k, stride });
        let norm = Kernel::new("layer_norm").constant("WG", 64);
        assert_same_layout!(norm, LayerNormParams { rows, hidden, eps, reserved });
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
        let embedding = Kernel::new("embedding").constant("WG", 64).constant("TABLE_BITS", 32);
        assert_same_layout!(
            embedding,
            Table { packed, scales, zeros, row_words, group_size, groups_per_row, rows, first_row }
        );
        assert_same_layout!(
            embedding,
            EmbeddingParams {
                table,
                positions,
                types,
                tokens,
                seq,
                hidden,
                position_offset,
                norm_weight,
                norm_bias,
                eps,
                last_row,
                first_token,
                reserved0,
                reserved1,
                reserved2
            }
        );
        let pool = Kernel::new("pool").constant("WG", 64).constant("POOLING", 1);
        assert_same_layout!(pool, PoolParams { seq, hidden, batch, mask_start });
    }
}
