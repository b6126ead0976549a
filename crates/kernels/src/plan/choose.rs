//! Choosing the next token where its scores are: the dispatches of `choose.wgsl`, and what they read.

use bytemuck::{Pod, Zeroable};

use super::device::DeviceCaps;
use crate::shaders::Kernel;

/// What `choose.wgsl` gives where a score is not finite.
pub const NO_TOKEN: u32 = u32::MAX;

/// Below this a temperature takes the likeliest, and scores divided by it are finite.
const LEAST_TEMPERATURE: f32 = 1e-20;

/// Digits of a key that the kernel looks at together have so many values.
const BINS: usize = 16;

/// How a token is chosen: `Sampling` of `choose.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Sampling {
    /// Divides the scores; 0 takes the likeliest.
    pub temperature: f32,
    /// Draw from that many of the likeliest; 0 for all.
    pub top_k: u32,
    /// Draw from the likeliest up to that probability in all.
    pub top_p: f32,
    /// Draw from those at least that likely, relative to the likeliest.
    pub min_p: f32,
    /// Divides positive scores of tokens that were there before, multiplies negative ones.
    pub repetition_penalty: f32,
    /// Of the seed.
    pub seed_low: u32,
    /// Of the seed.
    pub seed_high: u32,
    /// Makes it a multiple of 16 bytes.
    pub reserved: u32,
}

impl Sampling {
    /// Whether tokens are drawn, and not the likeliest taken.
    pub fn draws(&self) -> bool {
        self.temperature > LEAST_TEMPERATURE
    }
}

/// `choose.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct ChooseParams {
    /// Scores.
    pub(super) count: u32,
}

/// Bytes of a bit for each of so many tokens.
pub fn seen_bytes(tokens: usize) -> usize {
    tokens.div_ceil(128) * 16
}

/// The kernel, with as many threads as its memory allows: there is one workgroup.
pub(super) fn kernel(draws: bool, caps: &DeviceCaps) -> Kernel {
    let bytes = |threads: usize| threads * if draws { BINS * 4 + 8 } else { 8 };
    let fits = |threads: &usize| *threads <= caps.invocations && bytes(*threads) <= caps.workgroup_storage_bytes;
    // Threads of a software adapter cost more than they give.
    let most = if caps.software { 32 } else { 1024 };
    let threads = std::iter::successors(Some(most), |threads| Some(threads / 2)).find(fits).unwrap_or(1);
    Kernel::new("choose").flag("DRAW", draws).constant("WG", threads as u32)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::{assert_same_layout, wgsl_struct};

    #[test]
    fn structs_agree_with_the_wgsl() {
        let kernel = kernel(true, &DeviceCaps::CORE);
        assert_same_layout!(kernel, ChooseParams { count });
        let (offsets, bytes) = wgsl_struct(&kernel, "Sampling");
        assert_eq!(offsets.last().unwrap(), &("seed_high".to_owned(), std::mem::offset_of!(Sampling, seed_high)));
        assert!(bytes <= size_of::<Sampling>());
    }

    #[test]
    fn the_one_workgroup_is_as_large_as_the_adapter_takes() {
        let threads = |draws, caps: &DeviceCaps| kernel(draws, caps).constants[0].1;
        assert_eq!((threads(false, &DeviceCaps::CORE), threads(true, &DeviceCaps::CORE)), (256, 128));
        let large = DeviceCaps { invocations: 1024, workgroup_storage_bytes: 48 << 10, ..DeviceCaps::CORE };
        assert_eq!((threads(false, &large), threads(true, &large)), (1024, 512));
    }
}
