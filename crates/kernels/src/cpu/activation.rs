//! Activations over slices.

use std::f32::consts::FRAC_1_SQRT_2;

use webnibble_common::graph::Activation;

use super::math::{erf, exp, tanh};

/// Applies `activation` to each value.
pub(super) fn activate(activation: Activation, values: &mut [f32]) {
    // The choice stands outside the loops, so that each of them is vectorized.
    match activation {
        Activation::Identity => {}
        Activation::Relu => map(values, |x| x.max(0.0)),
        Activation::Gelu => map(values, |x| 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))),
        Activation::GeluTanh => map(values, |x| 0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))),
        Activation::Silu => map(values, |x| x / (1.0 + exp(-x))),
        Activation::Tanh => map(values, tanh),
    }
}

#[inline(always)]
fn map(values: &mut [f32], f: impl Fn(f32) -> f32) {
    for value in values {
        *value = f(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn every_activation_is_that_of_the_reference() {
        let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 100.0).collect();
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu,
            Activation::Tanh,
        ] {
            let mut found = x.clone();
            activate(activation, &mut found);
            for (x, found) in x.iter().zip(&found) {
                let expected = reference::activate(activation, f64::from(*x));
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 1e-6 * (1.0 + x.abs() as f64), "{activation:?}({x}): {expected} and {found}");
            }
        }
    }
}
