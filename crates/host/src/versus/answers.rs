//! Answers of contestants, compared.

use webnibble_common::tensor::Tensor;

use crate::reference;

pub(super) fn first_values(outputs: &[(String, Tensor)]) -> Option<Vec<f32>> {
    Some(outputs.first()?.1.as_f32().ok()?.to_vec())
}

/// Of two answers, where both have as many numbers.
pub(super) fn cosine(a: Option<&[f32]>, b: Option<&[f32]>) -> Option<f64> {
    let (a, b) = (a?, b?);
    (a.len() == b.len() && !a.is_empty()).then(|| reference::cosine(a, b))
}
