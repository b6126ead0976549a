//! Weights made ready for a product: eight rows side by side, a few hundred columns of them at a time.
//!
//! Values are exactly those of [`QTensor::dequantize_row_into`]. Eight rows are read together, four bytes of each, and
//! their bytes exchanged so that one vector holds the same column of all rows; only then are codes widened and scaled.

use core::arch::wasm32::*;

use webnibble_common::quant::{Bits, QTensor};

use super::strip::STRIP;

/// Four bytes of each row: the lower four rows in one vector, the upper four in another.
type Block = [v128; 2];

/// Columns `from..` of the weight rows from `first` on, as the rows of `panel`. Rows beyond the last are the last again.
/// `from` is a multiple of 16.
pub(crate) fn fill(weight: &QTensor, first: usize, from: usize, panel: &mut [[f32; STRIP]]) {
    let rows = Planes::of(weight, first);
    match weight.layout.format.bits {
        Bits::B2 => rows.codes::<2>(from, panel),
        Bits::B4 => rows.codes::<4>(from, panel),
        Bits::B8 => rows.codes::<8>(from, panel),
        Bits::B16 => rows.halves(from, panel),
        Bits::B32 => rows.floats(from, panel),
    }
}

/// The packed planes of eight rows.
struct Planes<'a> {
    weight: &'a QTensor,
    rows: [usize; STRIP],
    packed: [&'a [u8]; STRIP],
}

impl<'a> Planes<'a> {
    fn of(weight: &'a QTensor, first: usize) -> Self {
        let row_bytes = weight.layout.row_bytes();
        let rows = std::array::from_fn(|lane| (first + lane).min(weight.layout.rows - 1));
        let packed = rows.map(|row| &weight.packed[row * row_bytes..][..row_bytes]);
        Self { weight, rows, packed }
    }

    /// Rows of codes: groups of columns share scales and zero points, and hold whole words.
    fn codes<const BITS: usize>(&self, from: usize, panel: &mut [[f32; STRIP]]) {
        let columns = 32 / BITS;
        let end = from + panel.len();
        let group_size = self.weight.layout.group_size;
        let mut at = from;
        while at < end {
            let group_end = (at / group_size + 1) * group_size;
            let (scales, zeros) = self.scales(at);
            let part = &mut panel[at - from..group_end.min(end) - from];
            for (index, part) in part.chunks_mut(columns).enumerate() {
                let block = self.block((at + index * columns) * BITS / 8);
                spread::<BITS>(block, scales, zeros, part);
            }
            at = group_end;
        }
    }

    /// Scales and zero points of a column.
    fn scales(&self, col: usize) -> (Block, Block) {
        let scales = self.rows.map(|row| self.weight.scale(row, col));
        let zeros = self.rows.map(|row| f32::from(self.weight.zero(row, col)));
        (vectors(scales), vectors(zeros))
    }

