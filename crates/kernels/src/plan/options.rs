//! Choices that are not the adapter's.

use super::chunks::Chunking;

/// Which tile shape the linear kernel takes; [`Tiling::Auto`] chooses by the shape of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Tiling {
    /// By shape.
    #[default]
    Auto,
    /// `BM`, `BN`, `BK`, slices: for measuring.
    Fixed(u32, u32, u32, u32),
    /// The kernel for few rows.
    Rows,
    /// The kernel without workgroup memory.
    Direct,
}

/// Choices that are not the adapter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Use only features of core WebGPU.
    pub portable: bool,
    /// Keep tiles in f16 where the adapter can. Faster on some adapters, with an error of 1e-3 instead of 1e-6.
    pub half_tiles: bool,
    /// Tile shape of the linear kernel.
    pub tiling: Tiling,
    /// Threads of a workgroup, for kernels whose work does not depend on it: a power of two.
    pub workgroup_size: Option<u32>,
    /// How operators are cut into parts; `None` cuts nothing.
    pub chunking: Option<Chunking>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            portable: false,
            half_tiles: false,
            tiling: Tiling::Auto,
            workgroup_size: None,
            chunking: Some(Chunking::BY_ADAPTER),
        }
    }
}
