//! What a program is made for.

use super::limits::Limits;
use super::lowering::Lowering;
use super::ranges::Ranges;

/// What a program is made for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What the context takes.
    pub limits: &'a Limits,
    /// How weights are given to the graph.
    pub lowering: Lowering,
    /// Ranges of activations, for [`Lowering::Int8`]; linear operators that are not in it are computed in floats.
    pub ranges: &'a Ranges,
}
