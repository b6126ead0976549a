//! What a model is run on, as tensors by the graph's names.

use webnibble_common::graph::Bindings;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::result::TokensKept;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::exec::check_inputs;
use webnibble_models::text::TextError;

use super::LoadedModel;
use crate::error::{error, internal};

/// What a model is run on.
pub(crate) enum Input {
    /// Texts, made one batch.
    Texts {
        /// The texts.
        texts: Vec<String>,
        /// Cut texts over the model's limit instead of refusing them.
        truncate: bool,
        /// What is put before each text.
        prompt: PromptChoice,
    },
    /// Token ids, one row a text, special tokens included.
    Ids {
        /// The rows.
        rows: Vec<Vec<u32>>,
        /// Cut rows over the model's limit instead of refusing them.
        truncate: bool,
    },
    /// Tensors by the graph's input names.
    Tensors(Vec<(String, Tensor)>),
}

/// An input that fits the graph.
pub(super) struct Bound {
    /// Tensors by name.
    pub(super) tensors: Vec<(String, Tensor)>,
    /// Extents of the graph's symbols.
    pub(super) bindings: Bindings,
    /// Of each text, how many of its tokens run; empty for tensors.
    pub(super) tokens_kept: Vec<TokensKept>,
}

impl LoadedModel {
    /// Makes tensors of the input and checks them against the graph.
    pub(super) fn bind(&self, input: Input) -> Result<Bound, RemoteError> {
        let encoded = match input {
            Input::Tensors(tensors) => return self.check(tensors, Vec::new()),
            Input::Texts { texts, truncate, prompt } => self.encoder.encode_texts(&texts, &prompt, truncate),
            Input::Ids { rows, truncate } => self.encoder.encode_ids(&rows, truncate),
        };
        let encoded = encoded.map_err(|e| bad_text(&e))?;
        let tensors = encoded.inputs(&self.graph).map_err(|e| internal(e.to_string()))?;
        self.check(tensors, encoded.tokens_kept)
    }

    /// Shapes, ids and lengths; kernels look ids up unchecked.
    fn check(&self, tensors: Vec<(String, Tensor)>, tokens_kept: Vec<TokensKept>) -> Result<Bound, RemoteError> {
        let bindings =
            check_inputs(&self.graph, &tensors).map_err(|e| error(ErrorCode::BadInput, e.to_string(), ""))?;
        Ok(Bound { tensors, bindings, tokens_kept })
    }
}

fn bad_text(problem: &TextError) -> RemoteError {
    let hint = match problem {
        TextError::TooLong { .. } => "shorten it, or run with `truncate`",
        TextError::NoTokenizer => {
            "give token ids or tensors, or make the package again from a model with a tokenizer.json"
        }
        _ => "",
    };
    error(ErrorCode::BadInput, problem.to_string(), hint)
}
