//! Inputs to the tensors that a program takes: one answer for the page and for the host.
//!
//! [`text`] makes batches of token ids of texts and of lists of ids, [`image`] makes pixel values of images, [`tensors`]
//! completes tensors by their names.

pub mod image;
pub mod tensors;
pub mod text;

use std::sync::Arc;

use webnibble_common::graph::Graph;
use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::package::SentenceConfig;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::tensor::TensorError;
use webnibble_common::tokens::TokensKept;

use image::{ImageError, ImageProcessor, pixel_values, takes_images};
use tensors::NamedInputError;
use text::{Encoded, Limits, TextError, TextTokenizer};

/// An input as a program takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInputs {
    /// By the names of the program's inputs, in their order.
    pub tensors: NamedTensors,
    /// Of each text, how many of its tokens run; empty for images and tensors.
    pub tokens_kept: Vec<TokensKept>,
}

/// Why an input does not fit a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A text or a list of ids.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something else than the model takes.
    #[error("the model takes {expected}, found {found}")]
    Kind {
        /// What it takes.
        expected: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// Tensors by names.
    #[error(transparent)]
    Named(#[from] NamedInputError),
    /// A batch whose elements do not fit its shape.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What a model makes of its inputs before it runs: tokenizer, limits, prompts, and the preprocessing of images.
#[derive(Clone)]
pub struct InputEncoder {
    limits: Limits,
    sentence: Option<SentenceConfig>,
    tokenizer: Option<Arc<TextTokenizer>>,
    processor: Option<ImageProcessor>,
}

impl InputEncoder {
    /// For token ids alone, of at most `max_len` a row, special ones included.
    pub fn new(graph: &Graph, max_len: usize, sentence: Option<SentenceConfig>) -> Self {
        let limits = Limits { max_len, vocab_size: vocab_size(graph), pad_id: 0 };
        Self { limits, sentence, tokenizer: None, processor: None }
    }

    /// The same for texts too, by the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read, or the limit has no room for a token of a text.
    pub fn with_tokenizer(self, tokenizer_json: &[u8]) -> Result<Self, TextError> {
        let Limits { max_len, vocab_size, .. } = self.limits;
        let tokenizer = TextTokenizer::from_bytes(tokenizer_json, max_len, vocab_size)?;
        Ok(Self { limits: tokenizer.limits(), tokenizer: Some(Arc::new(tokenizer)), ..self })
    }

    /// The same for images too.
    pub fn with_processor(self, processor: Option<ImageProcessor>) -> Self {
        Self { processor, ..self }
    }

    /// The longest row in tokens, special ones included.
    pub fn max_len(&self) -> usize {
        self.limits.max_len
    }

    /// The tokenizer, where there is one.
    pub fn tokenizer(&self) -> Option<Arc<TextTokenizer>> {
        self.tokenizer.clone()
    }

    /// Any input as the tensors that `graph` takes.
    ///
    /// # Errors
    /// When a text, a row of ids or an image does not fit the model, the model has no such prompt, or no input of a tensor's name.
    pub fn inputs(&self, graph: &Graph, input: &Input) -> Result<ModelInputs, InputError> {
        check_kind(graph, input)?;
        let encoded = match input {
            Input::Text { texts, truncate, prompt } => self.encode_texts(texts, prompt, *truncate)?,
            Input::Ids { ids, truncate } => Encoded::from_ids(ids, self.limits, *truncate)?,
            Input::Image { images } => {
                let tensors = pixel_values(graph, self.processor.as_ref(), images)?;
                return Ok(ModelInputs { tensors, tokens_kept: Vec::new() });
            }
            Input::Tensors { tensors } => {
                let tensors = tensors::complete(graph, tensors)?;
                return Ok(ModelInputs { tensors, tokens_kept: Vec::new() });
            }
        };
        Ok(ModelInputs { tensors: encoded.inputs(graph)?, tokens_kept: encoded.tokens_kept })
    }

    /// Texts, each after the prompt.
    fn encode_texts(&self, texts: &[String], prompt: &PromptChoice, truncate: bool) -> Result<Encoded, TextError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(TextError::NoTokenizer)?;
        let prompt =
            prompt.of(self.sentence.as_ref().map(|sentence| &sentence.prompts))?.map_or("", |prompt| prompt.text);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        tokenizer.encode_batch(&texts, prompt, truncate)
    }
}

/// Texts are for models of text, and images for those of images.
fn check_kind(graph: &Graph, input: &Input) -> Result<(), InputError> {
    let of_images = takes_images(graph);
    let (is_image, found) = match input {
        Input::Text { .. } => (false, "a text"),
        Input::Ids { .. } => (false, "token ids"),
        Input::Image { .. } => (true, "an image"),
        Input::Tensors { .. } => return Ok(()),
    };
    let expected = if of_images { "images" } else { "texts or token ids" };
    if is_image == of_images { Ok(()) } else { Err(InputError::Kind { expected, found }) }
}

/// Rows of the table that token ids are looked up in.
fn vocab_size(graph: &Graph) -> usize {
    let table = graph.nodes.iter().flat_map(|node| node.op.operator().row_numbers()).map(|(_, table)| table).next();
    table.map_or(usize::MAX, |table| graph.weight_of(table).shape[0])
}
