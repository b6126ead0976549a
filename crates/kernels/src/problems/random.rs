//! Seeded numbers, and tensors and weights made of them.

use webnibble_common::quant::{Format, Quantizer};
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::weights::WeightData;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `name` alone (FNV-1a).
    pub(crate) fn named(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Bell-shaped around 0 with a standard deviation of 1 (Irwin-Hall of four).
    pub(crate) fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1 << 24) as f32;
        let sum: f32 = (0..4).map(|_| uniform(self.next())).sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }

    /// `count` numbers around `offset`, `spread` wide.
    pub(crate) fn normals(&mut self, count: usize, offset: f32, spread: f32) -> Vec<f32> {
        (0..count).map(|_| offset + spread * self.normal()).collect()
    }

    /// A float tensor around 0, `spread` wide.
    pub(crate) fn tensor(&mut self, shape: &[usize], spread: f32) -> Tensor {
        floats(shape, self.normals(element_count(shape), 0.0, spread))
    }

    /// A tensor of ids below `end`; first and last id are among them where there is room.
    pub(crate) fn ids(&mut self, shape: &[usize], end: usize) -> Tensor {
        let mut ids: Vec<u32> = (0..element_count(shape)).map(|_| self.below(end) as u32).collect();
        ids[0] = end as u32 - 1;
        if ids.len() > 1 {
            ids[1] = 0;
        }
        integers(shape, ids)
    }

    /// A weight matrix in `format`, scaled so that products with it keep the spread of their input.
    pub(crate) fn matrix(&mut self, shape: [usize; 2], format: Format) -> WeightData {
        let spread = 1.0 / (shape[1] as f32).sqrt();
        let values = self.normals(shape[0] * shape[1], 0.0, spread);
        let quantized = Quantizer::for_format(format).quantize(&values, &shape);
        WeightData::Matrix(quantized.expect("finite weights in a valid format"))
    }

    /// A vector around `offset`.
    pub(crate) fn vector(&mut self, len: usize, offset: f32) -> WeightData {
        WeightData::Vector(self.normals(len, offset, 0.2))
    }
}

/// A float tensor.
pub(crate) fn floats(shape: &[usize], data: Vec<f32>) -> Tensor {
    Tensor::f32(shape, data).expect("as many elements as the shape has")
}

/// A tensor of ids or of a mask.
pub(crate) fn integers(shape: &[usize], data: Vec<u32>) -> Tensor {
    Tensor::u32(shape, data).expect("as many elements as the shape has")
}

/// Which tokens of a batch a mask keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// There is no mask.
    None,
    /// Padding: sequences lose their last tokens, each more than the one before.
    Tail,
    /// Every third token is dropped.
    Holes,
    /// The last sequence has no token left; the others keep all.
    Nothing,
}

impl Mask {
    /// Every kind of mask.
    pub(crate) const ALL: [Mask; 4] = [Mask::None, Mask::Tail, Mask::Holes, Mask::Nothing];

    /// The mask, u32 `[batch, len]`.
    pub(crate) fn tensor(self, batch: usize, len: usize) -> Option<Tensor> {
        let keep = |row: usize, token: usize| match self {
            Mask::None => true,
            Mask::Tail => token < len - (row + 1) * len / (batch + 2),
            Mask::Holes => token % 3 != 1,
            Mask::Nothing => row + 1 < batch,
        };
        let values = (0..batch * len).map(|index| u32::from(keep(index / len, index % len))).collect();
        (self != Mask::None).then(|| integers(&[batch, len], values))
    }

    /// How problems call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mask::None => "unmasked",
            Mask::Tail => "padded",
            Mask::Holes => "masked-holes",
            Mask::Nothing => "masked-whole",
        }
    }
}
