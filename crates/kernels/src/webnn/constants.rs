//! Constants: what they are made of, and their bytes.

use half::f16;
use webnibble_common::quant::{Layout, QTensor};
use webnibble_common::tensor::element_count;
use webnibble_common::weights::{WeightData, WeightMap};

use super::{DataType, Operand, WebNnError};

/// A value known when the graph is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The operand.
    pub operand: Operand,
    /// Element type.
    pub dtype: DataType,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is made of.
    pub source: Source,
}

/// What a constant is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Numbers that are known already.
    Numbers(Vec<f64>),
    /// A vector of the package.
    Vector(String),
    /// Rows of a matrix as floats.
    Matrix {
        /// The matrix.
        name: String,
        /// First row; as many as the constant's shape holds.
        first_row: usize,
    },
    /// Codes of a matrix around 0: `code − 2^(bits−1)`.
    Codes(String),
    /// Scales of a matrix: of all rows, however many of them share one.
    Scales(String),
    /// Zero points of a matrix, as many as scales: `zero − 2^(bits−1)`.
    Zeros(String),
    /// Scales of a linear operator's products: that of its input times that of each row, one a row.
    ProductScales {
        /// The weight.
        weight: String,
        /// Scale of the input.
        input: f32,
    },
    /// A bias as multiples of [`Source::ProductScales`]; zeros where there is none.
    QuantizedBias {
        /// The bias.
        bias: Option<String>,
        /// The weight.
        weight: String,
        /// Scale of the input.
        input: f32,
    },
}

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Bytes {
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision.
    F16(Vec<f16>),
    /// Signed or unsigned 32 bits.
    I32(Vec<i32>),
    /// Signed 8 bits, or pairs of 4 bits.
    I8(Vec<i8>),
}

impl Bytes {
    /// The bytes, aligned for their type.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Bytes::F32(values) => bytemuck::cast_slice(values),
            Bytes::F16(values) => bytemuck::cast_slice(values),
            Bytes::I32(values) => bytemuck::cast_slice(values),
            Bytes::I8(values) => bytemuck::cast_slice(values),
        }
    }
}

impl Constant {
    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.dtype.bytes(element_count(&self.shape))
    }

    /// Its name in messages: that of the weight it is made of.
    pub fn name(&self) -> &str {
        match &self.source {
            Source::Numbers(_) => "numbers",
            Source::Vector(name) | Source::Codes(name) | Source::Scales(name) | Source::Zeros(name) => name,
            Source::Matrix { name, .. } => name,
            Source::ProductScales { weight, .. } | Source::QuantizedBias { weight, .. } => weight,
        }
    }

    /// Its elements, from the weights of the model.
    ///
    /// # Errors
    /// [`WebNnError::MissingWeight`] when `weights` are not those of the graph.
    pub fn bytes(&self, weights: &WeightMap) -> Result<Bytes, WebNnError> {
        let count = element_count(&self.shape);
        Ok(match &self.source {
            Source::Numbers(values) => encode(self.dtype, values),
            Source::Vector(name) => floats(self.dtype, vector(weights, name)?.to_vec()),
            Source::Matrix { name, first_row } => {
                let matrix = matrix(weights, name)?;
                let mut values = vec![0.0; count];
                for (row, out) in values.chunks_exact_mut(matrix.layout.cols).enumerate() {
                    matrix.dequantize_row_into(first_row + row, out);
                }
                floats(self.dtype, values)
            }
            Source::Codes(name) => integers(self.dtype, codes(matrix(weights, name)?)),
            Source::Scales(name) => {
                floats(self.dtype, matrix(weights, name)?.scales.iter().map(|scale| scale.to_f32()).collect())
            }
            Source::Zeros(name) => integers(self.dtype, zeros(matrix(weights, name)?, count)),
            Source::ProductScales { weight, input } => {
                let scales = row_scales(matrix(weights, weight)?);
                floats(self.dtype, scales.into_iter().map(|scale| scale * input).collect())
            }
            Source::QuantizedBias { bias, weight, input } => {
                let scales = row_scales(matrix(weights, weight)?);
                let bias = bias.as_ref().map(|bias| vector(weights, bias)).transpose()?;
                let steps = scales.iter().enumerate().map(|(row, scale)| steps(bias.map_or(0.0, |b| b[row]), scale * input));
                Bytes::I32(steps.collect())
            }
        })
    }
}

/// `value` in steps of `scale`; 0 where the scale is 0, as the row's products then are.
fn steps(value: f32, scale: f32) -> i32 {
    if scale == 0.0 { 0 } else { (f64::from(value) / f64::from(scale)).round_ties_even() as i32 }
}

/// One scale a row, whatever the granularity; only for matrices without groups.
fn row_scales(matrix: &QTensor) -> Vec<f32> {
    (0..matrix.layout.rows).map(|row| matrix.scale(row, 0)).collect()
}

/// The codes of a matrix around 0, without padding.
fn codes(matrix: &QTensor) -> Vec<i8> {
    let Layout { rows, cols, format, .. } = matrix.layout;
    let center = format.bits.symmetric_zero();
    let mut codes = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        codes.extend((0..cols).map(|col| matrix.code(row, col).wrapping_sub(center) as i8));
    }
    codes
}

fn zeros(matrix: &QTensor, count: usize) -> Vec<i8> {
    let center = matrix.layout.format.bits.symmetric_zero();
    if matrix.zeros.is_empty() {
        return vec![0; count];
    }
    matrix.zeros.iter().map(|zero| zero.wrapping_sub(center) as i8).collect()
}

fn encode(dtype: DataType, values: &[f64]) -> Bytes {
    match dtype {
        DataType::Float32 | DataType::Float16 => floats(dtype, values.iter().map(|value| *value as f32).collect()),
        DataType::Int32 | DataType::Uint32 => Bytes::I32(values.iter().map(|value| *value as i32).collect()),
        DataType::Int8 | DataType::Int4 => integers(dtype, values.iter().map(|value| *value as i8).collect()),
    }
}

fn floats(dtype: DataType, values: Vec<f32>) -> Bytes {
    match dtype {
        DataType::Float16 => Bytes::F16(values.into_iter().map(f16::from_f32).collect()),
        _ => Bytes::F32(values),
    }
}

fn integers(dtype: DataType, values: Vec<i8>) -> Bytes {
    match dtype {
        DataType::Int4 => Bytes::I8(pack_pairs(&values)),
        DataType::Int32 => Bytes::I32(values.into_iter().map(i32::from).collect()),
        _ => Bytes::I8(values),
    }
}

/// Two codes a byte, the first in the low half.
fn pack_pairs(values: &[i8]) -> Vec<i8> {
    values.chunks(2).map(|pair| (pair[0] & 15) | (pair.get(1).map_or(0, |high| high << 4))).collect()
}

fn matrix<'a>(weights: &'a WeightMap, name: &str) -> Result<&'a QTensor, WebNnError> {
    match weights.get(name) {
        Some(WeightData::Matrix(matrix)) => Ok(matrix),
        _ => Err(WebNnError::MissingWeight(name.to_owned())),
    }
}

fn vector<'a>(weights: &'a WeightMap, name: &str) -> Result<&'a [f32], WebNnError> {
    match weights.get(name) {
        Some(WeightData::Vector(values)) => Ok(values),
        _ => Err(WebNnError::MissingWeight(name.to_owned())),
    }
}
