//! Eight bits a weight, one code a byte.
//!
//! ```text
//! byte     │ 0      │ 1      │ 2      │ …
//! bits     │ 7 … 0  │ 7 … 0  │ 7 … 0  │
//! column   │   0    │   1    │   2    │ …
//! ```
//!
//! Symmetric codes 0…255 stand for −128…127.

/// Codes in a byte.
pub(super) const PER_BYTE: usize = 1;

const _: () = assert!(PER_BYTE * 8 == u8::BITS as usize);

/// A byte of codes, lowest column first.
pub(super) fn pack(codes: [u8; PER_BYTE]) -> u8 {
    codes[0]
}

/// The codes of a byte, lowest column first.
pub(super) fn unpack(byte: u8) -> [u8; PER_BYTE] {
    [byte]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_golden, cosine_rmse};
    use super::super::{Bits, Scheme};
    use super::*;

    #[test]
    fn bytes_round_trip() {
        assert_eq!((pack([0x9c]), unpack(0x9c)), (0x9c, [0x9c]));
    }

    #[test]
    fn golden_rows() {
        check_golden(Bits::B8, Scheme::Symmetric, &[-64.0, 63.5, 0.0, 0.5, -0.5], &[0, 255, 128, 129, 127], 0.5, 128);
        check_golden(Bits::B8, Scheme::Asymmetric, &[0.0, 1.9921875, 0.0078125], &[0, 255, 1], 0.0078125, 0);
    }

    #[test]
    fn error_of_the_cosine_vector() {
        assert!(cosine_rmse(Bits::B8, Scheme::Symmetric) < 0.0044);
        assert!(cosine_rmse(Bits::B8, Scheme::Asymmetric) < 0.0044);
    }
}
