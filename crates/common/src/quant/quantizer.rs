//! From floats to a [`QTensor`].

use half::f16;

use super::calibrated::{self, Gram};
use super::fit::{self, Fit};
use super::qtensor::pack_row;
use super::{Bits, Format, Granularity, Layout, QTensor, QuantError, Scheme, float};

/// Turns matrices of floats into [`QTensor`]s.
///
/// ```
/// use webnibble_common::quant::{Bits, Quantizer};
///
/// let weights = [0.5, -0.25, 0.75, -1.0];
/// let quantized = Quantizer::new(Bits::B4).group_size(32).quantize(&weights, &[2, 2])?;
/// assert_eq!(quantized.dequantize(), weights);
/// # Ok::<(), webnibble_common::quant::QuantError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quantizer {
    format: Format,
    fit: Fit,
}

impl Quantizer {
    /// A quantizer to `bits`: symmetric, one scale a group of 128, fitted to the squared error.
    /// At 16 and 32 bits values are only rounded, and none of the choices matters.
    pub fn new(bits: Bits) -> Self {
        let format = Format { bits, scheme: Scheme::Symmetric, granularity: Granularity::Group(128) };
        Self { format, fit: Fit::default() }
    }

    /// A quantizer to `format`.
    pub fn for_format(format: Format) -> Self {
        Self { format, fit: Fit::default() }
    }

