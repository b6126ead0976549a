//! What a model is run on, as tensors by the graph's names.

use webnibble_common::graph::Bindings;
use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::program::ENCODE;
use webnibble_common::record::TokensKept;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::exec::check_inputs;
use webnibble_models::input::text::TextError;
use webnibble_models::input::{InputError, ModelInputs};
use webnibble_models::output::OutputError;

use super::LoadedModel;
use crate::error::error;

/// An input that fits the graph.
pub(super) struct Bound {
    /// Tensors by name.
    pub(super) tensors: NamedTensors,
    /// Extents of the graph's symbols.
    pub(super) bindings: Bindings,
    /// Of each text, how many of its tokens run; empty for tensors.
    pub(super) tokens_kept: Vec<TokensKept>,
}

/// What to do about tensors that do not fit.
const TENSORS: &str = "give every input the type and the shape that the model takes, with ids that it knows";

impl LoadedModel {
    /// Makes tensors of the input and checks them against the graph: shapes, ids and lengths; kernels look ids up unchecked.
    pub(super) fn bind(&self, input: &Input) -> Result<Bound, RemoteError> {
        let ModelInputs { tensors, tokens_kept } = self.pipeline.inputs(input).map_err(|e| bad_input(&e))?;
        let bindings = check_inputs(self.pipeline.graph(), &tensors)
            .map_err(|e| error(ErrorCode::BadInput, e.to_string(), TENSORS))?;
        Ok(Bound { tensors, bindings, tokens_kept })
    }

    /// Has the model make its first output, until a run says what it reads.
    pub(super) fn want_first(&mut self) -> Result<(), RemoteError> {
        let first: Vec<String> = self.pipeline.graph().output_names().take(1).map(str::to_owned).collect();
        self.backend.want(ENCODE, &first)
    }

    /// Has later runs give the outputs that were `asked` for, or what the answer is made of.
    pub(super) fn want(&mut self, asked: &[String]) -> Result<(), RemoteError> {
        let wanted = self.pipeline.wanted(asked).map_err(|e| bad_output(&e))?;
        self.backend.want(ENCODE, &wanted)
    }
}

fn bad_input(problem: &InputError) -> RemoteError {
    let hint = match problem {
        InputError::Text(TextError::TooLong { .. }) => "shorten it, or run with `truncate`",
        InputError::Text(TextError::NoTokenizer) => {
            "give token ids or tensors, or make the package again from a model with a tokenizer.json"
        }
        InputError::Kind { .. } | InputError::Image(_) => {
            "give a model of images pixels, or the tensor `pixel_values`, and one of texts texts, ids or tensors"
        }
        InputError::Named(_) => "name the model's inputs as Hugging Face does, each once",
        _ => "give at least one text or row of ids, with tokens that the model knows",
    };
    error(ErrorCode::BadInput, problem.to_string(), hint)
}

fn bad_output(problem: &OutputError) -> RemoteError {
    let hint = match problem {
        OutputError::NoAnswer { .. } => "name one of them",
        _ => "name one of them; a package that was made by an older version lacks outputs: make it again",
    };
    error(ErrorCode::BadInput, problem.to_string(), hint)
}
