//! Dense host tensors: what goes into an executable and what comes out.

use std::fmt;

use half::f16;

// Elements are handed to devices, frames and files as they lie in memory.
const _: () =
    assert!(cfg!(target_endian = "little"), "tensors are little-endian, as every device and format takes them");

/// Element type of a [`Tensor`], of a value in a graph or of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit IEEE float: activations.
    F32,
    /// 16-bit IEEE float: activations and states in half the memory.
    F16,
    /// 32-bit unsigned integer: token ids, masks (0 or 1).
    U32,
    /// 8-bit signed integer: activations and states in codes.
    I8,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
            DType::I8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
            DType::I8 => "i8",
        })
    }
}

/// The elements of a [`Tensor`], in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats.
    F32(Vec<f32>),
    /// Floats of half precision.
    F16(Vec<f16>),
    /// Unsigned integers.
    U32(Vec<u32>),
    /// Codes of 8 bits.
    I8(Vec<i8>),
}

/// Does the same with the elements, whatever their type.
macro_rules! with_elements {
    ($data:expr, $elements:ident => $then:expr) => {
        match $data {
            Data::F32($elements) => $then,
            Data::F16($elements) => $then,
            Data::U32($elements) => $then,
            Data::I8($elements) => $then,
        }
    };
}

impl Data {
    /// As many elements of 0.
    fn zeros(dtype: DType, count: usize) -> Self {
        match dtype {
            DType::F32 => Data::F32(vec![0.0; count]),
            DType::F16 => Data::F16(vec![f16::ZERO; count]),
            DType::U32 => Data::U32(vec![0; count]),
            DType::I8 => Data::I8(vec![0; count]),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::F16(_) => DType::F16,
            Data::U32(_) => DType::U32,
            Data::I8(_) => DType::I8,
        }
    }

    fn len(&self) -> usize {
        with_elements!(self, elements => elements.len())
    }

    fn bytes(&self) -> &[u8] {
        with_elements!(self, elements => bytemuck::cast_slice(elements))
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        with_elements!(self, elements => bytemuck::cast_slice_mut(elements))
    }
}

macro_rules! data_from {
    ($($Element:ty => $Variant:ident),*) => {
        $(impl From<Vec<$Element>> for Data {
            fn from(elements: Vec<$Element>) -> Self {
                Data::$Variant(elements)
            }
        })*
    };
}
data_from!(f32 => F32, f16 => F16, u32 => U32, i8 => I8);

/// A dense, row-major tensor in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// What can be wrong with a tensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The number of elements does not fit the shape.
    #[error("shape {shape:?} holds {expected} elements, found {found}")]
    Length {
        /// The shape asked for.
        shape: Vec<usize>,
        /// Its number of elements.
        expected: usize,
        /// The number of elements given.
        found: usize,
    },
    /// The element type is another one.
    #[error("expected a tensor of {expected}, found {found}")]
    DType {
        /// The type asked for.
        expected: DType,
        /// The type it has.
        found: DType,
    },
}

impl Tensor {
    /// A float tensor of `shape`; `data` in row-major order.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, TensorError> {
        Self::new(shape.into(), Data::F32(data))
    }

    /// An integer tensor of `shape`; `data` in row-major order.
    pub fn u32(shape: impl Into<Vec<usize>>, data: Vec<u32>) -> Result<Self, TensorError> {
        Self::new(shape.into(), Data::U32(data))
    }

    /// A tensor of `shape` from little-endian bytes, as they travel in binary frames.
    pub fn from_le_bytes(dtype: DType, shape: impl Into<Vec<usize>>, bytes: &[u8]) -> Result<Self, TensorError> {
        let (shape, size) = (shape.into(), dtype.size_bytes());
        let (expected, found) = (element_count(&shape), bytes.len() / size);
        if expected != found || !bytes.len().is_multiple_of(size) {
            return Err(TensorError::Length { shape, expected, found });
        }
        let mut tensor = Self::zeros(dtype, shape);
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A tensor of `shape` whose elements are all 0.
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        Self { data: Data::zeros(dtype, element_count(&shape)), shape }
    }

    /// A tensor of `shape`; `data` in row-major order.
    pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<Data>) -> Result<Self, TensorError> {
        let (shape, data) = (shape.into(), data.into());
        let (expected, found) = (element_count(&shape), data.len());
        if expected != found {
            return Err(TensorError::Length { shape, expected, found });
        }
        Ok(Self { shape, data })
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements, by their type.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.shape)
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as floats.
    pub fn as_f32(&self) -> Result<&[f32], TensorError> {
        match &self.data {
            Data::F32(v) => Ok(v),
            other => Err(TensorError::DType { expected: DType::F32, found: other.dtype() }),
        }
    }

    /// The elements as unsigned integers.
    pub fn as_u32(&self) -> Result<&[u32], TensorError> {
        match &self.data {
            Data::U32(v) => Ok(v),
            other => Err(TensorError::DType { expected: DType::U32, found: other.dtype() }),
        }
    }

    /// The elements as little-endian bytes, which is how they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    /// The bytes of [`Tensor::bytes`], to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.bytes_mut()
    }

    /// A copy of [`Tensor::bytes`].
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }
}

