//! Quantized matrices in ONNX's terms. Every value stays what it is in the package: `scale · (code − zero)`, with the f16
//! scales widened to f32, which is exact.

use webnibble_common::quant::{Bits, Granularity, Layout, QTensor, Scheme};

use super::builder::{Builder, float_bytes};
use super::options::WeightForm;
use crate::onnx_file::proto::{Attribute, ElementType};

/// Smallest block of `MatMulNBits`, and the largest that its fast kernels take.
const BLOCKS: std::ops::RangeInclusive<usize> = 16..=256;

/// Columns that share a scale in `MatMulNBits` where the package has one scale a row or a tensor: it is repeated.
const BLOCK_OF_A_ROW: usize = 128;

/// The product of `x` and a matrix `[rows, cols]`, transposed, without its bias.
pub(super) fn product(
    builder: &mut Builder,
    x: &str,
    name: &str,
    matrix: &QTensor,
    form: WeightForm,
    level: u8,
) -> String {
    let per_row = !matches!(matrix.layout.format.granularity, Granularity::Group(_));
    match (matrix.layout.format.bits, form) {
        (Bits::B16 | Bits::B32, _) => float_product(builder, x, name, matrix),
        (_, WeightForm::DequantizeLinear) => dequantized_product(builder, x, name, matrix),
        (Bits::B8, WeightForm::MatMulInteger) if per_row => integer_product(builder, x, name, matrix),
        _ => nbits_product(builder, x, name, matrix, level),
    }
}

/// Floats, as `[cols, rows]`; f16 is cast once, when the session is made: onnxruntime folds constants.
fn float_product(builder: &mut Builder, x: &str, name: &str, matrix: &QTensor) -> String {
    let Layout { rows, cols, .. } = matrix.layout;
    let values = transposed(&matrix.dequantize(), rows, cols);
    let stored = if matrix.layout.format.bits == Bits::B16 { ElementType::Float16 } else { builder.float };
    let weight = builder.weight(name, &[cols, rows], stored, float_bytes(stored, &values));
    let weight = if stored == builder.float { weight } else { builder.cast(&weight, builder.float) };
    builder.node("MatMul", &[x, &weight], Vec::new())
}

/// onnxruntime's own operator: packed codes, unpacked inside the product.
fn nbits_product(builder: &mut Builder, x: &str, name: &str, matrix: &QTensor, level: u8) -> String {
    let Layout { rows, cols, format, .. } = matrix.layout;
    let (bits, block) = (format.bits.count(), block_size(&matrix.layout));
    let blocks = cols.div_ceil(block);
    let packed = nbits_codes(matrix, blocks * block);
    let codes = builder.weight(name, &[rows, blocks, block * bits / 8], ElementType::Uint8, packed);
    let scales: Vec<f32> = each_block(rows, blocks, |row, index| matrix.scale(row, index * block)).collect();
    let scales = builder.floats(&format!("{name}.scale"), &[rows * blocks], &scales);
    let mut inputs = vec![x.to_owned(), codes, scales];
    if format.has_zeros() {
        let packed = nbits_zeros(matrix, blocks, block);
        inputs.push(builder.weight(&format!("{name}.zero"), &[packed.len()], ElementType::Uint8, packed));
    }
    let number = |name, value: usize| Attribute::int(name, value as i64);
    let attributes = vec![
        number("K", cols),
        number("N", rows),
        number("bits", bits),
        number("block_size", block),
        number("accuracy_level", level.into()),
    ];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    builder.contrib("MatMulNBits", &inputs, attributes)
}

/// The largest power of two that divides a group, so that every block lies in one.
fn block_size(layout: &Layout) -> usize {
    let block = match layout.format.granularity {
        Granularity::Group(size) => 1 << size.trailing_zeros(),
        Granularity::Channel | Granularity::Tensor => BLOCK_OF_A_ROW.min(layout.cols.next_power_of_two()),
    };
    block.clamp(*BLOCKS.start(), *BLOCKS.end())
}

/// Rows of `cols` packed codes, the lowest column in the lowest bits, as ours are: only the length of a row differs.
fn nbits_codes(matrix: &QTensor, cols: usize) -> Vec<u8> {
    let bits = matrix.layout.format.bits;
    let zero = zero_byte(bits);
    let (ours, theirs) = (matrix.layout.row_bytes(), cols * bits.count() / 8);
    let mut packed = Vec::with_capacity(matrix.layout.rows * theirs);
    for row in matrix.packed.chunks_exact(ours) {
        packed.extend_from_slice(&row[..ours.min(theirs)]);
        packed.resize(packed.len() + theirs.saturating_sub(ours), zero);
    }
    packed
}

