//! A gate: two slices of columns, an activation of the first and a product.

use webnibble_common::graph::Gate;

use crate::ops::linear::webnn::activate;
use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::program::Operation;
use crate::webnn::recorder::Recorder;

/// Records `activation(x[…, ..n]) ∘ x[…, n..]`; gives `[rows, n]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Gate) -> Result<Operand, WebNnError> {
    let x = recorder.value(op.x)?;
    let columns = x.cols / 2;
    let mut half = |start: usize| {
        let (starts, sizes) = (vec![0, start], vec![x.rows, columns]);
        recorder.call(Operation::Slice { input: x.operand, starts, sizes })
    };
    let (gate, others) = (half(0)?, half(columns)?);
    let gate = activate(recorder, op.activation, gate)?;
    recorder.mul(gate, others)
}
