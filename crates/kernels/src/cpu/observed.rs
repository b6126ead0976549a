//! What an observer of linear operators sees.

/// A linear operator that has just been computed.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Name of its weight.
    pub weight: &'a str,
    /// `[m, k]`.
    pub input: &'a [f32],
    /// `k`.
    pub input_channels: usize,
    /// `x · weightᵀ + bias`, `[m, n]`, before activation and residual.
    pub output: &'a [f32],
    /// `n`.
    pub output_channels: usize,
}
