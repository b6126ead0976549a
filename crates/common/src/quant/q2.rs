//! Two bits a weight, four codes a byte, the lowest column in the lowest bits.
//!
//! ```text
//! byte     │         0         │         1         │ …
//! bits     │ 7,6  5,4  3,2  1,0│ 7,6  5,4  3,2  1,0│
//! column   │  3    2    1    0 │  7    6    5    4 │ …
//! ```
//!
//! Symmetric codes 0…3 stand for −2…1; with a negative scale for 2…−1.

/// Codes in a byte.
pub(super) const PER_BYTE: usize = 4;

const _: () = assert!(PER_BYTE * 2 == u8::BITS as usize);

/// A byte of codes, lowest column first.
pub(super) fn pack(codes: [u8; PER_BYTE]) -> u8 {
    codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6
}

/// The codes of a byte, lowest column first.
pub(super) fn unpack(byte: u8) -> [u8; PER_BYTE] {
    [byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_golden, cosine_rmse};
    use super::super::{Bits, Scheme};
    use super::*;

    #[test]
    fn bytes_round_trip() {
        for byte in 0..=u8::MAX {
            assert_eq!(pack(unpack(byte)), byte);
        }
        assert_eq!(pack([0, 1, 2, 3]), 0b11_10_01_00);
    }

    #[test]
    fn golden_rows() {
        check_golden(Bits::B2, Scheme::Symmetric, &[-1.0, 0.5, 0.0, -0.5, 0.5], &[0, 3, 2, 1, 3], 0.5, 2);
        check_golden(Bits::B2, Scheme::Symmetric, &[1.0, -0.5, 0.0, 0.5, -0.5], &[0, 3, 2, 1, 3], -0.5, 2);
        check_golden(Bits::B2, Scheme::Asymmetric, &[-0.25, 0.0, 0.25, 0.5], &[0, 1, 2, 3], 0.25, 1);
    }

    #[test]
    fn error_of_the_cosine_vector() {
        assert!(cosine_rmse(Bits::B2, Scheme::Symmetric) < 0.39);
        assert!(cosine_rmse(Bits::B2, Scheme::Asymmetric) < 0.39);
    }
}
