//! Byte layout of a matrix in a format.

use super::{Bits, Format, Granularity, QuantError};

/// Where codes, scales and zero points of a `[rows, cols]` matrix lie. All sizes follow from format and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Format of the matrix.
    pub format: Format,
    /// Output features, or table entries.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// Columns stored, padding included: a multiple of 64 at 8 bits and fewer, of 8 at 16, of 4 at 32.
    /// Padding columns hold the zero code, so that they dequantize to 0.
    pub cols_padded: usize,
    /// Columns that share a scale: `cols_padded` when the granularity is not by group.
    pub group_size: usize,
    /// Scales in a row: 1 per channel, 0 per tensor (every row reads scale 0) and for floats.
    pub groups_per_row: usize,
}

impl Layout {
    /// The layout of a `[rows, cols]` matrix in `format`. A group size of 0 is taken as one group a row;
    /// [`super::Quantizer`] refuses it before it gets here.
    pub fn new(format: Format, rows: usize, cols: usize) -> Self {
        let step = match format.bits {
            Bits::B2 | Bits::B4 | Bits::B8 => 64,
            Bits::B16 => 8,
            Bits::B32 => 4,
        };
        let cols_padded = round_up(cols, step);
        let (group_size, groups_per_row) = match format.granularity {
            _ if !format.bits.is_integer() => (cols_padded, 0),
            Granularity::Tensor => (cols_padded, 0),
            Granularity::Group(size) if size > 0 => (size, cols.div_ceil(size)),
            Granularity::Channel | Granularity::Group(_) => (cols_padded, 1),
        };
        Self { format, rows, cols, cols_padded, group_size, groups_per_row }
    }

    /// Bytes of one row of the packed plane: a multiple of 16.
    pub fn row_bytes(&self) -> usize {
        self.cols_padded * self.format.bits.count() / 8
    }

    /// Bytes of the packed plane.
    pub fn packed_bytes(&self) -> usize {
        self.rows * self.row_bytes()
    }

    /// Number of scales, and of zero points if there are any.
    pub fn scale_count(&self) -> usize {
        match (self.format.bits.is_integer(), self.groups_per_row) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, groups) => self.rows * groups,
        }
    }

    /// Bytes of the scale plane (f16), padded to 16.
    pub fn scale_bytes(&self) -> usize {
        round_up(self.scale_count() * 2, 16)
    }

    /// Bytes of the zero-point plane (u8), padded to 16; 0 without zero points.
    pub fn zero_bytes(&self) -> usize {
        if self.format.has_zeros() { round_up(self.scale_count(), 16) } else { 0 }
    }

    /// Bytes of all planes.
    pub fn total_bytes(&self) -> usize {
        self.packed_bytes() + self.scale_bytes() + self.zero_bytes()
    }

    /// Index of the scale (and zero point) of a weight. Padding columns belong to the last group of their row.
    pub fn scale_index(&self, row: usize, col: usize) -> usize {
        let last = self.groups_per_row.saturating_sub(1);
        row * self.groups_per_row + (col / self.group_size).min(last)
    }
}

/// `n` rounded up to a multiple of `step`.
pub const fn round_up(n: usize, step: usize) -> usize {
    n.div_ceil(step) * step
}

impl Format {
    /// Refuses group sizes that no layout has.
    pub fn check(self) -> Result<(), QuantError> {
        match self.granularity {
            Granularity::Group(found) if self.bits.is_integer() && (found == 0 || found % 16 != 0) => {
                Err(QuantError::GroupSize { found })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Scheme;

    #[test]
    fn bytes_are_half_a_byte_a_weight_plus_scales() {
        let format = Format { bits: Bits::B4, scheme: Scheme::Symmetric, granularity: Granularity::Group(128) };
        let layout = Layout::new(format, 384, 384);
        assert_eq!(layout.packed_bytes(), 384 * 384 / 2);
        assert_eq!(layout.scale_bytes(), 384 * 3 * 2);
        assert_eq!(layout.zero_bytes(), 0);
        assert_eq!(layout.scale_index(2, 300), 8);
    }

    #[test]
    fn odd_columns_are_padded_and_the_last_group_is_short() {
        let format = Format { bits: Bits::B2, scheme: Scheme::Asymmetric, granularity: Granularity::Group(32) };
        let layout = Layout::new(format, 3, 65);
        assert_eq!((layout.cols_padded, layout.groups_per_row, layout.row_bytes()), (128, 3, 32));
        assert_eq!((layout.scale_bytes(), layout.zero_bytes()), (32, 16));
        assert_eq!((layout.scale_index(1, 64), layout.scale_index(1, 127)), (5, 5));
    }

    #[test]
    fn one_scale_per_tensor() {
        let format = Format { bits: Bits::B8, scheme: Scheme::Symmetric, granularity: Granularity::Tensor };
        let layout = Layout::new(format, 5, 64);
        assert_eq!((layout.scale_count(), layout.scale_index(4, 63)), (1, 0));
    }
}
