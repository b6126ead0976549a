//! What uniform blocks share. Each operator's block stands beside the plan that fills it, laid out as WGSL lays out the
//! struct of the same name.
//!
//! A test of each reads the struct's member offsets from the WGSL by naga and compares them.

use bytemuck::{Pod, Zeroable};
use webnibble_common::quant::Layout;

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

#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use layout::{assert_same_layout, wgsl_struct};

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod layout {
    use crate::shaders::Kernel;

    /// Offsets of a WGSL struct's members by name, and its size.
    pub(crate) fn wgsl_struct(kernel: &Kernel, name: &str) -> (Vec<(String, usize)>, usize) {
        let text = kernel.source().unwrap();
        let module = naga::front::wgsl::parse_str(&text).unwrap();
        let found = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name));
        let Some((_, naga::Type { inner: naga::TypeInner::Struct { members, span }, .. })) = found else {
            panic!("{kernel}: there is no struct {name}");
        };
        let offsets = members.iter().map(|m| (m.name.clone().unwrap(), m.offset as usize)).collect();
        (offsets, *span as usize)
    }

    /// Compares the layout of a struct with that of the WGSL struct of the same name.
    macro_rules! assert_same_layout {
        ($kernel:expr, $name:ident { $($field:ident),* }) => {
            let expected = vec![$((stringify!($field).to_owned(), std::mem::offset_of!($name, $field))),*];
            let (offsets, size) = $crate::params::wgsl_struct(&$kernel, stringify!($name));
            assert_eq!(offsets, expected, stringify!($name));
            assert_eq!(size, std::mem::size_of::<$name>(), stringify!($name));
        };
    }
    pub(crate) use assert_same_layout;
}
