//! Which planes a tensor has: one answer for the writer and for the reader.

use std::fmt;

use super::{PackageError, Part, TensorMeta};
use crate::quant::{Bits, Format, Layout, round_up};

/// Element type of a plane, by its name in safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaneType {
    U8,
    F16,
    F32,
}

impl PlaneType {
    pub(super) fn name(self) -> &'static str {
        match self {
            PlaneType::U8 => "U8",
            PlaneType::F16 => "F16",
            PlaneType::F32 => "F32",
        }
    }

    fn size_bytes(self) -> usize {
        match self {
            PlaneType::U8 => 1,
            PlaneType::F16 => 2,
            PlaneType::F32 => 4,
        }
    }
}

/// A plane as the metadata calls for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlaneSpec {
    /// The tensor or extra it belongs to.
    pub(super) tensor: String,
    pub(super) part: Part,
    pub(super) dtype: PlaneType,
    pub(super) shape: Vec<usize>,
}

impl PlaneSpec {
    /// Name in the file.
    pub(super) fn name(&self) -> String {
        plane_name(&self.tensor, self.part)
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.size_bytes()) as u64
    }

    pub(super) fn extra(name: &str, bytes: usize) -> Self {
        Self { tensor: name.to_owned(), part: Part::Extra, dtype: PlaneType::U8, shape: vec![round_up(bytes, 16)] }
    }
}

impl fmt::Display for PlaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype.name(), self.shape)
    }
}

/// Name of a tensor's plane in the file.
pub(super) fn plane_name(tensor: &str, part: Part) -> String {
    match part {
        Part::Packed | Part::Extra => tensor.to_owned(),
        Part::Scale => format!("{tensor}.scale"),
        Part::Zero => format!("{tensor}.zero"),
    }
}

/// Layout of a matrix; `None` for a vector.
pub(super) fn layout_of(meta: &TensorMeta) -> Option<Layout> {
    match meta.shape[..] {
        [rows, cols] => Some(Layout::new(meta.format, rows, cols)),
        _ => None,
    }
}

/// Length of a vector's plane in elements.
pub(super) fn padded_len(len: usize) -> usize {
    round_up(len, 4)
}

/// The planes of a tensor, in the order in which they lie in the file. The metadata may be anybody's: shapes whose sizes
/// would overflow are errors.
pub(super) fn planes_of(name: &str, meta: &TensorMeta) -> Result<Vec<PlaneSpec>, PackageError> {
    check(meta).map_err(|message| PackageError::Tensor { tensor: name.to_owned(), message })?;
    let spec = |part, dtype, shape| PlaneSpec { tensor: name.to_owned(), part, dtype, shape };
    let Some(layout) = layout_of(meta) else {
        return Ok(vec![spec(Part::Packed, PlaneType::F32, vec![padded_len(meta.shape[0])])]);
    };
    let packed = match meta.format.bits {
        Bits::B2 | Bits::B4 | Bits::B8 => (PlaneType::U8, layout.row_bytes()),
        Bits::B16 => (PlaneType::F16, layout.cols_padded),
        Bits::B32 => (PlaneType::F32, layout.cols_padded),
    };
    let mut planes = vec![spec(Part::Packed, packed.0, vec![layout.rows, packed.1])];
    if layout.scale_bytes() > 0 {
        planes.push(spec(Part::Scale, PlaneType::F16, vec![layout.scale_bytes() / 2]));
    }
    if layout.zero_bytes() > 0 {
        planes.push(spec(Part::Zero, PlaneType::U8, vec![layout.zero_bytes()]));
    }
    Ok(planes)
}

fn check(meta: &TensorMeta) -> Result<(), String> {
    let shape = &meta.shape;
    if !matches!(shape.len(), 1 | 2) || shape.contains(&0) {
        return Err(format!("shape should be [len] or [rows, cols] without zeros, found {shape:?}"));
    }
    if shape.len() == 1 && meta.format != Format::F32 {
        return Err(format!("a vector should be f32, found {}", meta.format));
    }
    meta.format.check().map_err(|error| error.to_string())?;
    // Any plane has at most four bytes an element after padding columns to 64, and a scale a 16th of that.
    let row = shape.last().and_then(|cols| cols.checked_next_multiple_of(64)?.checked_mul(8));
    let bytes =
        row.and_then(|row| if shape.len() == 2 { shape[0].checked_add(16)?.checked_mul(row) } else { Some(row) });
    match bytes {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(format!("shape {shape:?} does not fit the memory of this system")),
    }
}
