//! What products of floats ([`super::tiles`]) and of codes ([`super::codes`]) share: strips of eight columns, tiles of a
//! few rows, and a linear operator strip by strip.

use super::simd::F32x4;
use super::threads::Threads;

/// Columns of a strip: two vectors.
pub(crate) const STRIP: usize = 8;

/// Rows of a tile. Engines have 16 vector registers on x86 and keep one for themselves: 12 sums, 2 columns, 1 row fit.
/// Without a fused operation a product needs a register too.
pub(crate) const TILE_ROWS: usize = if cfg!(target_feature = "relaxed-simd") { 6 } else { 5 };

/// Calls a function of so many rows with the rows that a tile has.
macro_rules! for_rows {
    ($rows:expr, $function:ident($($argument:expr),*)) => {
        match $rows {
            6 => $function::<6>($($argument),*),
            5 => $function::<5>($($argument),*),
            4 => $function::<4>($($argument),*),
            3 => $function::<3>($($argument),*),
            2 => $function::<2>($($argument),*),
            _ => $function::<1>($($argument),*),
        }
    };
}
pub(crate) use for_rows;

/// A strip's row as vectors.
#[inline(always)]
pub(crate) fn halves([a, b, c, d, e, f, g, h]: [f32; STRIP]) -> [F32x4; 2] {
    [F32x4::from_array([a, b, c, d]), F32x4::from_array([e, f, g, h])]
}

/// Vectors as a strip's row.
#[inline(always)]
pub(crate) fn whole([low, high]: [F32x4; 2]) -> [f32; STRIP] {
    let ([a, b, c, d], [e, f, g, h]) = (low.to_array(), high.to_array());
    [a, b, c, d, e, f, g, h]
}

/// All outputs, `[m, n]`, of `columns(first, m)`, which gives those of the weight rows from `first` on without the residual.
pub(crate) fn by_strips(
    [m, n]: [usize; 2],
    residual: Option<&[f32]>,
    threads: &Threads,
    columns: impl Fn(usize, usize) -> Vec<[f32; STRIP]> + Sync,
) -> Vec<f32> {
    let mut y = vec![0.0; m * n];
    threads.each_into(
        n.div_ceil(STRIP),
        |strip| columns(strip * STRIP, m),
        |strip, part| place(&mut y, &part, n, strip * STRIP, residual),
    );
    y
}

/// Writes a strip's outputs into columns `first..` of `y`, adding the residual.
fn place(y: &mut [f32], part: &[[f32; STRIP]], n: usize, first: usize, residual: Option<&[f32]>) {
    let count = STRIP.min(n - first);
    for (row, values) in part.iter().enumerate() {
        let range = row * n + first..row * n + first + count;
        let out = &mut y[range.clone()];
        match residual {
            None => out.copy_from_slice(&values[..count]),
            Some(residual) => {
                let sums = out.iter_mut().zip(values.iter().zip(&residual[range]));
                sums.for_each(|(y, (value, residual))| *y = value + residual);
            }
        }
    }
}
