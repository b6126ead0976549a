//! Activations over slices.

use webnibble_common::graph::Activation;

use super::math::{exp, map, phi, tanh};
use super::real::Real;

/// Applies `activation` to each value.
pub(crate) fn activate(activation: Activation, values: &mut [f32]) {
    // The choice stands outside the loops, so that each of them is vectorized.
    match activation {
        Activation::Identity => {}
        Activation::Relu => map!(values, relu),
        Activation::Gelu => map!(values, gelu),
        Activation::GeluTanh => map!(values, gelu_tanh),
        Activation::Silu => map!(values, silu),
        Activation::Tanh => map!(values, tanh),
    }
}

#[inline(always)]
fn relu<R: Real>(x: R) -> R {
    x.max(R::of(0.0))
}

#[inline(always)]
fn gelu<R: Real>(x: R) -> R {
    x.times(phi(x))
}

#[inline(always)]
fn gelu_tanh<R: Real>(x: R) -> R {
    let inner = x.times(x).mul_add(R::of(0.797_884_6 * 0.044_715), R::of(0.797_884_6)).times(x);
    R::of(0.5).times(x).times(tanh(inner).plus(R::of(1.0)))
}

#[inline(always)]
fn silu<R: Real>(x: R) -> R {
    x.over(exp(R::of(0.0).minus(x)).plus(R::of(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::activation as reference;

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
