//! Twin of `patches.wgsl`.

use webnibble_common::graph::Patches;
use webnibble_common::tensor::element_count;

use crate::exec::operands::Operands;

/// The squares of each image, `[images · squares, channels · size · size]`.
pub(crate) fn compute(op: &Patches, operands: Operands<'_>) -> Vec<f32> {
    let (shape, size) = (operands.shape(op.x), op.size);
    let &[_, channels, height, width] = shape else { unreachable!("validation says that images have four dimensions") };
    let mut y = Vec::with_capacity(element_count(shape));
    for image in operands.floats(op.x).chunks_exact(channels * height * width) {
        for (top, left) in (0..height / size).flat_map(|row| (0..width / size).map(move |at| (row * size, at * size))) {
            for channel in 0..channels {
                for line in top..top + size {
                    y.extend((left..left + size).map(|column| image[(channel * height + line) * width + column]));
                }
            }
        }
    }
    y
}
