//! What surrounds a program: inputs to tensors before it runs, outputs to an answer after. The page, an embedding page and the
//! host's reference have no other way.

use std::sync::Arc;

use serde_json::Value;
use webnibble_common::graph::Graph;
use webnibble_common::io::{Input, Label, Output};
use webnibble_common::package::SentenceConfig;
use webnibble_common::tensor::Tensor;

use crate::ModelConfig;
use crate::error::ModelError;
use crate::input::image::ImageProcessor;
use crate::input::text::{TextError, TextTokenizer};
use crate::input::{InputEncoder, InputError, ModelInputs};
use crate::output::{self, Answers, OutputError};

/// A program with what is made of its inputs and outputs.
#[derive(Clone)]
pub struct Pipeline {
    graph: Graph,
    encoder: InputEncoder,
    answers: Answers,
}

impl Pipeline {
    /// For a model that takes at most `max_len` tokens a row, special ones included, and no texts yet.
    pub fn new(graph: Graph, max_len: usize, sentence: Option<SentenceConfig>) -> Self {
        let answers = if sentence.is_some() { Answers::Embeddings } else { Answers::Outputs };
        Self { encoder: InputEncoder::new(&graph, max_len, sentence), graph, answers }
    }

    /// The same for texts too, by the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read, or the limit has no room for a token of a text.
    pub fn with_tokenizer(self, tokenizer_json: &[u8]) -> Result<Self, TextError> {
        Ok(Self { encoder: self.encoder.with_tokenizer(tokenizer_json)?, ..self })
    }

    /// The same with what the model's configuration says of images, and of the labels that it scores. A model that takes images
    /// and has no `preprocessor_config.json` takes their tensors alone.
    ///
    /// # Errors
    /// When that file asks for what is not done here.
    pub fn with_config(self, config: &ModelConfig, preprocessor: Option<&Value>) -> Result<Self, ModelError> {
        let processor = preprocessor.zip(config.image_size()).map(|(file, size)| ImageProcessor::from_json(file, size));
        let answers = config.labels().map_or(self.answers, |labels| Answers::Labels(labels.into()));
        Ok(Self { encoder: self.encoder.with_processor(processor.transpose()?), answers, ..self })
    }

    /// The program, with every output that it has.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The longest input in tokens, special ones included.
    pub fn max_len(&self) -> usize {
        self.encoder.max_len()
    }

    /// The tokenizer, where there is one.
    pub fn tokenizer(&self) -> Option<Arc<TextTokenizer>> {
        self.encoder.tokenizer()
    }

    /// Any input as the tensors that the program takes. Their types, shapes and elements are checked by who runs it.
    ///
    /// # Errors
    /// When a text, a row of ids or an image does not fit the model, the model has no such prompt, or no input of a tensor's name.
    pub fn inputs(&self, input: &Input) -> Result<ModelInputs, InputError> {
        self.encoder.inputs(&self.graph, input)
    }

    /// Names of the outputs that are read: those that were `asked` for, or the one that the answer is made of.
    ///
    /// # Errors
    /// For a name that the model does not have, and where no answer is made of its outputs.
    pub fn wanted(&self, asked: &[String]) -> Result<Vec<String>, OutputError> {
        output::wanted(&self.graph, asked)
    }

    /// The answer that the outputs which were `asked` for make; `None` where there is none.
    pub fn answer(&self, outputs: &[(String, Tensor)], asked: &[String]) -> Option<Output> {
        output::answer(outputs, asked, &self.answers)
    }

    /// The likeliest labels that are the answer, a list an item, where it is such an answer.
    pub fn labels(&self, outputs: &[(String, Tensor)], asked: &[String]) -> Option<Vec<Vec<Label>>> {
        output::labels(outputs, asked, &self.answers)
    }

    /// The embeddings that are the answer, one an item, where it is such an answer.
    pub fn embeddings<'a>(
        &self,
        outputs: &'a [(String, Tensor)],
        asked: &[String],
    ) -> Option<impl Iterator<Item = &'a [f32]> + use<'a>> {
        output::embeddings(outputs, asked, &self.answers)
    }
}