/// A byte of codes that stand for 0 in the symmetric scheme.
fn zero_byte(bits: Bits) -> u8 {
    let count = bits.count();
    (0..8 / count).fold(0, |byte, place| byte | bits.symmetric_zero() << (place * count))
}

/// Zero points, packed as the codes are, each row in whole bytes.
fn nbits_zeros(matrix: &QTensor, blocks: usize, block: usize) -> Vec<u8> {
    let bits = matrix.layout.format.bits.count();
    let row_bytes = (blocks * bits).div_ceil(8);
    let mut packed = vec![0; matrix.layout.rows * row_bytes];
    for row in 0..matrix.layout.rows {
        for index in 0..blocks {
            let bit = index * bits;
            packed[row * row_bytes + bit / 8] |= matrix.zero(row, index * block) << (bit % 8);
        }
    }
    packed
}

fn each_block<T>(rows: usize, blocks: usize, value: impl Fn(usize, usize) -> T + Copy) -> impl Iterator<Item = T> {
    (0..rows).flat_map(move |row| (0..blocks).map(move |index| value(row, index)))
}

/// ONNX's own operator before a product of floats.
fn dequantized_product(builder: &mut Builder, x: &str, name: &str, matrix: &QTensor) -> String {
    let Layout { rows, cols, format, group_size, .. } = matrix.layout;
    let signed = format.scheme == Scheme::Symmetric;
    let (element, packed) = transposed_codes(matrix, signed);
    let codes = builder.weight(name, &[cols, rows], element, packed);
    // Scales lie by block for one a row or a tensor too: Chromium's WebNN builds no graph of one scale a column.
    let block = match format.granularity {
        Granularity::Group(_) => group_size,
        Granularity::Channel | Granularity::Tensor => BLOCK_OF_A_ROW.min(cols.next_power_of_two() / 2).max(1),
    };
    let dims = [cols.div_ceil(block), rows];
    let attributes = vec![Attribute::int("axis", 0), Attribute::int("block_size", block as i64)];
    let scales: Vec<f32> = each_block(dims[0], rows, |index, row| matrix.scale(row, index * block)).collect();
    let scale = builder.floats(&format!("{name}.scale"), &dims, &scales);
    let mut inputs = vec![codes, scale];
    if !signed {
        let zeros: Vec<u8> = each_block(dims[0], rows, |index, row| matrix.zero(row, index * block)).collect();
        inputs.push(builder.weight(&format!("{name}.zero"), &dims, element, pack(element, &zeros)));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let weight = builder.node("DequantizeLinear", &inputs, attributes);
    builder.node("MatMul", &[x, &weight], Vec::new())
}

/// Activations quantized as they come, a product in integers, and scales applied to its result: onnxruntime's dynamic
/// quantization. The activations of this form are 8 bits. Codes stay unsigned: for signed ones onnxruntime adds products in
/// 16 bits on CPUs without VNNI, where sums saturate and answers are off by percents.
fn integer_product(builder: &mut Builder, x: &str, name: &str, matrix: &QTensor) -> String {
    let Layout { rows, cols, format, .. } = matrix.layout;
    let (element, packed) = transposed_codes(matrix, false);
    let codes = builder.weight(name, &[cols, rows], element, packed);
    let by_row = if format.granularity == Granularity::Tensor { 1 } else { rows };
    let dims = if by_row == 1 { vec![] } else { vec![by_row] };
    let scales: Vec<f32> = (0..by_row).map(|row| matrix.scale(row, 0)).collect();
    let scale =
        builder.weight(&format!("{name}.scale"), &dims, ElementType::Float, float_bytes(ElementType::Float, &scales));
    let zeros: Vec<u8> = (0..by_row).map(|row| matrix.zero(row, 0)).collect();
    let zero = builder.weight(&format!("{name}.zero"), &dims, element, zeros);
    let quantized = builder.split("DynamicQuantizeLinear", &[x], 3, Vec::new());
    let sums = builder.node("MatMulInteger", &[&quantized[0], &codes, &quantized[2], &zero], Vec::new());
    let sums = builder.cast(&sums, ElementType::Float);
    let scale = builder.node("Mul", &[&quantized[1], &scale], Vec::new());
    builder.node("Mul", &[&sums, &scale], Vec::new())
}

/// The codes as `[cols, rows]`; signed ones have the zero of the symmetric scheme taken off.
fn transposed_codes(matrix: &QTensor, signed: bool) -> (ElementType, Vec<u8>) {
    let Layout { rows, cols, format, .. } = matrix.layout;
    let offset = if signed { format.bits.symmetric_zero() } else { 0 };
    let mut codes = vec![0; rows * cols];
    for row in 0..rows {
        for col in 0..cols {
            codes[col * rows + row] = matrix.code(row, col).wrapping_sub(offset);
        }
    }
    // There is no type of 2 bits: such codes take those of 4.
    let element = match (format.bits, signed) {
        (Bits::B8, true) => ElementType::Int8,
        (Bits::B8, false) => ElementType::Uint8,
        (_, true) => ElementType::Int4,
        (_, false) => ElementType::Uint4,
    };
    (element, pack(element, &codes))
}

/// Bytes of codes: two to a byte for types of 4 bits, the first in the lower half.
fn pack(element: ElementType, codes: &[u8]) -> Vec<u8> {
    match element {
        ElementType::Int4 | ElementType::Uint4 => {
            codes.chunks(2).map(|pair| pair[0] & 0xf | pair.get(1).map_or(0, |code| code << 4)).collect()
        }
        _ => codes.to_vec(),
    }
}

fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(cols).enumerate() {
        for (col, value) in values.iter().enumerate() {
            out[col * rows + row] = *value;
        }
    }
    out
}

