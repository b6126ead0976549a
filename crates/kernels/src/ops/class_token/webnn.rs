//! A class token and positions: the token stands before each sequence by joining, then the table is added.

use webnibble_common::graph::ClassToken;

use crate::webnn::constants::Source;
use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::program::Operation;
use crate::webnn::recorder::Recorder;

/// Records the sequence; gives `[batch · (1 + rows), hidden]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &ClassToken) -> Result<Operand, WebNnError> {
    let shape = recorder.shape(op.x)?;
    let (batch, rows, hidden) = (shape[0], shape[1], shape[2]);
    let x = recorder.value(op.x)?.operand;
    let x = recorder.reshape(x, [batch, rows, hidden])?;
    let source = Source::Vector(recorder.name(op.token));
    let token = recorder.constant(recorder.compute(), [1, 1, hidden], source)?;
    let tokens = recorder.stack(vec![token; batch])?;
    let joined = recorder.call(Operation::Concat { inputs: vec![tokens, x], axis: 1 })?;
    let source = Source::Matrix { name: recorder.name(op.positions), first_row: 0 };
    let positions = recorder.constant(recorder.compute(), [1, 1 + rows, hidden], source)?;
    let placed = recorder.add(joined, positions)?;
    recorder.reshape(placed, [batch * (1 + rows), hidden])
}
