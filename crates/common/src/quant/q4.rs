//! Four bits a weight, two codes a byte, the lower column in the lower bits.
//!
//! ```text
//! byte     │     0     │     1     │     2     │ …
//! bits     │ 7…4   3…0 │ 7…4   3…0 │ 7…4   3…0 │
//! column   │  1     0  │  3     2  │  5     4  │ …
//! ```
//!
//! Symmetric codes 0…15 stand for −8…7.

/// Codes in a byte.
pub(super) const PER_BYTE: usize = 2;

const _: () = assert!(PER_BYTE * 4 == u8::BITS as usize);

/// A byte of codes, lowest column first.
pub(super) fn pack(codes: [u8; PER_BYTE]) -> u8 {
    codes[0] | codes[1] << 4
}

/// The codes of a byte, lowest column first.
pub(super) fn unpack(byte: u8) -> [u8; PER_BYTE] {
    [byte & 0xf, byte >> 4]
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
        assert_eq!(pack([0x1, 0x2]), 0x21);
    }

    #[test]
    fn golden_rows() {
        check_golden(Bits::B4, Scheme::Symmetric, &[-2.0, 1.75, 0.0, 0.25, -0.25], &[0, 15, 8, 9, 7], 0.25, 8);
        // The larger magnitude is positive: the scale turns negative, so that +2 takes the longer side.
        check_golden(Bits::B4, Scheme::Symmetric, &[2.0, -1.75, 0.0, 0.25], &[0, 15, 8, 7], -0.25, 8);
        check_golden(Bits::B4, Scheme::Asymmetric, &[-0.5, 7.0, 0.0, 1.5], &[0, 15, 1, 4], 0.5, 1);
    }

    #[test]
    fn error_of_the_cosine_vector() {
        assert!(cosine_rmse(Bits::B4, Scheme::Symmetric) < 0.07);
        assert!(cosine_rmse(Bits::B4, Scheme::Asymmetric) < 0.07);
    }
}
