//! The answer.

use serde::{Deserialize, Serialize};

/// The answer: one of these, told apart by its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Output {
    /// One vector an item.
    Embeddings {
        /// The vectors.
        embeddings: Vec<Vec<f32>>,
    },
    /// Classes, likeliest first.
    Labels {
        /// The classes.
        labels: Vec<Label>,
    },
    /// What was said.
    Transcript {
        /// The transcript.
        transcript: Transcript,
    },
    /// What was generated.
    Tokens {
        /// Token ids.
        tokens: Vec<u32>,
        /// Why it ended.
        finish_reason: String,
    },
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Raw numbers.
    Tensor {
        /// The tensor.
        tensor: TensorOutput,
    },
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Name of the class.
    pub label: String,
    /// Its probability.
    pub probability: f32,
}

/// What was said, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// Piece by piece.
    pub segments: Vec<Segment>,
}

/// A piece of a transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// First second.
    pub start: f64,
    /// Last second.
    pub end: f64,
    /// What was said.
    pub text: String,
}

/// Raw numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorOutput {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}
