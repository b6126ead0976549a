//! Rotary positions are refused: what has them is causal, and attention refuses that too.

use webnibble_common::graph::{Operator, Rotary};

use crate::webnn::error::WebNnError;
use crate::webnn::operand::Operand;
use crate::webnn::recorder::Recorder;

/// Refuses the operator.
pub(crate) fn record(_: &mut Recorder<'_>, op: &Rotary) -> Result<Operand, WebNnError> {
    Err(WebNnError::Unsupported { operator: op.name(), what: "embedding of positions" })
}
