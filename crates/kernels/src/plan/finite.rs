//! Looking for NaN and infinity in outputs on the device: the dispatches of `finite.wgsl`, and what they found.

use bytemuck::{Pod, Zeroable};

use super::chunks::{ALIGNMENT, parts};
use super::device::DeviceCaps;
use crate::shaders::Kernel;

/// 32-bit words that the kernel writes of an output: see [`Found`].
pub const FOUND_WORDS: usize = 4;

/// Threads of a workgroup.
const WG: u32 = 256;

/// Elements that a thread looks at, where there are workgroups enough.
const ELEMENTS_A_THREAD: usize = 8;

/// Most workgroups of a dispatch: more would not be busy at the same time.
const MOST_WORKGROUPS: usize = 1024;

/// `finite.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct FiniteParams {
    /// Elements that are bound.
    pub(super) count: u32,
    /// Threads of the dispatch.
    pub(super) threads: u32,
    /// Index in the output of the first of them.
    pub(super) first: u32,
    /// Word at which the output's begin.
    pub(super) place: u32,
}

/// NaN and infinity in an output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// How many there are.
    pub count: usize,
    /// Index of the first, in row-major order.
    pub first: usize,
    /// The first.
    pub value: f32,
}

impl Found {
    /// What the kernel wrote of an output; `None` where all of it is finite.
    pub fn read(words: [u32; FOUND_WORDS]) -> Option<Self> {
        let [count, places @ ..] = words;
        let kinds = places.into_iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        // An index is kept as its distance from the largest, and 0 is none.
        let firsts = kinds.filter(|(place, _)| *place > 0).map(|(place, value)| (u32::MAX - place, value));
        let (first, value) = firsts.min_by_key(|(first, _)| *first)?;
        Some(Self { count: count as usize, first: first as usize, value })
    }
}

/// The kernel.
pub(super) fn kernel() -> Kernel {
    Kernel::new("finite").constant("WG", WG)
}

/// A dispatch over elements of an output.
pub(super) struct Pass {
    pub(super) params: FiniteParams,
    pub(super) workgroups: usize,
}

/// Dispatches over `count` elements of 4 bytes, whose findings go to output number `output`: as many as the adapter's largest
/// binding takes.
pub(super) fn passes(count: usize, output: usize, caps: &DeviceCaps) -> Vec<Pass> {
    let most = caps.storage_binding_bytes / ALIGNMENT * ALIGNMENT / 4;
    let pass = |elements: std::ops::Range<usize>| {
        let groups = elements.len().div_ceil(WG as usize * ELEMENTS_A_THREAD);
        let workgroups = groups.clamp(1, MOST_WORKGROUPS.min(caps.workgroups_per_dimension));
        let params = FiniteParams {
            count: elements.len() as u32,
            threads: workgroups as u32 * WG,
            first: elements.start as u32,
            place: (output * FOUND_WORDS) as u32,
        };
        Pass { params, workgroups }
    };
    parts(0..count, most).map(pass).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_any_kind_is_told() {
        assert_eq!(Found::read([0; 4]), None);
        let found = Found::read([3, u32::MAX - 9, u32::MAX, u32::MAX - 4]).unwrap();
        assert_eq!(found, Found { count: 3, first: 0, value: f32::INFINITY });
        let found = Found::read([2, u32::MAX - 9, 0, u32::MAX - 12]).unwrap();
        assert!((found.count, found.first) == (2, 9) && found.value.is_nan(), "{found:?}");
    }

    #[test]
    fn large_outputs_are_looked_at_in_parts() {
        let caps = DeviceCaps { storage_binding_bytes: 1024 + 100, ..DeviceCaps::CORE };
        let passes = passes(600, 2, &caps);
        let found: Vec<_> = passes.iter().map(|pass| (pass.params.first, pass.params.count, pass.workgroups)).collect();
        assert_eq!(found, [(0, 256, 1), (256, 256, 1), (512, 88, 1)]);
        assert!(passes.iter().all(|pass| pass.params.place == 8 && pass.params.threads == 256));
        let [one] = &super::passes(1 << 20, 0, &DeviceCaps::CORE)[..] else { panic!("it fits one binding") };
        assert_eq!(one.workgroups, 512);
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn the_block_lies_as_in_wgsl() {
        crate::params::assert_same_layout!(kernel(), FiniteParams { count, threads, first, place });
    }
}
