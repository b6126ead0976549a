//! Patches: two exchanges of dimensions of four, which every context takes.

use webnibble_common::graph::Patches;

use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::program::Operation;
use crate::webnn::recorder::Recorder;

/// Records the cut; gives `[images · squares, channels · size · size]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Patches) -> Result<Operand, WebNnError> {
    let (shape, size) = (recorder.shape(op.x)?, op.size);
    let (images, channels) = (shape[0], shape[1]);
    let (down, across) = (shape[2] / size, shape[3] / size);
    let x = recorder.value(op.x)?.operand;
    let squares = exchange(recorder, x, [images * channels * down, size, across, size])?;
    let rows = exchange(recorder, squares, [images, channels, down * across, size * size])?;
    recorder.reshape(rows, [images * down * across, channels * size * size])
}

/// Takes `x` as of `shape`, and exchanges the two dimensions in the middle.
fn exchange(recorder: &mut Recorder<'_>, x: Operand, shape: [usize; 4]) -> Result<Operand, WebNnError> {
    let input = recorder.reshape(x, shape)?;
    recorder.call(Operation::Transpose { input, permutation: vec![0, 2, 1, 3] })
}
