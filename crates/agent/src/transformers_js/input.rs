//! What a model is run on, as transformers.js takes it.

use js_sys::Uint32Array;
use webnibble_common::io::Input;
use webnibble_common::package::SentenceConfig;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::record::TokensKept;
use webnibble_common::tensor::{DType, Tensor};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_models::input::text::{Encoded, Limits};

use super::sys::{JsEncoded, JsModel, from_js, numbers, strings};
use crate::error::error;

/// A padded batch.
pub(super) struct Batch {
    pub(super) rows: u32,
    pub(super) seq: u32,
    pub(super) ids: Uint32Array,
    pub(super) mask: Uint32Array,
    pub(super) types: Uint32Array,
    /// Of each text, how many of its tokens run; empty for tensors.
    pub(super) tokens_kept: Vec<TokensKept>,
}

/// What a model takes.
pub(super) struct Takes<'a> {
    pub(super) tokenizer: &'a JsModel,
    /// Prompts, where the model makes sentence embeddings.
    pub(super) sentence: Option<&'a SentenceConfig>,
    /// Longest input in tokens.
    pub(super) max_length: usize,
}

impl Takes<'_> {
    /// Tokenizes texts by transformers.js's own tokenizer; ids and tensors are taken as they are.
    pub(super) fn batch(&self, input: Input) -> Result<Batch, RemoteError> {
        match input {
            Input::Text { texts, truncate, prompt } => {
                let texts = self.after_prompt(texts, &prompt)?;
                let encoded = self.tokenizer.encode(&strings(&texts), truncate).map_err(|e| from_js(&e))?;
                Ok(Batch {
                    rows: encoded.batch(),
                    seq: encoded.seq(),
                    ids: encoded.ids(),
                    mask: encoded.mask(),
                    types: encoded.types(),
                    tokens_kept: tokens_kept(&encoded),
                })
            }
            Input::Ids { ids, truncate } => {
                // The engine itself checks ids, and lengths where nothing is to be cut.
                let max_len = if truncate { self.max_length } else { usize::MAX };
                let limits = Limits { max_len, vocab_size: usize::MAX, pad_id: 0 };
                let encoded = Encoded::from_ids(&ids, limits, truncate).map_err(|e| bad_input(e.to_string()))?;
                Ok(Batch {
                    rows: encoded.batch as u32,
                    seq: encoded.seq as u32,
                    ids: numbers(&encoded.input_ids),
                    mask: numbers(&encoded.attention_mask),
                    types: numbers(&encoded.token_type_ids),
                    tokens_kept: encoded.tokens_kept,
                })
            }
            Input::Image { .. } => {
                let message = "images for transformers.js are not there yet".to_owned();
                Err(error(ErrorCode::Unsupported, message, "take the native engine"))
            }
            Input::Tensors { tensors } => of_tensors(&tensors),
        }
    }

    /// Texts with the prompt before each.
    fn after_prompt(&self, texts: Vec<String>, prompt: &PromptChoice) -> Result<Vec<String>, RemoteError> {
        let prompts = self.sentence.map(|sentence| &sentence.prompts);
        let prompt = prompt.of(prompts).map_err(|e| bad_input(e.to_string()))?;
        let Some(prompt) = prompt.filter(|prompt| !prompt.text.is_empty()) else { return Ok(texts) };
        if self.sentence.is_some_and(SentenceConfig::leaves_prompts_out) {
            let message =
                format!("prompt `{}` is not to be pooled, and transformers.js pools every token", prompt.name);
            return Err(error(ErrorCode::Unsupported, message, "take the native engine, or leave the prompt out"));
        }
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(bad_input(format!("text {index} is empty: expected at least one token")));
        }
        Ok(texts.into_iter().map(|text| format!("{}{text}", prompt.text)).collect())
    }
}

fn tokens_kept(encoded: &JsEncoded) -> Vec<TokensKept> {
    let pairs = encoded.counts().to_vec().into_iter().zip(encoded.totals().to_vec());
    pairs.map(|(kept, of)| TokensKept { kept: kept as usize, of: of as usize }).collect()
}

fn of_tensors(tensors: &[(String, Tensor)]) -> Result<Batch, RemoteError> {
    let find = |name: &str| tensors.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    let names = || tensors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let ids = find("input_ids").ok_or_else(|| bad_input(format!("expected input_ids, found {}", names())))?;
    let [rows, seq] = ids.shape()[..] else {
        return Err(bad_input(format!("input_ids should be [batch, seq], found {:?}", ids.shape())));
    };
    let values = |name: &str, otherwise: u32| match find(name) {
        None => Ok(vec![otherwise; rows * seq]),
        Some(tensor) if tensor.shape() != ids.shape() || tensor.dtype() != DType::U32 => {
            let expected = format!("{} {:?}", DType::U32, ids.shape());
            Err(bad_input(format!("{name} should be {expected}, found {} {:?}", tensor.dtype(), tensor.shape())))
        }
        Some(tensor) => Ok(tensor.as_u32().map_err(|e| bad_input(e.to_string()))?.to_vec()),
    };
    Ok(Batch {
        rows: rows as u32,
        seq: seq as u32,
        ids: numbers(&values("input_ids", 0)?),
        mask: numbers(&values("attention_mask", 1)?),
        types: numbers(&values("token_type_ids", 0)?),
        tokens_kept: Vec::new(),
    })
}

fn bad_input(message: String) -> RemoteError {
    error(ErrorCode::BadInput, message, "")
}
