//! Rotary positions: columns turned by an angle that says where a row stands.

use crate::graph::dim::Dim;
use crate::graph::error::GraphError;
use crate::graph::operator::{Checker, Operator, Read, Rows, Shapes};
use crate::graph::value::Columns;

/// Pairs of columns of each head, turned by an angle that grows with the position (Su et al., 2021); output
/// `[batch, seq, heads · head_dim]`.
///
/// Queries and keys that lie side by side are the heads of one operator. What attends to turned queries and keys need not
/// know of it, and neither need a cache: keys are turned before they are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// `heads · head_dim` columns.
    pub x: Columns,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// For each pair of a head, radians from a position to the next. Columns behind the pairs stay as they are.
    pub frequencies: Vec<f32>,
    /// Which columns make a pair.
    pub style: RotaryStyle,
    /// Whether positions count from the conversation's past on. Otherwise a sequence begins at position 0.
    pub continues: bool,
}

/// Which columns of a head with `pairs` pairs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotaryStyle {
    /// `i` and `pairs + i`, as transformers has them.
    HalfSplit,
    /// `2i` and `2i + 1`, as in the paper.
    Interleaved,
}

impl Rotary {
    /// Pairs that a head has at most.
    pub const MOST_PAIRS: usize = 128;

    /// `base^(−2i/columns)` of pair `i`, as many as `columns` have.
    pub fn frequencies(base: f32, columns: usize) -> Vec<f32> {
        let frequency = |pair: usize| f64::from(base).powf(-2.0 * pair as f64 / columns as f64);
        (0..columns / 2).map(|pair| frequency(pair) as f32).collect()
    }

    /// The two columns of a pair.
    pub fn pair(&self, pair: usize) -> [usize; 2] {
        match self.style {
            RotaryStyle::HalfSplit => [pair, self.frequencies.len() + pair],
            RotaryStyle::Interleaved => [2 * pair, 2 * pair + 1],
        }
    }

    fn check_pairs(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        let (pairs, most) = (self.frequencies.len(), Self::MOST_PAIRS.min(self.head_dim / 2));
        let expected = || format!("1 to {most} for heads of {} columns", self.head_dim);
        check.expect("frequencies", (1..=most).contains(&pairs), expected, || pairs.to_string())?;
        let odd = self.frequencies.iter().find(|frequency| !frequency.is_finite());
        check.expect("frequencies", odd.is_none(), || "finite".into(), || format!("{odd:?}"))
    }
}

impl Operator for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn reads(&self) -> Vec<Read> {
        vec![Rows::Same.of(self.x.value)]
    }

    fn shape(&self, shapes: &Shapes<'_>) -> Vec<Dim> {
        shapes.with_last(self.x.value, self.heads * self.head_dim)
    }

    fn check(&self, check: &Checker<'_>) -> Result<(), GraphError> {
        self.check_pairs(check)?;
        check.expect("heads", self.heads > 0, || "at least one".into(), || "none".into())?;
        check.columns("x", self.x, self.heads * self.head_dim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::tensor::DType;

    fn refused(change: impl FnOnce(&mut Rotary)) -> String {
        let mut graph = Graph::default();
        let value = graph.input("x", DType::F32, ["batch".into(), "seq".into(), 20.into()]);
        let mut rotary = Rotary {
            x: Columns { value, start: 4 },
            heads: 2,
            head_dim: 8,
            frequencies: Rotary::frequencies(1e4, 8),
            style: RotaryStyle::HalfSplit,
            continues: false,
        };
        change(&mut rotary);
        let y = graph.push("y", rotary);
        graph.output(y);
        graph.validate().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn pairs_and_columns_fit_the_heads() {
        assert_eq!(refused(|_| {}), "");
        assert_eq!(refused(|rotary| rotary.frequencies.truncate(1)), "");
        let error = refused(|rotary| rotary.head_dim = 7);
        assert_eq!(error, "rotary `y`: frequencies should be 1 to 3 for heads of 7 columns, found 4");
        let error = refused(|rotary| rotary.frequencies.clear());
        assert_eq!(error, "rotary `y`: frequencies should be 1 to 4 for heads of 8 columns, found 0");
        let error = refused(|rotary| rotary.frequencies[1] = f32::NAN);
        assert_eq!(error, "rotary `y`: frequencies should be finite, found Some(NaN)");
        let error = refused(|rotary| rotary.x.start = 5);
        assert_eq!(error, "rotary `y`: x should be columns 5..21 inside its last dimension, found 20 columns");
    }

    #[test]
    fn frequencies_fall_from_one() {
        assert_eq!(Rotary::frequencies(1e4, 8), [1.0, 0.1, 0.01, 0.001]);
    }
}