    /// Four bytes of each row, from byte `at` on.
    #[inline(always)]
    fn block(&self, at: usize) -> Block {
        let word = |lane: usize| {
            let bytes = &self.packed[lane][at..at + 4];
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        [u32x4(word(0), word(1), word(2), word(3)), u32x4(word(4), word(5), word(6), word(7))]
    }

    /// Rows of f16, two columns in a block.
    fn halves(&self, from: usize, panel: &mut [[f32; STRIP]]) {
        for (index, part) in panel.chunks_mut(2).enumerate() {
            let [low, high] = self.block((from + 2 * index) * 2);
            let even = [v128_and(low, u32x4_splat(0xffff)), v128_and(high, u32x4_splat(0xffff))];
            let odd = [u32x4_shr(low, 16), u32x4_shr(high, 16)];
            for (out, half) in part.iter_mut().zip([even, odd]) {
                *out = array(half.map(from_f16));
            }
        }
    }

    /// Rows of f32, a column a block.
    fn floats(&self, from: usize, panel: &mut [[f32; STRIP]]) {
        for (index, out) in panel.iter_mut().enumerate() {
            *out = array(self.block((from + index) * 4));
        }
    }
}

/// The values of a block's codes, column by column.
#[inline(always)]
fn spread<const BITS: usize>([low, high]: Block, scales: Block, zeros: Block, out: &mut [[f32; STRIP]]) {
    // Byte 0 of all rows and byte 1, then bytes 2 and 3.
    let first = i8x16_shuffle::<0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29>(low, high);
    let last = i8x16_shuffle::<2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31>(low, high);
    let wide = [
        u16x8_extend_low_u8x16(first),
        u16x8_extend_high_u8x16(first),
        u16x8_extend_low_u8x16(last),
        u16x8_extend_high_u8x16(last),
    ];
    let mask = u16x8_splat((1 << BITS) - 1);
    for (out, bytes) in out.chunks_mut(8 / BITS).zip(wide) {
        for (index, out) in out.iter_mut().enumerate() {
            let codes = v128_and(u16x8_shr(bytes, (index * BITS) as u32), mask);
            let codes = [u32x4_extend_low_u16x8(codes), u32x4_extend_high_u16x8(codes)];
            // Exactly as the package says: the difference is a whole number, the product is rounded once if at all.
            let value = |half: usize| f32x4_mul(f32x4_sub(f32x4_convert_i32x4(codes[half]), zeros[half]), scales[half]);
            *out = array([value(0), value(1)]);
        }
    }
}

/// f16 bits in the lower half of each lane to f32. A half's exponent is 112 less: the product with 2^112 sets that
/// right for subnormals too, and is exact. Infinity and NaN have the largest exponent in either format.
#[inline(always)]
fn from_f16(bits: v128) -> v128 {
    let magnitude = u32x4_shl(v128_and(bits, u32x4_splat(0x7fff)), 13);
    let sign = u32x4_shl(v128_and(bits, u32x4_splat(0x8000)), 16);
    let scaled = f32x4_mul(magnitude, u32x4_splat((127 + 112) << 23));
    let not_finite = v128_and(u32x4_ge(magnitude, u32x4_splat(0x7c00 << 13)), u32x4_splat(0xff << 23));
    v128_or(v128_or(scaled, not_finite), sign)
}

fn vectors([a, b, c, d, e, f, g, h]: [f32; STRIP]) -> Block {
    [f32x4(a, b, c, d), f32x4(e, f, g, h)]
}

#[inline(always)]
fn array([low, high]: Block) -> [f32; STRIP] {
    bytemuck::must_cast([low, high])
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;
    use webnibble_common::quant::{Format, Granularity, Quantizer, Scheme};

    use super::*;
    use crate::cpu::tiles::DEPTH;

    /// Every panel of `weight` against its rows.
    fn check(weight: &QTensor, what: &str) {
        let values = weight.dequantize();
        let (rows, cols) = (weight.layout.rows, weight.layout.cols);
        for first in (0..rows).step_by(STRIP) {
            for from in (0..cols).step_by(DEPTH) {
                let mut panel = vec![[f32::NAN; STRIP]; DEPTH.min(cols - from)];
                fill(weight, first, from, &mut panel);
                for (col, lanes) in panel.iter().enumerate() {
                    let expected = |lane: usize| values[(first + lane).min(rows - 1) * cols + from + col];
                    assert_eq!(*lanes, std::array::from_fn(expected), "{what}: column {} from row {first}", from + col);
                }
            }
        }
    }

    #[wasm_bindgen_test]
    fn panels_hold_what_rows_hold() {
        for (rows, cols) in [(1, 1), (8, 64), (9, 131), (17, 1100)] {
            let data: Vec<f32> = (0..rows * cols).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect();
            for bits in [Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32] {
                for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
                    for granularity in [16, 48, 128].map(Granularity::Group).into_iter().chain([Granularity::Channel]) {
                        let format = Format { bits, scheme, granularity };
                        let weight = Quantizer::for_format(format).quantize(&data, &[rows, cols]).unwrap();
                        check(&weight, &format!("{format} [{rows}, {cols}]"));
                    }
                }
            }
        }
    }

    #[wasm_bindgen_test]
    fn every_half_is_converted() {
        for start in (0..=u16::MAX).step_by(4) {
            let bits: [u16; 4] = std::array::from_fn(|i| start + i as u16);
            let found: [f32; 4] = bytemuck::must_cast(from_f16(u32x4_load(bits)));
            for (bits, found) in bits.iter().zip(found) {
                let expected = half::f16::from_bits(*bits).to_f32();
                assert!(expected.to_bits() == found.to_bits() || expected.is_nan() && found.is_nan(), "{bits:#x}");
            }
        }
    }

    fn u32x4_load([a, b, c, d]: [u16; 4]) -> v128 {
        u32x4(a.into(), b.into(), c.into(), d.into())
    }
}
