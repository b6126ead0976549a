//! Matrices in slices.

/// A matrix in a slice: element `(row, col)` lies at `start + row · row_stride + col · col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) start: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> View<'a> {
    /// Rows that lie `stride` apart, from `start` on.
    pub(crate) fn rows(data: &'a [f32], start: usize, stride: usize) -> Self {
        Self { data, start, row_stride: stride, col_stride: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Whether a matrix of that shape lies inside the slice.
    pub(crate) fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0
            || cols == 0
            || self.start + (rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.data.len()
    }
}
