//! Matrix products of our own, for WebAssembly: tiles of a few rows by eight columns, whose sums stay in registers.
//!
//! The scheme is that of Goto and van de Geijn (2008), with one level of blocking less, since a strip of eight columns is
//! all that is made ready at a time: the rows of the left matrix are packed once, [`TILE_ROWS`] side by side, the columns
//! of the right one in panels of [`DEPTH`] by [`STRIP`], which fit the first-level cache while every tile of rows is
//! multiplied with them.

use super::simd::F32x4;
use super::strip::{STRIP, TILE_ROWS, for_rows, halves, whole};
use super::threads::Threads;
use super::view::View;

/// Columns of the left matrix that are multiplied before the next: a panel of them takes 16 KiB.
pub(crate) const DEPTH: usize = 512;

/// Left matrix, packed: [`TILE_ROWS`] rows at a time, column by column. The last tile has the rows that are left.
pub(crate) struct Rows {
    data: Vec<f32>,
    m: usize,
    k: usize,
}

impl Rows {
    /// Packs `[m, k]`, whose rows lie side by side, multiplied by `scale`.
    pub(crate) fn pack(a: View<'_>, [m, k]: [usize; 2], scale: f32, threads: &Threads) -> Self {
        let mut data = vec![0.0; m * k];
        threads.each_chunk(&mut data, TILE_ROWS * k, |tile, out| {
            let row = |index: usize| a.contiguous(tile * TILE_ROWS + index, 0, k);
            for_rows!(out.len() / k, interleave(std::array::from_fn(row), scale, out));
        });
        Self { data, m, k }
    }

    /// Adds to `out` `[m, STRIP]` the product of the columns from `from` on with as many rows of a right matrix.
    pub(crate) fn multiply(&self, from: usize, panel: &[[f32; STRIP]], out: &mut [[f32; STRIP]]) {
        assert!(out.len() == self.m && from + panel.len() <= self.k, "a panel beside the matrix");
        let tiles = self.data.chunks(TILE_ROWS * self.k).zip(out.chunks_mut(TILE_ROWS));
        for (a, out) in tiles {
            let rows = out.len();
            let a = &a[from * rows..(from + panel.len()) * rows];
            for_rows!(rows, tile(a, panel, out));
        }
    }
}

/// Rows of the same length, column by column.
#[inline(always)]
fn interleave<const ROWS: usize>(rows: [&[f32]; ROWS], scale: f32, out: &mut [f32]) {
    let (out, _) = out.as_chunks_mut::<ROWS>();
    let rows = rows.map(|row| &row[..out.len()]);
    for (col, out) in out.iter_mut().enumerate() {
        *out = rows.map(|row| row[col] * scale);
    }
}

/// `out += a · b`, with `a` `[k, ROWS]` and `b` `[k, STRIP]`.
#[inline(always)]
fn tile<const ROWS: usize>(a: &[f32], b: &[[f32; STRIP]], out: &mut [[f32; STRIP]]) {
    let out: &mut [[f32; STRIP]; ROWS] = out.try_into().expect("a tile has so many rows");
    let mut sums = out.map(halves);
    let (a, _) = a.as_chunks::<ROWS>();
    for (a, b) in a.iter().zip(b) {
        let [low, high] = halves(*b);
        // Row by row, as the build asks the compiler to keep it: in another order twelve rows would be held at once.
        for (sum, a) in sums.iter_mut().zip(a) {
            let a = F32x4::splat(*a);
            *sum = [a.mul_add(low, sum[0]), a.mul_add(high, sum[1])];
        }
    }
    *out = sums.map(whole);
}

impl<'a> View<'a> {
    /// An element.
    fn at(&self, row: usize, col: usize) -> f32 {
        self.data[self.start + row * self.row_stride + col * self.col_stride]
    }

    /// Whether the elements of a row lie side by side.
    fn has_contiguous_rows(&self) -> bool {
        self.col_stride == 1
    }

    /// Elements of a row that lie side by side.
    fn contiguous(&self, row: usize, col: usize, len: usize) -> &'a [f32] {
        &self.data[self.start + row * self.row_stride + col..][..len]
    }
}

/// Columns `first..` of a right matrix `[k, n]`, from row `from` on; those beyond `n` are the last column again.
fn pack_panel(b: View<'_>, n: usize, first: usize, from: usize, panel: &mut [[f32; STRIP]]) {
    if b.has_contiguous_rows() && first + STRIP <= n {
        for (row, out) in panel.iter_mut().enumerate() {
            out.copy_from_slice(b.contiguous(from + row, first, STRIP));
        }
        return;
    }
    for lane in 0..STRIP {
        let column = (first + lane).min(n - 1);
        for (row, out) in panel.iter_mut().enumerate() {
            out[lane] = b.at(from + row, column);
        }
    }
}

/// `out = scale · a · b`, with `a` `[m, k]` by rows, `b` `[k, n]` and `out` `[m, n]` in row-major order. On the calling
/// thread alone.
pub(crate) fn product(out: &mut [f32], [m, n, k]: [usize; 3], scale: f32, a: View<'_>, b: View<'_>) {
    assert!(a.has_contiguous_rows(), "the left matrix lies by rows");
    assert!(out.len() == m * n && a.holds(m, k) && b.holds(k, n), "a product of {m}x{k} and {k}x{n} is out of bounds");
    let rows = Rows::pack(a, [m, k], scale, &Threads::single());
    let mut panel = [[0.0; STRIP]; DEPTH];
    let mut strip = vec![[0.0; STRIP]; m];
    for first in (0..n).step_by(STRIP) {
        strip.fill([0.0; STRIP]);
        for from in (0..k).step_by(DEPTH) {
            let panel = &mut panel[..DEPTH.min(k - from)];
            pack_panel(b, n, first, from, panel);
            rows.multiply(from, panel, &mut strip);
        }
        let count = STRIP.min(n - first);
        for (out, values) in out.chunks_exact_mut(n).zip(&strip) {
            out[first..][..count].copy_from_slice(&values[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_odd_shapes() {
        let value = |index: usize| ((index * 37) % 19) as f32 - 9.0;
        for [m, n, k] in [[1, 1, 1], [2, 3, 5], [5, 8, 16], [6, 9, 17], [7, 16, 33], [13, 31, DEPTH + 3]] {
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|index| value(index + 5)).collect();
            let b_transposed: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            let sum = |i: usize| (0..k).map(|at| a[i / n * k + at] * b[at * n + i % n]).sum::<f32>();
            let expected: Vec<f32> = (0..m * n).map(|i| 0.5 * sum(i)).collect();
            let views = [View::rows(&b, 0, n), View::rows(&b_transposed, 0, k).transposed()];
            for view in views {
                let mut out = vec![f32::NAN; m * n];
                product(&mut out, [m, n, k], 0.5, View::rows(&a, 0, k), view);
                assert_eq!(out, expected, "{m} x {n} x {k}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_matrix_beyond_its_slice_is_refused() {
        product(&mut [0.0; 4], [2, 2, 2], 1.0, View::rows(&[0.0; 3], 0, 2), View::rows(&[0.0; 4], 0, 2));
    }
}