    /// Sets where zero lies among the codes.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.format.scheme = scheme;
        self
    }

    /// Sets how many weights share a scale.
    pub fn granularity(mut self, granularity: Granularity) -> Self {
        self.format.granularity = granularity;
        self
    }

    /// One scale for each `size` columns of a row; a multiple of 16, else quantizing is an error.
    pub fn group_size(self, size: usize) -> Self {
        self.granularity(Granularity::Group(size))
    }

    /// One scale a row.
    pub fn per_channel(self) -> Self {
        self.granularity(Granularity::Channel)
    }

    /// One scale in all.
    pub fn per_tensor(self) -> Self {
        self.granularity(Granularity::Tensor)
    }

    /// Sets what scales are chosen for.
    pub fn fit(mut self, fit: Fit) -> Self {
        self.fit = fit;
        self
    }

    /// The format that tensors will have.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Quantizes a row-major matrix; `shape` is `[rows, cols]`, scales run along columns.
    /// A group that does not divide the columns leaves a shorter last one.
    /// Large matrices are spread over threads where there are any; the result is the same.
    ///
    /// # Errors
    /// For a shape that is not a matrix, an invalid group size, and weights that are not finite or too large: at 16 bits
    /// over 65504, below over 65504 times half the number of codes. Smaller than the smallest f16 is no error: such
    /// weights become 0 or the smallest step, whichever is nearer.
    pub fn quantize(&self, data: &[f32], shape: &[usize]) -> Result<QTensor, QuantError> {
        let [rows, cols] = self.check(data, shape)?;
        Ok(self.quantize_checked(data, [rows, cols], None))
    }

    /// Quantizes a matrix for the inputs that it is multiplied by (GPTQ): the products err least, and not the weights.
    /// Weights without scales, or with one in all, are rounded as by [`Quantizer::quantize`].
    ///
    /// # Errors
    /// As [`Quantizer::quantize`], and for inputs of another width.
    pub fn quantize_calibrated(&self, data: &[f32], shape: &[usize], inputs: &Gram) -> Result<QTensor, QuantError> {
        let [rows, cols] = self.check(data, shape)?;
        calibrated::check(inputs, cols)?;
        let factor = inputs.inverse_factor();
        Ok(self.quantize_checked(data, [rows, cols], Some(&factor)))
    }

    fn quantize_checked(&self, data: &[f32], [rows, cols]: [usize; 2], factor: Option<&[f32]>) -> QTensor {
        let layout = Layout::new(self.format, rows, cols);
        let mut tensor = QTensor {
            layout,
            packed: vec![0; layout.packed_bytes()],
            scales: vec![f16::ZERO; layout.scale_count()],
            zeros: vec![0; if self.format.has_zeros() { layout.scale_count() } else { 0 }],
        };
        match (self.format.bits, self.format.granularity) {
            (Bits::B16 | Bits::B32, _) => self.store_floats(data, &mut tensor),
            (_, Granularity::Tensor) => self.quantize_as_one(data, &mut tensor),
            (_, Granularity::Channel | Granularity::Group(_)) => self.quantize_rows(data, &mut tensor, factor),
        }
        tensor
    }

    fn check(&self, data: &[f32], shape: &[usize]) -> Result<[usize; 2], QuantError> {
        let &[rows, cols] = shape else { return Err(QuantError::Shape { shape: shape.to_vec() }) };
        let expected = rows.checked_mul(cols).filter(|count| *count > 0);
        let expected = expected.ok_or_else(|| QuantError::Shape { shape: shape.to_vec() })?;
        if data.len() != expected {
            return Err(QuantError::Length { shape: shape.to_vec(), expected, found: data.len() });
        }
        self.format.check()?;
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            return Err(QuantError::NotFinite { index, row: index / cols, col: index % cols, value: data[index] });
        }
        let limit = self.format.bits.largest_value();
        if let Some(index) = data.iter().position(|value| value.abs() > limit) {
            return Err(QuantError::Overflow { index, value: data[index], format: self.format, limit });
        }
        Ok([rows, cols])
    }

    fn store_floats(&self, data: &[f32], tensor: &mut QTensor) {
        let layout = tensor.layout;
        let store = if layout.format.bits == Bits::B16 { float::pack_f16 } else { float::pack_f32 };
        for (values, out) in data.chunks_exact(layout.cols).zip(tensor.packed.chunks_exact_mut(layout.row_bytes())) {
            store(values, out);
        }
    }

    fn quantize_as_one(&self, data: &[f32], tensor: &mut QTensor) {
        let Format { bits, scheme, .. } = self.format;
        let chosen = fit::fit(data, bits, scheme, self.fit);
        tensor.scales[0] = chosen.scale;
        if let Some(zero) = tensor.zeros.first_mut() {
            *zero = chosen.zero;
        }
        let layout = tensor.layout;
        let mut codes = vec![chosen.zero; layout.cols_padded];
        for (values, out) in data.chunks_exact(layout.cols).zip(tensor.packed.chunks_exact_mut(layout.row_bytes())) {
            chosen.encode(bits, values, &mut codes);
            pack_row(bits, &codes, out);
        }
    }

    fn quantize_rows(&self, data: &[f32], tensor: &mut QTensor, factor: Option<&[f32]>) {
        let layout = tensor.layout;
        let threads = thread_count(data.len()).min(layout.rows);
        let rows = layout.rows.div_ceil(threads);
        let groups = rows * layout.groups_per_row;
        let parts = data
            .chunks(rows * layout.cols)
            .zip(tensor.packed.chunks_mut(rows * layout.row_bytes()))
            .zip(tensor.scales.chunks_mut(groups))
            // Without zero points every part gets an empty slice.
            .zip(tensor.zeros.chunks_mut(groups).map(Some).chain(std::iter::repeat_with(|| None)))
            .map(|(((data, packed), scales), zeros)| Rows { data, packed, scales, zeros: zeros.unwrap_or_default() });
        if threads == 1 {
            parts.for_each(|part| self.quantize_part(&layout, part, factor));
            return;
        }
        std::thread::scope(|scope| {
            for part in parts {
                scope.spawn(|| self.quantize_part(&layout, part, factor));
            }
        });
    }

    fn quantize_part(&self, layout: &Layout, part: Rows<'_>, factor: Option<&[f32]>) {
        let Format { bits, scheme, .. } = self.format;
        let Rows { data, packed, scales, mut zeros } = part;
        let mut codes = vec![0; layout.cols_padded];
        // The row as it is moved by the errors of columns before: only with a factor.
        let mut row = vec![0.0; layout.cols];
        let rows = data.chunks_exact(layout.cols).zip(packed.chunks_exact_mut(layout.row_bytes()));
        for ((values, out), scales) in rows.zip(scales.chunks_exact_mut(layout.groups_per_row)) {
            row.copy_from_slice(values);
            for (group, scale) in scales.iter_mut().enumerate() {
                let start = group * layout.group_size;
                let end = layout.cols.min(start + layout.group_size);
                let chosen = fit::fit(&row[start..end], bits, scheme, self.fit);
                *scale = chosen.scale;
                if let Some(zero) = zeros.split_off_first_mut() {
                    *zero = chosen.zero;
                }
                // The padding after a row gets the zero code of the row's last group.
                codes[start..].fill(chosen.zero);
                match factor {
                    None => chosen.encode(bits, &row[start..end], &mut codes[start..]),
                    Some(factor) => calibrated::encode(factor, bits, chosen, &mut row, start, &mut codes[start..end]),
                }
            }
            pack_row(bits, &codes, out);
        }
    }
}

/// Some rows of a matrix and of its planes.
struct Rows<'a> {
    data: &'a [f32],
    packed: &'a mut [u8],
    scales: &'a mut [f16],
    zeros: &'a mut [u8],
}

/// Threads worth starting for so many weights. In a page there are none.
fn thread_count(weights: usize) -> usize {
    const WEIGHTS_A_THREAD: usize = 1 << 16;
    if cfg!(target_arch = "wasm32") {
        return 1;
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    available.min(weights / WEIGHTS_A_THREAD).max(1)
}
