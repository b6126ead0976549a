//! The types of tensors in a GGUF file, and the exact f32 values of those that are read.
//!
//! Every value is computed in f32 in the order of operations in which GGML's own reference does it, so that results are the
//! same bit for bit. A block is what is stored together: scales first or last, then small whole numbers.

use half::{bf16, f16};

/// Writes the values of one block, of as many bytes and values as the type has.
pub(super) type Decode = fn(&[u8], &mut [f32]);

/// A type of tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockType {
    /// GGML's name.
    pub(super) name: &'static str,
    /// Values of a block; those of a row are a multiple.
    pub(super) elements: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
    /// How it is read; `None` for types that are known and not read.
    pub(super) decode: Option<Decode>,
}

/// Names of the types that are read, for people.
pub(super) const READ: &str = "F64, F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K";

/// Codes of types, names, values and bytes of a block, how it is read.
const TYPES: &[(u32, &str, usize, usize, Option<Decode>)] = &[
    (0, "F32", 1, 4, Some(|bytes, out| out[0] = f32::from_le_bytes(array(bytes)))),
    (1, "F16", 1, 2, Some(|bytes, out| out[0] = half_at(bytes, 0))),
    (2, "Q4_0", 32, 18, Some(q4_0)),
    (3, "Q4_1", 32, 20, Some(q4_1)),
    (6, "Q5_0", 32, 22, Some(q5_0)),
    (7, "Q5_1", 32, 24, Some(q5_1)),
    (8, "Q8_0", 32, 34, Some(q8_0)),
    (9, "Q8_1", 32, 40, None),
    (10, "Q2_K", 256, 84, None),
    (11, "Q3_K", 256, 110, None),
    (12, "Q4_K", 256, 144, Some(q4_k)),
    (13, "Q5_K", 256, 176, Some(q5_k)),
    (14, "Q6_K", 256, 210, Some(q6_k)),
    (15, "Q8_K", 256, 292, None),
    (16, "IQ2_XXS", 256, 66, None),
    (17, "IQ2_XS", 256, 74, None),
    (18, "IQ3_XXS", 256, 98, None),
    (19, "IQ1_S", 256, 50, None),
    (20, "IQ4_NL", 32, 18, None),
    (21, "IQ3_S", 256, 110, None),
    (22, "IQ2_S", 256, 82, None),
    (23, "IQ4_XS", 256, 136, None),
    (24, "I8", 1, 1, None),
    (25, "I16", 1, 2, None),
    (26, "I32", 1, 4, None),
    (27, "I64", 1, 8, None),
    (28, "F64", 1, 8, Some(|bytes, out| out[0] = f64::from_le_bytes(array(bytes)) as f32)),
    (29, "IQ1_M", 256, 56, None),
    (30, "BF16", 1, 2, Some(|bytes, out| out[0] = bf16::from_le_bytes(array(bytes)).to_f32())),
    (34, "TQ1_0", 256, 54, None),
    (35, "TQ2_0", 256, 66, None),
    (39, "MXFP4", 32, 17, None),
    (40, "NVFP4", 64, 36, None),
    (41, "Q1_0", 128, 18, None),
];

impl BlockType {
    /// A type by its code in a file; `None` where nobody knows it.
    pub(super) fn of(code: u32) -> Option<Self> {
        let (_, name, elements, bytes, decode) = *TYPES.iter().find(|known| known.0 == code)?;
        Some(Self { name, elements, bytes, decode })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a block has the bytes of its type")
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Low four bits of every byte, then the high four: how blocks of 32 hold small numbers.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// `| scale f16 | 16 bytes of two |`: scale × (q − 8).
fn q4_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    out.iter_mut().zip(nibbles(&block[2..])).for_each(|(out, q)| *out = (f32::from(q) - 8.0) * scale);
}

/// `| scale f16 | least f16 | 16 bytes of two |`: scale × q + least.
fn q4_1(block: &[u8], out: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    out.iter_mut().zip(nibbles(&block[4..])).for_each(|(out, q)| *out = f32::from(q) * scale + least);
}

/// Four bits of each number in 16 bytes, and the fifth in 32 bits before them.
fn five_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let fifths = u32::from_le_bytes(array(&bytes[..4]));
    nibbles(&bytes[4..]).enumerate().map(move |(index, low)| low | ((fifths >> index & 1) as u8) << 4)
}

