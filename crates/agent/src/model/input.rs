//! What a model is run on, as tensors by the graph's names.

use webnibble_common::graph::Bindings;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::exec::check_inputs;
use webnibble_models::text::{Encoded, TextError};

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
    },
    /// Token ids, one row a text, special tokens included.
    Ids(Vec<Vec<u32>>),
    /// Tensors by the graph's input names.
    Tensors(Vec<(String, Tensor)>),
}

/// An input that fits the graph.
pub(super) struct Bound {
    /// Tensors by name.
    pub(super) tensors: Vec<(String, Tensor)>,
    /// Extents of the graph's symbols.
    pub(super) bindings: Bindings,
    /// Tokens of each text; empty for tensors.
    pub(super) token_counts: Vec<usize>,
    /// Whether a text was cut.
    pub(super) truncated: bool,
}

impl LoadedModel {
    /// Makes tensors of the input and checks them against the graph.
    pub(super) fn bind(&self, input: Input) -> Result<Bound, RemoteError> {
        let encoded = match input {
            Input::Tensors(tensors) => return self.check(tensors, Vec::new(), false),
            Input::Texts { texts, truncate } => self.encode_texts(&texts, truncate)?,
            Input::Ids(rows) => Encoded::from_ids(&rows, self.limits, false).map_err(|e| bad_text(&e))?,
        };
        let tensors = encoded.inputs(&self.graph).map_err(|e| internal(e.to_string()))?;
        self.check(tensors, encoded.token_counts, !encoded.truncated.is_empty())
    }

    /// Shapes, ids and lengths; kernels look ids up unchecked.
    fn check(
        &self,
        tensors: Vec<(String, Tensor)>,
        token_counts: Vec<usize>,
        truncated: bool,
    ) -> Result<Bound, RemoteError> {
        let bindings =
            check_inputs(&self.graph, &tensors).map_err(|e| error(ErrorCode::BadInput, e.to_string(), ""))?;
        Ok(Bound { tensors, bindings, token_counts, truncated })
    }

    fn encode_texts(&self, texts: &[String], truncate: bool) -> Result<Encoded, RemoteError> {
        let Some(tokenizer) = &self.tokenizer else {
            let hint = "give token ids or tensors, or make the package again from a model with a tokenizer.json";
            return Err(error(ErrorCode::BadInput, "the package has no tokenizer, so it takes no texts", hint));
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        tokenizer.encode_batch(&texts, truncate).map_err(|e| bad_text(&e))
    }
}

fn bad_text(problem: &TextError) -> RemoteError {
    let hint = match problem {
        TextError::TooLong { .. } => "shorten the text, or ask for it to be truncated",
        _ => "",
    };
    error(ErrorCode::BadInput, problem.to_string(), hint)
}
