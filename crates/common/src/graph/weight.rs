//! Weights: what a graph needs of a checkpoint.

/// Index of a weight in [`Graph::weights`](super::Graph::weights).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

/// What a weight is used for; decides how it is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A projection of an attention block: quantized, at `attention_bits` under mixed precision.
    Attention,
    /// Any other matrix of a linear operator: quantized.
    Linear,
    /// A table that is gathered from by row: f16 unless asked otherwise.
    Embedding,
    /// Scales and shifts of normalizations, biases: f32.
    Vector,
}

/// A weight that the graph needs, and where it comes from in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Name in the package.
    pub name: String,
    /// `[rows, cols]` of a matrix (`rows` = output features or table entries), or `[len]` of a vector.
    pub shape: Vec<usize>,
    /// What it is used for.
    pub role: Role,
    /// Checkpoint tensors that make it, stacked along the first dimension (fused QKV has three).
    pub sources: Vec<String>,
}
