//! Shared by the tests of the formats.

use super::{Bits, ErrorStats, Quantizer, Scheme};

/// Quantizes one row as one group and compares codes, scale, zero point, packed bytes' round trip and values, exactly.
pub(super) fn check_golden(bits: Bits, scheme: Scheme, row: &[f32], codes: &[u8], scale: f32, zero: u8) {
    let q = Quantizer::new(bits).scheme(scheme).per_channel().quantize(row, &[1, row.len()]).unwrap();
    let found: Vec<u8> = (0..row.len()).map(|col| q.code(0, col)).collect();
    assert_eq!((found.as_slice(), q.scale(0, 0), q.zero(0, 0)), (codes, scale, zero), "{row:?}");
    assert_eq!(q.dequantize(), row);
    let padding: Vec<u8> = (row.len()..q.layout.cols_padded).map(|col| q.code(0, col)).collect();
    assert!(padding.iter().all(|code| *code == zero), "padding holds the zero code");
}

/// RMSE of `0.1 + 2 cos i`, the vector that ggml tests its formats on, in groups of 32.
pub(super) fn cosine_rmse(bits: Bits, scheme: Scheme) -> f64 {
    let data: Vec<f32> = (0..32 * 128).map(|i| 0.1 + 2.0 * (i as f32).cos()).collect();
    let q = Quantizer::new(bits).scheme(scheme).group_size(32).quantize(&data, &[32, 128]).unwrap();
    ErrorStats::of(&data, &q).rmse
}
