//! What a model is run on.

use serde::{Deserialize, Serialize};

use super::{NamedTensors, TensorInfo};
use crate::prompt::PromptChoice;
use crate::tensor::Tensor;

/// What a model is run on.
///
/// `T` is a tensor by its name: in memory with its elements, in a message a [`TensorInfo`], whose bytes follow in binary
/// frames. Whatever else has bytes (an image, sound) holds them as a `T` too, so that messages stay what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Input<T = (String, Tensor)> {
    /// Texts, tokenized where the model runs: one batch, padded to the longest.
    Text {
        /// The texts.
        texts: Vec<String>,
        /// Cut texts over the model's limit instead of refusing them.
        #[serde(default)]
        truncate: bool,
        /// What is put before each text.
        #[serde(default, skip_serializing_if = "PromptChoice::is_default")]
        prompt: PromptChoice,
    },
    /// Token ids, one list a text.
    Ids {
        /// The ids, special tokens included.
        ids: Vec<Vec<u32>>,
        /// Cut lists over the model's limit instead of refusing them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncate: bool,
    },
    /// Images, decoded: one batch, resized and normalized where the model runs.
    Image {
        /// The pixels, u32 `[height, width]` with red, green, blue and alpha in the bytes of each from the lowest on, by names
        /// for messages.
        images: Vec<T>,
    },
    /// Tensors by the names of the model's inputs (`input_ids`, `attention_mask`, …).
    Tensors {
        /// The tensors; in a message `part` of the frames counts through them in this order.
        tensors: Vec<T>,
    },
}

impl<T> Input<T> {
    /// Texts after the model's default prompt, none of them cut.
    pub fn texts(texts: Vec<String>) -> Self {
        Input::Text { texts, truncate: false, prompt: PromptChoice::Default }
    }

    /// Token ids, no list cut.
    pub fn ids(ids: Vec<Vec<u32>>) -> Self {
        Input::Ids { ids, truncate: false }
    }

    /// The value of `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Input::Text { .. } => "text",
            Input::Ids { .. } => "ids",
            Input::Image { .. } => "image",
            Input::Tensors { .. } => "tensors",
        }
    }
}

impl Input {
    /// Apart, for a message: what it says, and the tensors whose bytes follow it.
    pub fn into_message(self) -> (Input<TensorInfo>, Vec<Tensor>) {
        match self {
            Input::Text { texts, truncate, prompt } => (Input::Text { texts, truncate, prompt }, Vec::new()),
            Input::Ids { ids, truncate } => (Input::Ids { ids, truncate }, Vec::new()),
            Input::Image { images } => {
                let (images, values) = apart(images);
                (Input::Image { images }, values)
            }
            Input::Tensors { tensors } => {
                let (tensors, values) = apart(tensors);
                (Input::Tensors { tensors }, values)
            }
        }
    }
}

fn apart(tensors: NamedTensors) -> (Vec<TensorInfo>, Vec<Tensor>) {
    let infos = tensors.iter().map(|(name, tensor)| TensorInfo::of(name, tensor)).collect();
    (infos, tensors.into_iter().map(|(_, tensor)| tensor).collect())
}

fn together(infos: Vec<TensorInfo>, values: Vec<Tensor>) -> NamedTensors {
    infos.into_iter().map(|info| info.name).zip(values).collect()
}

impl Input<TensorInfo> {
    /// The tensors whose bytes follow the message.
    pub fn awaited(&self) -> &[TensorInfo] {
        match self {
            Input::Tensors { tensors } | Input::Image { images: tensors } => tensors,
            Input::Text { .. } | Input::Ids { .. } => &[],
        }
    }

    /// Whole again, with the tensors that followed the message, in the order of [`Input::awaited`].
    pub fn with_tensors(self, values: Vec<Tensor>) -> Input {
        match self {
            Input::Text { texts, truncate, prompt } => Input::Text { texts, truncate, prompt },
            Input::Ids { ids, truncate } => Input::Ids { ids, truncate },
            Input::Image { images } => Input::Image { images: together(images, values) },
            Input::Tensors { tensors } => Input::Tensors { tensors: together(tensors, values) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_the_same_after_its_message() {
        let tensors = vec![
            ("input_ids".to_owned(), Tensor::u32([1, 2], vec![1, 2]).unwrap()),
            ("x".to_owned(), Tensor::f32([1], vec![0.5]).unwrap()),
        ];
        let prompt = PromptChoice::Named("query".into());
        let pixels = Tensor::u32([2, 1], vec![0xff00_0001, 0xff00_0002]).unwrap();
        for input in [
            Input::Tensors { tensors },
            Input::Image { images: vec![("a.png".to_owned(), pixels)] },
            Input::ids(vec![vec![1], vec![2, 3]]),
            Input::Text { texts: vec!["a".into()], truncate: true, prompt },
        ] {
            let (message, values) = input.clone().into_message();
            assert_eq!((message.awaited().len(), message.kind()), (values.len(), input.kind()));
            let text = serde_json::to_value(&message).unwrap();
            assert_eq!(text["kind"], input.kind());
            let read: Input<TensorInfo> = serde_json::from_value(text).unwrap();
            assert_eq!(read.with_tensors(values), input);
        }
    }
}
