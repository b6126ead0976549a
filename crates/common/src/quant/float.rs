//! Sixteen and thirty-two bits a weight: IEEE floats, little-endian, with no scales.
//!
//! ```text
//! f16   byte │ 0  1 │ 2  3 │ …      f32   byte │ 0 … 3 │ 4 … 7 │ …
//!     column │  0   │  1   │ …          column │   0   │   1   │ …
//! ```
//!
//! Rows are padded with zeros to 8 columns (f16) or 4 (f32): 16 bytes.

use half::f16;
use half::slice::HalfFloatSliceExt;

const _: () = assert!(size_of::<f16>() == 2 && size_of::<f32>() == 4);

/// Writes a row as f16, rounded to nearest, ties to even. `out` may be longer: the rest stays.
pub(super) fn pack_f16(values: &[f32], out: &mut [u8]) {
    for (bytes, value) in out.chunks_exact_mut(2).zip(values) {
        bytes.copy_from_slice(&f16::from_f32(*value).to_le_bytes());
    }
}

/// Writes a row as f32. `out` may be longer: the rest stays.
pub(super) fn pack_f32(values: &[f32], out: &mut [u8]) {
    for (bytes, value) in out.chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

/// Reads the first `out.len()` values of an f16 row.
pub(super) fn unpack_f16_into(packed: &[u8], out: &mut [f32]) {
    // Converted in blocks: `half` uses the processor's conversion for slices, where it has one.
    const BLOCK: usize = 64;
    let mut block = [f16::ZERO; BLOCK];
    for (out, packed) in out.chunks_mut(BLOCK).zip(packed.chunks(BLOCK * 2)) {
        let block = &mut block[..out.len()];
        for (half, bytes) in block.iter_mut().zip(packed.chunks_exact(2)) {
            *half = f16::from_le_bytes([bytes[0], bytes[1]]);
        }
        block.convert_to_f32_slice(out);
    }
}

/// Reads the first `out.len()` values of an f32 row.
pub(super) fn unpack_f32_into(packed: &[u8], out: &mut [f32]) {
    for (value, bytes) in out.iter_mut().zip(packed.chunks_exact(4)) {
        *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::cosine_rmse;
    use super::super::{Bits, Quantizer, Scheme};

    #[test]
    fn golden_rows() {
        let q = Quantizer::new(Bits::B16).quantize(&[1.0, -2.0, 0.1], &[1, 3]).unwrap();
        assert_eq!(q.packed[..6], [0x00, 0x3c, 0x00, 0xc0, 0x66, 0x2e]);
        assert_eq!((q.packed.len(), &q.packed[6..]), (16, &[0; 10][..]));
        assert_eq!(q.dequantize(), [1.0, -2.0, 0.099975586]);
        let q = Quantizer::new(Bits::B32).quantize(&[1.0, -2.0, 0.1, 7.0, 8.0], &[1, 5]).unwrap();
        assert_eq!(q.packed[..12], [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0xcd, 0xcc, 0xcc, 0x3d]);
        assert_eq!(q.packed.len(), 32);
        assert_eq!(q.dequantize(), [1.0, -2.0, 0.1, 7.0, 8.0]);
    }

    #[test]
    fn rows_longer_than_a_block_round_trip() {
        let data: Vec<f32> = (0..3 * 67).map(|i| i as f32 - 100.0).collect();
        for bits in [Bits::B16, Bits::B32] {
            assert_eq!(Quantizer::new(bits).quantize(&data, &[3, 67]).unwrap().dequantize(), data);
        }
    }

    #[test]
    fn error_of_the_cosine_vector() {
        assert!(cosine_rmse(Bits::B16, Scheme::Symmetric) < 3e-4);
        assert!(cosine_rmse(Bits::B32, Scheme::Symmetric) == 0.0);
    }
}
