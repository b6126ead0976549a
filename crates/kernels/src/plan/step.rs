//! The step buffer: the little that changes from run to run of one recording, as data that kernels read and may advance.

use bytemuck::{Pod, Zeroable};

/// `Step` of `step.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Step {
    /// Positions that are in the states already: the run's own begin there.
    pub past: u32,
    /// Tokens of the text that were chosen before, which a generator of random numbers counts by.
    pub count: u32,
    /// The token that was chosen last: a kernel writes it.
    pub token: u32,
    /// Makes it a multiple of 16 bytes.
    pub reserved: u32,
}

impl Step {
    /// Its bytes, as the buffer holds them.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;
    use crate::shaders::Kernel;

    #[test]
    fn the_step_lies_as_in_wgsl() {
        assert_same_layout!(Kernel::new("step"), Step { past, count, token, reserved });
        let step = Step { past: 1, count: 2, token: 3, reserved: 0 };
        assert_eq!(step.bytes(), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    }
}
