//! A class token and positions: what a sequence of patches gets before the first layer.

use crate::graph::dim::{Dim, show_dims};
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;
use crate::graph::weight::WeightId;
use crate::tensor::DType;

/// A learned row before the others, and a learned position added to each: f32 `[batch, rows, hidden]` gives
/// `[batch, 1 + rows, hidden]`, whose first row is `token + positions[0]` and the others `x[row] + positions[1 + row]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassToken {
    /// The other rows, of known number.
    pub x: ValueId,
    /// The first row, `[hidden]`.
    pub token: WeightId,
    /// A row each, `[1 + rows, hidden]`.
    pub positions: WeightId,
}

impl Operator for ClassToken {
    fn name(&self) -> &'static str {
        "class_token"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::All.of(self.x)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        let (x, positions) = (&shapes.value(self.x).shape, &shapes.weight(self.positions).shape);
        vec![x[0].clone(), Dim::Fixed(positions[0]), x[2].clone()]
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        check.value("x", self.x, DType::F32, 3)?;
        let hidden = check.fixed_last("x", self.x)?;
        let [rows, columns] = check.matrix("positions", self.positions)?;
        check.expect("positions", columns == hidden, || format!("[_, {hidden}]"), || format!("[{rows}, {columns}]"))?;
        check.vector("token", self.token, hidden)?;
        let dims = check.dims(self.x);
        let expected = || format!("[_, {}, {hidden}], a row less than positions", rows.saturating_sub(1));
        check.expect("x", rows > 1 && dims[1] == Dim::Fixed(rows - 1), expected, || show_dims(dims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, Role};

    fn refused(rows: Dim, positions: [usize; 2], token: usize) -> String {
        let mut graph = Graph::default();
        let x = graph.input("x", DType::F32, ["batch".into(), rows, 8.into()]);
        let token = graph.weight("token", [token], Role::Vector, &[]);
        let positions = graph.weight("positions", positions, Role::Embedding, &[]);
        let y = graph.push("y", ClassToken { x, token, positions });
        graph.output(y);
        graph.validate().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn there_is_a_position_for_each_row_and_one_for_the_token() {
        assert_eq!(refused(4.into(), [5, 8], 8), "");
        let error = refused(4.into(), [4, 8], 8);
        assert_eq!(error, "class_token `y`: x should be [_, 3, 8], a row less than positions, found [batch, 4, 8]");
        assert!(refused("seq".into(), [5, 8], 8).ends_with("found [batch, seq, 8]"));
        assert_eq!(refused(4.into(), [5, 7], 8), "class_token `y`: positions should be [_, 8], found [5, 7]");
        assert_eq!(refused(4.into(), [5, 8], 7), "class_token `y`: token should be [8], found [7]");
    }
}
