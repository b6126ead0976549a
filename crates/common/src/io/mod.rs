//! What goes into a model and what comes out of it: one form for every caller, on the wire, in the record, in Rust and in
//! TypeScript.
//!
//! [`Input`] and [`Output`] are told apart by `kind`. A kind is added when a family takes or gives it, as a variant of its
//! own, and changes none of the others.

mod input;
mod json;
mod output;

use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Tensor};

pub use input::Input;
pub use json::{JsonTensorError, tensor_from_json, tensors_from_json};
pub use output::{Label, Output, TensorOutput};

/// Tensors by the names of a graph's inputs or outputs.
pub type NamedTensors = Vec<(String, Tensor)>;

/// A tensor whose bytes travel in binary frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// What there is to say of a tensor.
    pub fn of(name: &str, tensor: &Tensor) -> Self {
        Self { name: name.to_owned(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    }
}
