//! What a model is run on, as transformers.js takes it.

use js_sys::Uint32Array;
use webnibble_common::tensor::{DType, Tensor};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_models::text::{Encoded, Limits};

use super::{Model, from_js, numbers, strings};
use crate::error::error;
use crate::model::Input;

/// A padded batch.
pub(super) struct Batch {
    pub(super) rows: u32,
    pub(super) seq: u32,
    pub(super) ids: Uint32Array,
    pub(super) mask: Uint32Array,
    pub(super) types: Uint32Array,
    /// Tokens of each text; empty for tensors.
    pub(super) token_counts: Vec<usize>,
    /// Whether a text was cut.
    pub(super) truncated: bool,
}

impl Model {
    /// Tokenizes texts by transformers.js's own tokenizer; ids and tensors are taken as they are.
    pub(super) fn batch(&self, input: Input) -> Result<Batch, RemoteError> {
        match input {
            Input::Texts { texts, truncate } => {
                let encoded = self.js.encode(&strings(&texts), truncate).map_err(|e| from_js(&e))?;
                Ok(Batch {
                    rows: encoded.batch(),
                    seq: encoded.seq(),
                    ids: encoded.ids(),
                    mask: encoded.mask(),
                    types: encoded.types(),
                    token_counts: encoded.counts().to_vec().into_iter().map(|count| count as usize).collect(),
                    truncated: encoded.truncated(),
                })
            }
            Input::Ids(rows) => {
                // The engine itself checks lengths and ids.
                let any = Limits { max_len: usize::MAX, vocab_size: usize::MAX, pad_id: 0 };
                let encoded = Encoded::from_ids(&rows, any, false).map_err(|e| bad_input(e.to_string()))?;
                Ok(Batch {
                    rows: encoded.batch as u32,
                    seq: encoded.seq as u32,
                    ids: numbers(&encoded.input_ids),
                    mask: numbers(&encoded.attention_mask),
                    types: numbers(&encoded.token_type_ids),
                    token_counts: encoded.token_counts,
                    truncated: false,
                })
            }
            Input::Tensors(tensors) => of_tensors(&tensors),
        }
    }
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
        token_counts: Vec::new(),
        truncated: false,
    })
}

fn bad_input(message: String) -> RemoteError {
    error(ErrorCode::BadInput, message, "")
}
