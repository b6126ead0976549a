//! Activations as kernels know them.

use webnibble_common::graph::Activation;

/// Number of an activation in `activation.wgsl`.
pub(crate) fn activation_code(activation: Activation) -> u32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Gelu => 2,
        Activation::GeluTanh => 3,
        Activation::Silu => 4,
        Activation::Tanh => 5,
    }
}
