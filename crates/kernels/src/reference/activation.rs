//! Twin of `wgsl/activation.wgsl`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

use webnibble_common::graph::Activation;

/// `activation(x)`, every formula as transformers' `ACT2FN` has it.
pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            // sqrt(2 / π)
            let slope = FRAC_2_SQRT_PI / SQRT_2;
            0.5 * x * (1.0 + (slope * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // torch.nn.functional in f64 at x = 1.5.
        for (activation, expected) in [
            (Activation::Identity, 1.5),
            (Activation::Relu, 1.5),
            (Activation::Gelu, 1.399_789_198_096_713),
            (Activation::GeluTanh, 1.399_571_576_977_018),
            (Activation::Silu, 1.226_361_714_291_466),
            (Activation::Tanh, 0.905_148_253_644_866_4),
        ] {
            let found = activate(activation, 1.5);
            assert!((found - expected).abs() < 1e-9, "{activation:?}: expected {expected}, found {found}");
        }
        assert_eq!(activate(Activation::Relu, -2.0), 0.0);
    }

    #[test]
    fn far_arguments_stay_finite() {
        for x in [-1e4, -100.0, 100.0, 1e4] {
            for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Tanh] {
                assert!(activate(activation, x).is_finite(), "{activation:?}({x})");
            }
        }
        assert_eq!(activate(Activation::Gelu, -100.0), 0.0);
    }
}
