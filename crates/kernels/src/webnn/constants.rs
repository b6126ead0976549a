//! Constants: what they are made of, and their bytes.

use half::f16;
use webnibble_common::quant::{Format, Int8Linear, Layout, QTensor};
use webnibble_common::tensor::element_count;
use webnibble_common::weights::{WeightData, WeightMap};

use super::error::WebNnError;
use super::operand::{DataType, Operand};
use super::ranges::Ranges;

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
    /// Codes of a matrix around 0, scales and zero points.
    Codes {
        /// The matrix.
        name: String,
        /// Which of them.
        part: CodePart,
        /// How negative scales are given.
        sign: Sign,
    },
    /// Of a linear operator in int8.
    Int8 {
        /// Its weight.
        weight: String,
        /// Its bias.
        bias: Option<String>,
        /// Which of it.
        part: Int8Part,
    },
}

/// What a quantized matrix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodePart {
    /// `code − 2^(bits−1)`.
    Codes,
    /// However many rows or groups share one.
    Scales,
    /// `zero − 2^(bits−1)`, as many as scales.
    Zeros,
}

/// Whether scales may be negative. A package stores the larger extreme as the lowest code, whichever its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// As they are stored.
    Any,
    /// Made positive, as `dequantizeLinear` wants them: `s · (c − z)` is `−s · (!c − !z)`.
    Positive,
}

/// What a linear operator in int8 is made of; see [`Int8Linear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int8Part {
    /// Codes of the weights.
    Codes,
    /// Their scales, one a row.
    Scales,
    /// The bias, in steps of the products.
    Bias,
    /// Scales of the products: that of the input times that of each row.
    ProductScales,
    /// What the input is multiplied by.
    InputFactors,
    /// What the output is multiplied by.
    OutputFactors,
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
            Source::Vector(name) | Source::Matrix { name, .. } | Source::Codes { name, .. } => name,
            Source::Int8 { weight, .. } => weight,
        }
    }
}

/// Makes the elements of constants from the weights of a model.
pub struct ConstantMaker<'a> {
    weights: &'a WeightMap,
    ranges: &'a Ranges,
    /// The linear operator that was made last: its constants follow each other.
    int8: Option<(String, Int8Linear)>,
}

impl<'a> ConstantMaker<'a> {
    /// From weights and ranges that are those of the program.
    pub fn new(weights: &'a WeightMap, ranges: &'a Ranges) -> Self {
        Self { weights, ranges, int8: None }
    }

    /// The elements of `constant`.
    ///
    /// # Errors
    /// [`WebNnError::MissingWeight`] when the weights are not those of the program's graph, [`WebNnError::Int8`] when
    /// one cannot be that of an operator in int8.
    pub fn bytes(&mut self, constant: &Constant) -> Result<Bytes, WebNnError> {
        let dtype = constant.dtype;
        Ok(match &constant.source {
            Source::Numbers(values) => encode(dtype, values),
            Source::Vector(name) => floats(dtype, self.vector(name)?.to_vec()),
            Source::Matrix { name, first_row } => {
                let matrix = self.matrix(name)?;
                let mut values = vec![0.0; element_count(&constant.shape)];
                for (row, out) in values.chunks_exact_mut(matrix.layout.cols).enumerate() {
                    matrix.dequantize_row_into(first_row + row, out);
                }
                floats(dtype, values)
            }
            Source::Codes { name, part, sign } => {
                let matrix = self.matrix(name)?;
                match part {
                    CodePart::Codes => integers(dtype, codes(matrix, *sign)),
                    CodePart::Scales => floats(dtype, scales(matrix, *sign)),
                    CodePart::Zeros => integers(dtype, zeros(matrix, *sign)),
                }
            }
            Source::Int8 { weight, bias, part } => {
                let linear = self.int8(weight, bias.as_deref())?;
                let ones = || vec![1.0; element_count(&constant.shape)];
                match part {
                    Int8Part::Codes => Bytes::I8(linear.codes.clone()),
                    Int8Part::Scales => Bytes::F32(linear.scales.clone()),
                    Int8Part::Bias => Bytes::I32(linear.bias.clone()),
                    Int8Part::ProductScales => {
                        Bytes::F32(linear.scales.iter().map(|scale| scale * linear.input.scale).collect())
                    }
                    Int8Part::InputFactors => Bytes::F32(linear.input_factors.clone().unwrap_or_else(ones)),
                    Int8Part::OutputFactors => Bytes::F32(linear.output_factors.clone().unwrap_or_else(ones)),
                }
            }
        })
    }

    fn int8(&mut self, weight: &str, bias: Option<&str>) -> Result<&Int8Linear, WebNnError> {
        if self.int8.as_ref().is_none_or(|(made, _)| made != weight) {
            let bias = bias.map(|bias| self.vector(bias)).transpose()?;
            let ranges = self.ranges.get(weight).ok_or_else(|| WebNnError::MissingWeight(weight.to_owned()))?;
            let made = Int8Linear::new(ranges, self.matrix(weight)?, bias)
                .map_err(|error| WebNnError::Int8 { name: weight.to_owned(), error })?;
            self.int8 = Some((weight.to_owned(), made));
        }
        self.int8.as_ref().map(|(_, made)| made).ok_or_else(|| WebNnError::MissingWeight(weight.to_owned()))
    }

    fn matrix(&self, name: &str) -> Result<&'a QTensor, WebNnError> {
        match self.weights.get(name) {
            Some(WeightData::Matrix(matrix)) => Ok(matrix),
            _ => Err(WebNnError::MissingWeight(name.to_owned())),
        }
    }

    fn vector(&self, name: &str) -> Result<&'a [f32], WebNnError> {
        match self.weights.get(name) {
            Some(WeightData::Vector(values)) => Ok(values),
            _ => Err(WebNnError::MissingWeight(name.to_owned())),
        }
    }
}

/// The codes of a matrix, without padding.
fn codes(matrix: &QTensor, sign: Sign) -> Vec<i8> {
    let Layout { rows, cols, format, .. } = matrix.layout;
    let mut codes = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        codes.extend((0..cols).map(|col| {
            let code = around_zero(matrix.code(row, col), format);
            if flips(matrix.scale(row, col), sign) { !code } else { code }
        }));
    }
    codes
}

fn scales(matrix: &QTensor, sign: Sign) -> Vec<f32> {
    let scales = matrix.scales.iter().map(|scale| scale.to_f32());
    match sign {
        Sign::Any => scales.collect(),
        // A row of zeros has a scale of 0, which is none.
        Sign::Positive => scales.map(|scale| if scale == 0.0 { 1.0 } else { scale.abs() }).collect(),
    }
}

fn zeros(matrix: &QTensor, sign: Sign) -> Vec<i8> {
    let format = matrix.layout.format;
    let zero = |index: usize| match matrix.zeros.get(index) {
        Some(zero) => around_zero(*zero, format),
        None => 0,
    };
    let scales = matrix.scales.iter().enumerate();
    scales.map(|(index, scale)| if flips(scale.to_f32(), sign) { !zero(index) } else { zero(index) }).collect()
}

fn flips(scale: f32, sign: Sign) -> bool {
    sign == Sign::Positive && scale < 0.0
}

fn around_zero(code: u8, format: Format) -> i8 {
    code.wrapping_sub(format.bits.symmetric_zero()) as i8
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
