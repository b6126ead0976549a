//! Matrices in slices.

/// A matrix in a slice: element `(row, col)` lies at `start + row · row_stride + col · col_stride`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) start: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a> View<'a> {
    /// Rows that lie `stride` apart, from `start` on.
    pub(super) fn rows(data: &'a [f32], start: usize, stride: usize) -> Self {
        Self { data, start, row_stride: stride, col_stride: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Whether a matrix of that shape lies inside the slice.
    pub(super) fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0
            || cols == 0
            || self.start + (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}