/// `| scale f16 | fifth bits u32 | 16 bytes of two |`: scale × (q − 16).
fn q5_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    out.iter_mut().zip(five_bits(&block[2..])).for_each(|(out, q)| *out = (f32::from(q) - 16.0) * scale);
}

/// `| scale f16 | least f16 | fifth bits u32 | 16 bytes of two |`: scale × q + least.
fn q5_1(block: &[u8], out: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    out.iter_mut().zip(five_bits(&block[4..])).for_each(|(out, q)| *out = f32::from(q) * scale + least);
}

/// `| scale f16 | 32 × i8 |`: scale × q.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    out.iter_mut().zip(&block[2..]).for_each(|(out, q)| *out = f32::from(*q as i8) * scale);
}

/// Six bits of scale and six of minimum for one of eight parts of 32, of 12 bytes.
fn scale_and_least(packed: &[u8], part: usize) -> (f32, f32) {
    let (scale, least) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let (both, high) = (packed[part + 4], part - 4);
        (both & 15 | packed[high] >> 6 << 4, both >> 4 | packed[part] >> 6 << 4)
    };
    (scale.into(), least.into())
}

/// `| scale f16 | least f16 | 12 bytes of parts' scales and leasts | 128 bytes of two |`: a part of 32 has
/// scale × its scale × q − least × its least; 32 bytes hold a part in their low bits and the next in the high ones.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (head, packed) = block.split_at(16);
    let parts = packed.chunks_exact(32).flat_map(|bytes| [(bytes, 0), (bytes, 4)]);
    for (part, (out, (bytes, shift))) in out.chunks_exact_mut(32).zip(parts).enumerate() {
        let (scale, least) = part_of_k(head, part);
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = scale * f32::from(byte >> shift & 15) - least);
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the others: bit `part` of byte `i` is that of value `i` of a part.
fn q5_k(block: &[u8], out: &mut [f32]) {
    let (head, rest) = block.split_at(16);
    let (fifths, packed) = rest.split_at(32);
    let parts = packed.chunks_exact(32).flat_map(|bytes| [(bytes, 0), (bytes, 4)]);
    for (part, (out, (bytes, shift))) in out.chunks_exact_mut(32).zip(parts).enumerate() {
        let (scale, least) = part_of_k(head, part);
        for ((out, byte), fifth) in out.iter_mut().zip(bytes).zip(fifths) {
            *out = scale * f32::from(byte >> shift & 15 | (fifth >> part & 1) << 4) - least;
        }
    }
}

/// Scale and least of one of eight parts, the block's own multiplied in.
fn part_of_k(head: &[u8], part: usize) -> (f32, f32) {
    let (scale, least) = scale_and_least(&head[4..], part);
    (half_at(head, 0) * scale, half_at(head, 2) * least)
}

/// `| 128 bytes of low four bits | 64 bytes of high two | 16 × i8 scale | scale f16 |`: a part of 16 has
/// scale × its scale × (q − 32). Each half of 128 values has 64 bytes of low bits, the first 64 values in their low halves,
/// and 32 bytes of high ones, each for the values `i`, `i + 32`, `i + 64` and `i + 96`.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales, scale) = (&block[..128], &block[128..192], &block[192..208], half_at(block, 208));
    for (index, out) in out.iter_mut().enumerate() {
        let (half, place) = (index / 128, index % 128);
        let four = low[half * 64 + place % 64] >> (place / 64 * 4) & 15;
        let two = high[half * 32 + place % 32] >> (place / 32 * 2) & 3;
        let q = f32::from(four | two << 4) - 32.0;
        *out = scale * f32::from(scales[index / 16] as i8) * q;
    }
}
