//! Linear: a product with what comes after it.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::graph::weight::WeightId;
use crate::tensor::DType;

/// `activation(x · weightᵀ + bias) + residual`: f32 `[…, K]` by `[N, K]` gives `[…, N]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Input, `[…, K]`.
    pub x: ValueId,
    /// Matrix, `[N, K]`.
    pub weight: WeightId,
    /// `[N]`.
    pub bias: Option<WeightId>,
    /// Applied before the residual.
    pub activation: Activation,
    /// Added last, `[…, N]`.
    pub residual: Option<ValueId>,
}

/// Function applied to the output of a linear operator, before its residual is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// Exact GELU, `x · Φ(x)` (Hendrycks and Gimpel, 2016).
    Gelu,
    /// The tanh approximation of GELU (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Linear {
    /// Whether nothing but a bias comes after the product.
    pub fn is_plain(&self) -> bool {
        self.activation == Activation::Identity && self.residual.is_none()
    }
}

impl Operator for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn reads(&self) -> Vec<Read> {
        [Some(self.x), self.residual].into_iter().flatten().map(|value| Rows::Same.of(value)).collect()
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.with_last(self.x, shapes.weight(self.weight).shape[0])
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let [n, k] = check.matrix("weight", self.weight)?;
        check.last("x", self.x, k)?;
        if let Some(bias) = self.bias {
            check.vector("bias", bias, n)?;
        }
        match self.residual {
            Some(residual) => check.same_shape("residual", residual, check.output, DType::F32),
            None => Ok(()),
        }
    }
}
