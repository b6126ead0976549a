//! Layer normalization, by itself and as a part of other operators.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::graph::weight::WeightId;

/// Layer normalization over the last dimension (Ba et al., 2016).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Input, `[…, hidden]`.
    pub x: ValueId,
    /// Scale, shift and epsilon.
    pub norm: Norm,
}

/// Learned scale and shift of a normalization over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Scale, `[hidden]`.
    pub weight: WeightId,
    /// Shift, `[hidden]`.
    pub bias: WeightId,
    /// Added to the variance.
    pub eps: f32,
}

impl Norm {
    /// Checks that it fits `hidden` columns.
    pub(super) fn check(self, check: &Checker<'_>, hidden: usize) -> Result<(), GraphError> {
        check.vector("norm weight", self.weight, hidden)?;
        check.vector("norm bias", self.bias, hidden)
    }
}

impl Operator for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::Same.of(self.x)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.value(self.x).shape.clone()
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let hidden = check.fixed_last("x", self.x)?;
        self.norm.check(check, hidden)
    }
}
