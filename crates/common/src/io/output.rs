//! The answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::generate::FinishReason;
use crate::tensor::{Tensor, TensorError};

/// The answer: one of these, told apart by `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", from = "Read")]
pub enum Output {
    /// One vector an item.
    Embeddings {
        /// The vectors.
        embeddings: Vec<Vec<f32>>,
    },
    /// What each item shows, the likeliest label first.
    Labels {
        /// A list an item; of many labels the likeliest.
        labels: Vec<Vec<Label>>,
    },
    /// What a model went on with.
    Text {
        /// The text; `None` of a model without tokenizer.
        text: Option<String>,
        /// Its tokens, without those of the prompt and without an end token.
        tokens: Vec<u32>,
        /// Why it ended.
        finish_reason: FinishReason,
    },
    /// Raw numbers: the outputs that were asked for, or those of a model whose answer nothing is made of.
    Tensors {
        /// By the names of the model's outputs.
        tensors: BTreeMap<String, TensorOutput>,
    },
}

/// A label and how likely it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub label: String,
    /// From 0 to 1, over all labels of the model.
    pub probability: f32,
}

/// Raw numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorOutput {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

impl TensorOutput {
    /// The same as a tensor has.
    ///
    /// # Errors
    /// When its elements are no floats.
    pub fn of(tensor: &Tensor) -> Result<Self, TensorError> {
        Ok(Self { shape: tensor.shape().to_vec(), data: tensor.as_f32()?.to_vec() })
    }
}

/// What may stand in a stored record: before there was a `kind` the key alone told what it is, and hidden states had no name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Embeddings { embeddings: Vec<Vec<f32>> },
    Labels { labels: Vec<Vec<Label>> },
    Tensors { tensors: BTreeMap<String, TensorOutput> },
    Tensor { tensor: TensorOutput },
    Text { text: Option<String>, tokens: Vec<u32>, finish_reason: FinishReason },
}

impl From<Read> for Output {
    fn from(read: Read) -> Self {
        match read {
            Read::Embeddings { embeddings } => Output::Embeddings { embeddings },
            Read::Labels { labels } => Output::Labels { labels },
            Read::Tensors { tensors } => Output::Tensors { tensors },
            Read::Text { text, tokens, finish_reason } => Output::Text { text, tokens, finish_reason },
            Read::Tensor { tensor } => {
                Output::Tensors { tensors: BTreeMap::from([("last_hidden_state".to_owned(), tensor)]) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn outputs_are_told_apart_by_their_kind() {
        let tensor = TensorOutput { shape: vec![1, 2], data: vec![0.5, -1.0] };
        let tensors = Output::Tensors { tensors: BTreeMap::from([("last_hidden_state".to_owned(), tensor)]) };
        let embeddings = Output::Embeddings { embeddings: vec![vec![0.5, -1.0]] };
        let cat = Label { label: "cat".into(), probability: 0.75 };
        let labels = Output::Labels { labels: vec![vec![cat], vec![]] };
        let of_tensor = json!({"shape": [1, 2], "data": [0.5, -1.0]});
        let said =
            Output::Text { text: Some(" Paris".into()), tokens: vec![7042], finish_reason: FinishReason::MaxTokens };
        for (output, text) in [
            (&said, json!({"kind": "text", "text": " Paris", "tokens": [7042], "finish_reason": "max_tokens"})),
            (&labels, json!({"kind": "labels", "labels": [[{"label": "cat", "probability": 0.75}], []]})),
            (&embeddings, json!({"kind": "embeddings", "embeddings": [[0.5, -1.0]]})),
            (&tensors, json!({"kind": "tensors", "tensors": {"last_hidden_state": of_tensor}})),
        ] {
            assert_eq!(serde_json::to_value(output).unwrap(), text);
            assert_eq!(serde_json::from_value::<Output>(text).unwrap(), *output);
        }
        // Of records that were stored before.
        let stored = |text| serde_json::from_value::<Output>(text).unwrap();
        assert_eq!(stored(json!({"embeddings": [[0.5, -1.0]]})), embeddings);
        assert_eq!(stored(json!({ "tensor": of_tensor })), tensors);
    }
}
