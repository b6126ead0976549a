//! Attention of queries over keys and values.

use crate::graph::dim::{Dim, show_dims};
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::tensor::DType;

/// Multi-head scaled dot-product attention; output `[batch, queries, heads · head_dim]`.
/// A row whose keys are all masked gives zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Queries, `heads · head_dim` columns.
    pub q: Columns,
    /// Keys, `heads · head_dim` columns.
    pub k: Columns,
    /// Values, `heads · head_dim` columns.
    pub v: Columns,
    /// Keys to attend to: u32 `[batch, keys]`, 1 keeps, 0 drops.
    pub mask: Option<ValueId>,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
}

/// A range of columns of a value's last dimension, so that Q, K and V can share one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The value, `[batch, length, width]`.
    pub value: ValueId,
    /// First column.
    pub start: usize,
}

impl Operator for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![Rows::Same.of(self.q.value), Rows::All.of(self.k.value), Rows::All.of(self.v.value)];
        reads.extend(self.mask.map(|mask| Rows::Mask.of(mask)));
        reads
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.with_last(self.q.value, self.heads * self.head_dim)
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let width = self.heads * self.head_dim;
        check.expect("heads", width > 0, || "at least one head of at least one column".into(), || "none".into())?;
        for (operand, columns) in [("q", self.q), ("k", self.k), ("v", self.v)] {
            check.value(operand, columns.value, DType::F32, 3)?;
            let found = check.fixed_last(operand, columns.value)?;
            check.expect(
                operand,
                columns.start + width <= found,
                || format!("columns {}..{} inside its last dimension", columns.start, columns.start + width),
                || format!("{found} columns"),
            )?;
        }
        let (keys, values) = (&check.dims(self.k.value)[..2], &check.dims(self.v.value)[..2]);
        check.expect("v", keys == values, || show_dims(keys), || show_dims(values))?;
        check.mask(self.mask, keys)
    }
}