/// A table that rows are taken from.
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    pub(super) matrix: &'a QTensor,
}

impl Table<'_> {
    /// The rows that `select` takes of a constant, in the type that is computed in. Codes of 8 bits and fewer take a byte
    /// each, for there is no operator of ONNX that takes rows of packed ones everywhere.
    pub(super) fn rows(&self, builder: &mut Builder, select: &dyn Fn(&mut Builder, &str) -> String) -> String {
        let Layout { rows, cols, format, .. } = self.matrix.layout;
        if !format.bits.is_integer() {
            let stored = if format.bits == Bits::B16 { ElementType::Float16 } else { builder.float };
            let bytes = float_bytes(stored, &self.matrix.dequantize());
            // Cast first: onnxruntime folds that into the session, and adapters without f16 need never see one.
            let table = builder.weight(self.name, &[rows, cols], stored, bytes);
            let table = if stored == builder.float { table } else { builder.cast(&table, builder.float) };
            return select(builder, &table);
        }
        self.quantized_rows(builder, select)
    }

    fn quantized_rows(&self, builder: &mut Builder, select: &dyn Fn(&mut Builder, &str) -> String) -> String {
        let Layout { rows, cols, format, group_size, .. } = self.matrix.layout;
        let size = group_size.min(cols);
        let groups = cols.div_ceil(size);
        let width = groups * size;
        let zero = format.bits.symmetric_zero();
        let code = |row, col| if col < cols { self.matrix.code(row, col) } else { zero };
        let codes: Vec<u8> = each_block(rows, width, code).collect();
        let codes = builder.weight(self.name, &[rows, groups, size], ElementType::Uint8, codes);
        let codes = select(builder, &codes);
        let codes = builder.cast(&codes, builder.float);
        let per_tensor = format.granularity == Granularity::Tensor;
        let count = if per_tensor { 1 } else { rows };
        let scales: Vec<f32> = each_block(count, groups, |row, group| self.matrix.scale(row, group * size)).collect();
        let zeros: Vec<f32> =
            each_block(count, groups, |row, group| f32::from(self.matrix.zero(row, group * size))).collect();
        let mut by_group = |part: &str, values: &[f32]| {
            if per_tensor {
                return builder.scalar(values[0]);
            }
            let plane = builder.floats(&format!("{}.{part}", self.name), &[rows, groups, 1], values);
            select(builder, &plane)
        };
        let (scale, zero) = (by_group("scale", &scales), by_group("zero", &zeros));
        let centred = builder.node("Sub", &[&codes, &zero], Vec::new());
        let values = builder.node("Mul", &[&centred, &scale], Vec::new());
        // The last two dimensions become one; those before them are whatever the selection made them.
        let flat = select_shape(builder, &values, width);
        if width == cols {
            return flat;
        }
        let (start, end, axis) = (builder.ints(&[0]), builder.ints(&[cols as i64]), builder.ints(&[-1]));
        builder.node("Slice", &[&flat, &start, &end, &axis], Vec::new())
    }
}

/// `[…, groups, size]` as `[…, width]`: a batch of rows, or rows alone.
fn select_shape(builder: &mut Builder, values: &str, width: usize) -> String {
    let (start, end) = (builder.ints(&[0]), builder.ints(&[-2]));
    let shape = builder.node("Shape", &[values], Vec::new());
    let outer = builder.node("Slice", &[&shape, &start, &end], Vec::new());
    let width = builder.ints(&[width as i64]);
    let shape = builder.node("Concat", &[&outer, &width], vec![Attribute::int("axis", 0)]);
    builder.node("Reshape", &[values, &shape], Vec::new())
}