/// Number of elements of a shape; 1 for a scalar. A shape that nothing could hold has `usize::MAX`, which no data has.
pub fn element_count(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.iter().fold(1, |all, extent| all.saturating_mul(*extent)) }
}

/// A shape without dimensions of 1 before the others, as far as it has more than `rank`: a batch of one matrix or vector is what
/// it holds.
pub fn without_leading_ones(shape: &[usize], rank: usize) -> &[usize] {
    match shape {
        [1, rest @ ..] if shape.len() > rank => without_leading_ones(rest, rank),
        _ => shape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_one_is_what_it_holds() {
        assert_eq!(without_leading_ones(&[1, 17, 64], 2), [17, 64]);
        assert_eq!(without_leading_ones(&[1, 1, 64], 1), [64]);
        assert_eq!(without_leading_ones(&[1, 64], 2), [1, 64]);
        assert_eq!(without_leading_ones(&[64, 3, 8, 8], 2), [64, 3, 8, 8]);
    }

    #[test]
    fn length_must_fit_the_shape() {
        let error = Tensor::f32([2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2, 3] holds 6 elements, found 5");
        assert!(Tensor::from_le_bytes(DType::U32, [1], &[0; 5]).is_err());
        // Where products wrap, this is a shape without elements.
        let half = 1 << (usize::BITS / 2);
        assert!(Tensor::from_le_bytes(DType::U32, [half, half], &[]).is_err());
        assert!(Tensor::from_le_bytes(DType::U32, [half, half, 0], &[]).is_ok());
    }

    #[test]
    fn bytes_round_trip() {
        let tensor = Tensor::f32([2], vec![1.5, f32::MIN_POSITIVE]).unwrap();
        assert_eq!(Tensor::from_le_bytes(DType::F32, [2], &tensor.to_le_bytes()).unwrap(), tensor);
        assert!(tensor.as_u32().is_err());
    }

    #[test]
    fn elements_of_every_type_have_their_size() {
        let half = Tensor::new([2], vec![f16::from_f32(1.5), f16::NEG_INFINITY]).unwrap();
        assert_eq!(half.bytes(), [0x00, 0x3e, 0x00, 0xfc]);
        let codes = Tensor::new([3], vec![-1i8, 0, 127]).unwrap();
        assert_eq!(codes.bytes(), [0xff, 0, 127]);
        for tensor in [half, codes] {
            assert_eq!(tensor.bytes().len(), tensor.len() * tensor.dtype().size_bytes());
            assert_eq!(Tensor::from_le_bytes(tensor.dtype(), tensor.shape(), tensor.bytes()).unwrap(), tensor);
            assert_eq!(Tensor::zeros(tensor.dtype(), [2, 0]).bytes(), [0; 0]);
        }
        assert!(Tensor::from_le_bytes(DType::F16, [2], &[0; 5]).is_err());
        let error = Tensor::zeros(DType::I8, [1]).as_f32().unwrap_err();
        assert_eq!(error.to_string(), "expected a tensor of f32, found i8");
    }
}
