//! Gate: one half of the columns decides how much of the other half goes on.

use super::linear::Activation;
use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::ValueId;

/// `activation(x[…, ..n]) ∘ x[…, n..]`: `[…, 2n]` gives `[…, n]` (Shazeer, 2020). Behind a linear operator whose weight has
/// the gate's rows above the others, it is a gated linear unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Input, the gate's columns first.
    pub x: ValueId,
    /// Applied to the gate.
    pub activation: Activation,
}

impl Operator for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::Same.of(self.x)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        let last = shapes.value(self.x).shape.last();
        // Of any other last dimension the check says what is wrong.
        let width = if let Some(Dim::Fixed(width)) = last { *width } else { 0 };
        shapes.with_last(self.x, width / 2)
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let width = check.fixed_last("x", self.x)?;
        let halves = width > 0 && width.is_multiple_of(2);
        check.expect("x", halves, || "two halves of columns".into(), || format!("{width} columns"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::tensor::DType;

    #[test]
    fn a_gate_has_as_many_columns_as_it_gates() {
        let of = |width: usize| {
            let mut graph = Graph::default();
            let x = graph.input("x", DType::F32, ["rows".into(), width.into()]);
            let y = graph.push("y", Gate { x, activation: Activation::Silu });
            graph.output(y);
            graph
        };
        let graph = of(6);
        graph.validate().unwrap();
        assert_eq!(graph.value_of(graph.outputs[0]).shape, ["rows".into(), 3.into()]);
        let error = of(5).validate().unwrap_err().to_string();
        assert_eq!(error, "gate `y`: x should be two halves of columns, found 5 columns");
    }
}
