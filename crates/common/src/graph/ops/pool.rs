//! Pooling of a sequence.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::tensor::DType;

/// One vector a sequence: `[batch, seq, hidden]` to `[batch, hidden]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    /// Input.
    pub x: ValueId,
    /// Tokens that count: u32 `[batch, seq]`.
    pub mask: Option<ValueId>,
    /// How.
    pub pooling: Pooling,
    /// Divide by the Euclidean norm (at least 1e-12).
    pub normalize: bool,
}

/// How [`Pool`] makes one vector of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the tokens that the mask keeps.
    Mean,
    /// The first token.
    Cls,
    /// Maximum over the tokens that the mask keeps.
    Max,
    /// The last token, whether the mask keeps it or not.
    Last,
}

impl Operator for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn reads(&self) -> Vec<Read> {
        let rows = match self.pooling {
            Pooling::Cls => Rows::First,
            Pooling::Mean | Pooling::Max | Pooling::Last => Rows::All,
        };
        // Rows that are put behind the last would be taken for it: no mask says that they do not count.
        let mask = self.mask.filter(|_| self.pooling != Pooling::Last);
        let mut reads = vec![rows.of(self.x)];
        reads.extend(mask.map(|mask| Rows::Mask.of(mask)));
        reads
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        let mut shape = shapes.value(self.x).shape.clone();
        shape.remove(1);
        shape
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        check.value("x", self.x, DType::F32, 3)?;
        check.fixed_last("x", self.x)?;
        check.mask(self.mask, &check.dims(self.x)[..2])
    }
}
