//! Where values stop being numbers.

use webnibble_common::tensor::{Data, Tensor};

/// Index and value of the first NaN or infinity of a tensor; integers have none.
pub fn first_non_finite_of(tensor: &Tensor) -> Option<(usize, f32)> {
    match tensor.data() {
        Data::F32(values) => first_non_finite(values),
        Data::F16(values) => values.iter().position(|value| !value.is_finite()).map(|at| (at, values[at].to_f32())),
        Data::U32(_) | Data::I8(_) => None,
    }
}

/// Index and value of the first NaN or infinity.
pub fn first_non_finite(values: &[f32]) -> Option<(usize, f32)> {
    // A whole chunk at a time: a loop that may leave at every element is not vectorized.
    const CHUNK: usize = 256;
    for (chunk, part) in values.chunks(CHUNK).enumerate() {
        if part.iter().fold(false, |any, value| any | !value.is_finite()) {
            let index = part.iter().position(|value| !value.is_finite())?;
            return Some((chunk * CHUNK + index, part[index]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_either_width_are_looked_at() {
        let half = [1.0, f32::INFINITY].map(half::f16::from_f32).to_vec();
        assert_eq!(first_non_finite_of(&Tensor::new([2], half).unwrap()), Some((1, f32::INFINITY)));
        assert_eq!(first_non_finite_of(&Tensor::f32([1], vec![f32::INFINITY]).unwrap()), Some((0, f32::INFINITY)));
        assert_eq!(first_non_finite_of(&Tensor::u32([1], vec![f32::INFINITY.to_bits()]).unwrap()), None);
    }

    #[test]
    fn the_first_non_finite_is_found_wherever_it_lies() {
        assert_eq!(first_non_finite(&[0.0; 1000]), None);
        for index in [0, 255, 256, 999] {
            let mut values = vec![1.0; 1000];
            values[index] = f32::NEG_INFINITY;
            assert_eq!(first_non_finite(&values), Some((index, f32::NEG_INFINITY)));
        }
        assert!(
            first_non_finite(&[0.0, f32::NAN, f32::INFINITY])
                .is_some_and(|(index, found)| index == 1 && found.is_nan())
        );
    }
}
