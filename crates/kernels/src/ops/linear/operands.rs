//! A linear operator in memory, as both CPU executors compute it.

use webnibble_common::graph::{Activation, Linear};
use webnibble_common::quant::QTensor;

use crate::exec::operands::Operands;

/// `x` is `[m, k]`, the weight `[n, k]`.
#[derive(Clone, Copy)]
pub(super) struct LinearOperands<'a> {
    pub(super) x: &'a [f32],
    pub(super) weight: &'a QTensor,
    /// `[n]`.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
    /// `[m, n]`.
    pub(super) residual: Option<&'a [f32]>,
}

impl<'a> LinearOperands<'a> {
    pub(super) fn of(op: &Linear, operands: Operands<'a>) -> Self {
        Self {
            x: operands.floats(op.x),
            weight: operands.matrix(op.weight),
            bias: op.bias.map(|bias| operands.vector(bias)),
            activation: op.activation,
            residual: op.residual.map(|residual| operands.floats(residual)),
        }
    }

    /// Rows of the input.
    pub(super) fn rows(&self) -> usize {
        self.x.len() / self.weight.layout.cols
    }
}
