//! Dense host tensors: what goes into an executable and what comes out.

use std::fmt;

/// Element type of a [`Tensor`] or of a value in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit IEEE float: activations.
    F32,
    /// 32-bit unsigned integer: token ids, masks (0 or 1).
    U32,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn size_bytes(self) -> usize {
        4
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U32 => "u32",
        })
    }
}

/// The elements of a [`Tensor`], in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Floats.
    F32(Vec<f32>),
    /// Unsigned integers.
    U32(Vec<u32>),
}

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
        let shape = shape.into();
        let expected = element_count(&shape);
        let found = bytes.len() / 4;
        if expected != found || !bytes.len().is_multiple_of(4) {
            return Err(TensorError::Length { shape, expected, found });
        }
        let words = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let data = match dtype {
            DType::F32 => Data::F32(words.map(f32::from_bits).collect()),
            DType::U32 => Data::U32(words.collect()),
        };
        Self::new(shape, data)
    }

    fn new(shape: Vec<usize>, data: Data) -> Result<Self, TensorError> {
        let expected = element_count(&shape);
        let found = match &data {
            Data::F32(v) => v.len(),
            Data::U32(v) => v.len(),
        };
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
        match self.data {
            Data::F32(_) => DType::F32,
            Data::U32(_) => DType::U32,
        }
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
            Data::U32(_) => Err(TensorError::DType { expected: DType::F32, found: DType::U32 }),
        }
    }

    /// The elements as unsigned integers.
    pub fn as_u32(&self) -> Result<&[u32], TensorError> {
        match &self.data {
            Data::U32(v) => Ok(v),
            Data::F32(_) => Err(TensorError::DType { expected: DType::U32, found: DType::F32 }),
        }
    }

    /// The elements as little-endian bytes.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// Number of elements of a shape; 1 for a scalar. A shape that nothing could hold has `usize::MAX`, which no data has.
pub fn element_count(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.iter().fold(1, |all, extent| all.saturating_mul(*extent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
