//! Embedding: rows of tables, summed and normalized.

use super::norm::Normalization;
use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Positions, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::graph::weight::WeightId;
use crate::tensor::DType;

/// Sum of table rows, normalized: `norm(table[ids] + positions[s + offset] + types[token_types])`.
/// `ids`, `token_types`: u32 `[batch, seq]`; output f32 `[batch, seq, hidden]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embedding {
    /// Token ids.
    pub ids: ValueId,
    /// Segment of each token, with `types`.
    pub token_types: Option<ValueId>,
    /// Token table, `[vocab, hidden]`.
    pub table: WeightId,
    /// Learned absolute positions, `[max_positions, hidden]`.
    pub positions: Option<WeightId>,
    /// Table row of the first position.
    pub position_offset: usize,
    /// Segment table, `[type_vocab, hidden]`.
    pub types: Option<WeightId>,
    /// Normalization of the sum: layer normalization with scale and shift.
    pub norm: Option<Normalization>,
}

impl Operator for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn reads(&self) -> Vec<Read> {
        [Some(self.ids), self.token_types].into_iter().flatten().map(|value| Rows::Same.of(value)).collect()
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        let mut shape = shapes.value(self.ids).shape.clone();
        shape.push(Dim::Fixed(shapes.weight(self.table).shape[1]));
        shape
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        check.value("ids", self.ids, DType::U32, 2)?;
        let hidden = check.matrix("table", self.table)?[1];
        for (operand, weight) in [("positions", self.positions), ("types", self.types)] {
            if let Some(weight) = weight {
                let found = check.matrix(operand, weight)?;
                check.expect(operand, found[1] == hidden, || format!("[_, {hidden}]"), || format!("{found:?}"))?;
            }
        }
        let paired = self.token_types.is_some() == self.types.is_some();
        check.expect("token_types", paired, || "given together with types".into(), || "only one of them".into())?;
        if let Some(value) = self.token_types {
            check.same_shape("token_types", value, self.ids, DType::U32)?;
        }
        let Some(norm) = self.norm else { return Ok(()) };
        let expected = || "layer normalization with a shift".to_owned();
        check.expect("norm", norm.is_layer_with_bias(), expected, || "another".into())?;
        norm.check(check, hidden)
    }

    fn row_numbers(&self) -> Vec<(ValueId, WeightId)> {
        [Some((self.ids, self.table)), self.token_types.zip(self.types)].into_iter().flatten().collect()
    }

    fn positions(&self) -> Option<Positions> {
        self.positions.map(|table| Positions { of: self.ids, table, offset: self.position_offset })
    }
}
