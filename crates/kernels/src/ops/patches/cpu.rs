//! Patches: nothing is computed, lines of squares are copied.

use webnibble_common::graph::Patches;

use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;

/// The squares of each image, `[images · squares, channels · size · size]`.
pub(crate) fn compute(op: &Patches, operands: Operands<'_>, threads: &Threads) -> Vec<f32> {
    let (shape, x, size) = (operands.shape(op.x), operands.floats(op.x), op.size);
    let &[_, channels, height, width] = shape else { unreachable!("validation says that images have four dimensions") };
    let across = width / size;
    let squares = height / size * across;
    let mut y = vec![0.0; x.len()];
    threads.each_chunk(&mut y, channels * size * size, |row, out| {
        let (image, square) = (row / squares, row % squares);
        let (top, left) = (square / across * size, square % across * size);
        for (index, line) in out.chunks_exact_mut(size).enumerate() {
            let (channel, down) = (image * channels + index / size, top + index % size);
            line.copy_from_slice(&x[(channel * height + down) * width + left..][..size]);
        }
    });
    y
}
