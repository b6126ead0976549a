//! Texts and token ids to batches, as a model takes them: one answer for the page and for the host.

use webnibble_common::graph::Graph;
use webnibble_common::package::SentenceConfig;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::wire::RunInput;

use crate::text::{Encoded, Limits, TextError, TextTokenizer};

/// What a model makes of its inputs before it runs: tokenizer, limits and prompts.
#[derive(Clone)]
pub struct InputEncoder {
    limits: Limits,
    sentence: Option<SentenceConfig>,
    tokenizer: Option<TextTokenizer>,
}

impl InputEncoder {
    /// For token ids alone, of at most `max_len` a row, special ones included.
    pub fn new(graph: &Graph, max_len: usize, sentence: Option<SentenceConfig>) -> Self {
        let limits = Limits { max_len, vocab_size: vocab_size(graph), pad_id: 0 };
        Self { limits, sentence, tokenizer: None }
    }

    /// The same for texts too, by the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read, or the limit has no room for a token of a text.
    pub fn with_tokenizer(self, tokenizer_json: &[u8]) -> Result<Self, TextError> {
        let Limits { max_len, vocab_size, .. } = self.limits;
        let tokenizer = TextTokenizer::from_bytes(tokenizer_json, max_len, vocab_size)?;
        Ok(Self { limits: tokenizer.limits(), tokenizer: Some(tokenizer), ..self })
    }

    /// Texts or ids as a padded batch; `None` for tensors.
    ///
    /// # Errors
    /// When a text or a row of ids does not fit the model, or the model has no such prompt.
    pub fn encode(&self, input: &RunInput) -> Result<Option<Encoded>, TextError> {
        match input {
            RunInput::Text { texts, truncate, prompt } => self.encode_texts(texts, prompt, *truncate).map(Some),
            RunInput::Ids { ids, truncate } => self.encode_ids(ids, *truncate).map(Some),
            RunInput::Tensors { .. } => Ok(None),
        }
    }

    /// Texts, each after the prompt.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode_batch`], for a prompt that the model does not have, and where there is no tokenizer.
    pub fn encode_texts(&self, texts: &[String], prompt: &PromptChoice, truncate: bool) -> Result<Encoded, TextError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(TextError::NoTokenizer)?;
        let prompt =
            prompt.of(self.sentence.as_ref().map(|sentence| &sentence.prompts))?.map_or("", |prompt| prompt.text);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        tokenizer.encode_batch(&texts, prompt, truncate)
    }

    /// Rows of token ids as they are.
    ///
    /// # Errors
    /// As [`Encoded::from_ids`].
    pub fn encode_ids(&self, rows: &[Vec<u32>], truncate: bool) -> Result<Encoded, TextError> {
        Encoded::from_ids(rows, self.limits, truncate)
    }
}

/// Rows of the table that token ids are looked up in.
fn vocab_size(graph: &Graph) -> usize {
    let table = graph.nodes.iter().flat_map(|node| node.op.operator().row_numbers()).map(|(_, table)| table).next();
    table.map_or(usize::MAX, |table| graph.weight_of(table).shape[0])
}
