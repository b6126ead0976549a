//! Normalization of rows.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::graph::weight::WeightId;

/// Normalization over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Input, `[…, hidden]`.
    pub x: ValueId,
    /// How its rows are normalized.
    pub by: Normalization,
}

/// How rows are normalized, with what is learned of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// What rows are divided by.
    pub kind: NormKind,
    /// Scale, `[hidden]`.
    pub weight: WeightId,
    /// Shift, `[hidden]`.
    pub bias: Option<WeightId>,
    /// Added to the variance, or to the mean square.
    pub eps: f32,
}

/// What rows are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// Their standard deviation, once their mean is taken from them (Ba et al., 2016).
    Layer,
    /// The root of their mean square (Zhang and Sennrich, 2019).
    Rms,
}

impl Normalization {
    /// Layer normalization with scale and shift.
    pub fn layer(weight: WeightId, bias: WeightId, eps: f32) -> Self {
        Self { kind: NormKind::Layer, weight, bias: Some(bias), eps }
    }

    /// By the root of the mean square, with a scale.
    pub fn rms(weight: WeightId, eps: f32) -> Self {
        Self { kind: NormKind::Rms, weight, bias: None, eps }
    }

    /// Whether it is by the root mean square, and shifts nothing.
    pub fn is_rms_without_bias(self) -> bool {
        self.kind == NormKind::Rms && self.bias.is_none()
    }

    /// Whether it is layer normalization with scale and shift: what an embedding's kernel has.
    pub(super) fn is_layer_with_bias(self) -> bool {
        self.kind == NormKind::Layer && self.bias.is_some()
    }

    /// Checks that it fits `hidden` columns.
    pub(super) fn check(self, check: &Checker<'_>, hidden: usize) -> Result<(), GraphError> {
        check.vector("norm weight", self.weight, hidden)?;
        self.bias.map_or(Ok(()), |bias| check.vector("norm bias", bias, hidden))
    }
}

impl Operator for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::Same.of(self.x)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.value(self.x).shape.clone()
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let hidden = check.fixed_last("x", self.x)?;
        self.by.check(check, hidden)
    }
}
