//! Matrix products natively, by the `gemm` crate behind a safe face.

use gemm::Parallelism;

use super::view::View;

/// `out = scale · a · b`, with `a` `[m, k]`, `b` `[k, n]` and `out` `[m, n]` in row-major order. On the calling thread alone.
///
/// Panics when a matrix does not lie inside its slice.
pub(crate) fn product(out: &mut [f32], [m, n, k]: [usize; 3], scale: f32, a: View<'_>, b: View<'_>) {
    assert!(out.len() == m * n && a.holds(m, k) && b.holds(k, n), "a product of {m}x{k} and {k}x{n} is out of bounds");
    let stride = |stride: usize| isize::try_from(stride).expect("strides lie inside a slice");
    // SAFETY: `gemm` reads `a` and `b` at `row · row_stride + col · col_stride` for rows and columns of their shapes and
    // writes `out` at `row · n + col`; the assertion says that all of these lie inside the slices. `out` is borrowed
    // mutably, so it overlaps neither; it is not read, since `read_dst` is false.
    #[expect(unsafe_code, reason = "the library's interface takes pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride(n),
            false,
            a.data.as_ptr().wrapping_add(a.start),
            stride(a.col_stride),
            stride(a.row_stride),
            b.data.as_ptr().wrapping_add(b.start),
            stride(b.col_stride),
            stride(b.row_stride),
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_and_transposed_products() {
        // a = [[1, 2], [3, 4]] in rows of 3 from element 1 on; b as the rows of its transpose.
        let a = [0.0, 1.0, 2.0, 0.0, 3.0, 4.0];
        let b_transposed = [5.0, 6.0, 7.0, 8.0];
        let mut out = [f32::NAN; 4];
        product(&mut out, [2, 2, 2], 2.0, View::rows(&a, 1, 3), View::rows(&b_transposed, 0, 2).transposed());
        assert_eq!(out, [34.0, 46.0, 78.0, 106.0]);
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn a_matrix_beyond_its_slice_is_refused() {
        product(&mut [0.0; 4], [2, 2, 2], 1.0, View::rows(&[0.0; 3], 0, 2), View::rows(&[0.0; 4], 0, 2));
    }
}
