//! Quantized tensors: planes, and the values that they stand for.

use half::f16;

use super::{Bits, Layout, QuantError, float, q2, q4, q8};

/// A matrix in a format: its planes as they are stored and uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct QTensor {
    /// Format, shape and byte layout.
    pub layout: Layout,
    /// Packed codes, or floats, little-endian: `layout.packed_bytes()`.
    pub packed: Vec<u8>,
    /// `layout.scale_count()` scales.
    pub scales: Vec<f16>,
    /// As many zero points if asymmetric, otherwise none.
    pub zeros: Vec<u8>,
}

impl QTensor {
    /// A tensor of the planes that a package holds: `scale` and `zero` in bytes, padded to 16 as in [`Layout`].
    ///
    /// # Errors
    /// [`QuantError::Plane`] when a plane has another length than the layout says, [`QuantError::Scale`] for a scale that
    /// is not finite, [`QuantError::Zero`] for a zero point outside the codes.
    pub fn from_planes(layout: Layout, packed: Vec<u8>, scale: &[u8], zero: &[u8]) -> Result<Self, QuantError> {
        check_plane("packed", layout.packed_bytes(), packed.len())?;
        check_plane("scale", layout.scale_bytes(), scale.len())?;
        check_plane("zero", layout.zero_bytes(), zero.len())?;
        let count = layout.scale_count();
        let scales: Vec<f16> = scale.chunks_exact(2).take(count).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        if let Some(index) = scales.iter().position(|scale| !scale.is_finite()) {
            return Err(QuantError::Scale { index, found: scales[index].to_f32() });
        }
        let zeros = if layout.format.has_zeros() { zero[..count].to_vec() } else { Vec::new() };
        let largest = layout.format.bits.largest_code();
        if let Some(index) = zeros.iter().position(|zero| *zero > largest) {
            return Err(QuantError::Zero { index, found: zeros[index], largest });
        }
        Ok(Self { layout, packed, scales, zeros })
    }

    /// The scales as bytes, little-endian f16, padded with zeros to `layout.scale_bytes()`.
    pub fn scale_plane(&self) -> Vec<u8> {
        let mut plane: Vec<u8> = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        plane.resize(self.layout.scale_bytes(), 0);
        plane
    }

    /// The zero points as bytes, padded with zeros to `layout.zero_bytes()`; empty if symmetric.
    pub fn zero_plane(&self) -> Vec<u8> {
        let mut plane = self.zeros.clone();
        plane.resize(self.layout.zero_bytes(), 0);
        plane
    }

    /// The stored code of a weight; 0 at 16 and 32 bits, which have no codes.
    pub fn code(&self, row: usize, col: usize) -> u8 {
        let row = self.packed_row(row);
        match self.layout.format.bits {
            Bits::B2 => code_at(q2::unpack, row, col),
            Bits::B4 => code_at(q4::unpack, row, col),
            Bits::B8 => code_at(q8::unpack, row, col),
            Bits::B16 | Bits::B32 => 0,
        }
    }

    /// The scale of a weight; 1 at 16 and 32 bits.
    pub fn scale(&self, row: usize, col: usize) -> f32 {
        if !self.layout.format.bits.is_integer() {
            return 1.0;
        }
        self.scales[self.layout.scale_index(row, col)].to_f32()
    }

    /// The code that stands for 0 where a weight lies; 0 at 16 and 32 bits.
    pub fn zero(&self, row: usize, col: usize) -> u8 {
        if self.zeros.is_empty() {
            return self.layout.format.bits.symmetric_zero();
        }
        self.zeros[self.layout.scale_index(row, col)]
    }

    /// All values, `[rows, cols]` in row-major order, without padding.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.layout.rows * self.layout.cols];
        for (row, out) in values.chunks_exact_mut(self.layout.cols).enumerate() {
            self.dequantize_row_into(row, out);
        }
        values
    }

    /// The values of one row. They are exact: a f16 scale times a difference of codes fits an f32.
    ///
    /// Panics when there is no such row, or `out` is not `cols` long.
    pub fn dequantize_row_into(&self, row: usize, out: &mut [f32]) {
        let layout = &self.layout;
        assert_eq!(out.len(), layout.cols, "a row of the tensor has {} columns", layout.cols);
        let packed = self.packed_row(row);
        match layout.format.bits {
            Bits::B2 => self.codes_into(row, q2::unpack, out),
            Bits::B4 => self.codes_into(row, q4::unpack, out),
            Bits::B8 => self.codes_into(row, q8::unpack, out),
            Bits::B16 => float::unpack_f16_into(packed, out),
            Bits::B32 => float::unpack_f32_into(packed, out),
        }
    }

    /// Bytes of all planes, padding included: what a file and a GPU hold.
    pub fn bytes(&self) -> usize {
        self.layout.total_bytes()
    }

    fn packed_row(&self, row: usize) -> &[u8] {
        let bytes = self.layout.row_bytes();
        &self.packed[row * bytes..][..bytes]
    }

    /// The values of a row of codes, `N` a byte.
    fn codes_into<const N: usize>(&self, row: usize, unpack: impl Fn(u8) -> [u8; N] + Copy, out: &mut [f32]) {
        let packed = self.packed_row(row);
        for (group, out) in out.chunks_mut(self.layout.group_size).enumerate() {
            let col = group * self.layout.group_size;
            values_into(unpack, &packed[col / N..], self.scale(row, col), self.zero(row, col), out);
        }
    }
}

fn code_at<const N: usize>(unpack: impl Fn(u8) -> [u8; N], row: &[u8], col: usize) -> u8 {
    unpack(row[col / N])[col % N]
}

/// Values of the codes in `packed`, all under one scale and zero point.
#[inline]
fn values_into<const N: usize>(unpack: impl Fn(u8) -> [u8; N], packed: &[u8], scale: f32, zero: u8, out: &mut [f32]) {
    let value = |code: u8| scale * f32::from(i16::from(code) - i16::from(zero));
    let whole = out.len() / N;
    let (body, tail) = out.split_at_mut(whole * N);
    for (values, byte) in body.chunks_exact_mut(N).zip(packed) {
        for (out, code) in values.iter_mut().zip(unpack(*byte)) {
            *out = value(code);
        }
    }
    if let Some(byte) = packed.get(whole) {
        for (out, code) in tail.iter_mut().zip(unpack(*byte)) {
            *out = value(code);
        }
    }
}

/// Writes the codes of a row, `cols_padded` of them, into its bytes.
pub(super) fn pack_row(bits: Bits, codes: &[u8], out: &mut [u8]) {
    match bits {
        Bits::B2 => pack_with(q2::pack, codes, out),
        Bits::B4 => pack_with(q4::pack, codes, out),
        Bits::B8 => pack_with(q8::pack, codes, out),
        Bits::B16 | Bits::B32 => unreachable!("floats have no codes"),
    }
}

fn pack_with<const N: usize>(pack: impl Fn([u8; N]) -> u8, codes: &[u8], out: &mut [u8]) {
    let (codes, _) = codes.as_chunks::<N>();
    for (byte, codes) in out.iter_mut().zip(codes) {
        *byte = pack(*codes);
    }
}

fn check_plane(plane: &'static str, expected: usize, found: usize) -> Result<(), QuantError> {
    if expected == found { Ok(()) } else { Err(QuantError::Plane { plane, expected, found }) }
}
