//! The package: one `.safetensors` file with all that a page needs to run a model alone.
//!
//! ```text
//! ┌───────────────┬──────────────────────────────────┬───────────┬───────────┬───
//! │ length u64 LE │ header JSON, padded with spaces  │ plane     │ plane     │ …
//! └───────────────┴──────────────────────────────────┴───────────┴───────────┴───
//!                                                    ^ data_start: a multiple of 16, as every plane's begin
//!
//! plane         dtype      shape
//! name          U8         [rows, row_bytes]       codes of a matrix at 8, 4 or 2 bits
//!               F16, F32   [rows, cols_padded]     a matrix of floats
//!               F32        [len padded to 4]       a vector
//! name.scale    F16        [count padded to 8]
//! name.zero     U8         [count padded to 16]    only if asymmetric
//! extra         U8         [len padded to 16]      files such as `tokenizer.json`
//! ```
//!
//! All paddings are zeros, save for padding columns of codes ([`Layout`](crate::quant::Layout)).
//! `__metadata__` has three strings of JSON: `webnibble` ([`PackageMeta`]), `sha256` (plane name to hex digest of its
//! bytes, padding included) and `extras` (name to true length in bytes). The digest of the package is that of its
//! header, which has all others in it.
//!
//! [`write()`] makes packages, [`Header::parse`] reads the header of one from the first bytes of a stream, and
//! [`read_weights`] the rest from memory.

use std::collections::BTreeMap;

mod error;
mod parse;
mod planes;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use crate::safetensors::MAX_HEADER_BYTES;
pub use error::PackageError;
pub use parse::Parsed;
pub use read::read_weights;
pub use write::{WriteError, write};

use crate::graph::Role;
use crate::quant::{Format, LinearActivations};
pub use crate::sentence::SentenceConfig;

/// Name of the plane that holds `tokenizer.json`.
pub const TOKENIZER: &str = "tokenizer.json";

/// Version of the metadata's layout.
pub const FORMAT_VERSION: u32 = 1;

/// What the metadata says of the model.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PackageMeta {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Name of the model, for people.
    pub name: String,
    /// Family, as `webnibble-models` names it: `bert`.
    pub family: String,
    /// Number of weights before quantization.
    pub parameters: u64,
    /// The Hugging Face `config.json`.
    pub config: serde_json::Value,
    /// The Hugging Face `generation_config.json`, where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_config: Option<serde_json::Value>,
    /// The Hugging Face `preprocessor_config.json`, where the model takes images and has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessor_config: Option<serde_json::Value>,
    /// Pooling of sentence embeddings, where the model has it.
    pub sentence: Option<SentenceConfig>,
    /// The tokenizer's limit in tokens, special ones included; `None` where it has none, or `sentence` has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_max_length: Option<usize>,
    /// Every tensor of the graph, by its name in the graph.
    pub tensors: BTreeMap<String, TensorMeta>,
    /// The options that the quantizer was given, for the record.
    pub quantization: QuantizationMeta,
    /// Ranges of activations, where the model was calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<Activations>,
}

/// Static ranges of activations, for backends that compute linear operators in int8.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Activations {
    /// What they were measured on: the name of a file, or of the built-in sample.
    pub source: String,
    /// Texts of the sample.
    pub samples: usize,
    /// Linear operators that may be computed in int8, by the name of their weight; those left out stay in floats.
    pub linears: BTreeMap<String, LinearActivations>,
}

impl PackageMeta {
    /// The longest input in tokens, special ones included, of a model that has so many positions.
    pub fn max_tokens(&self, positions: usize) -> usize {
        max_tokens(positions, self.sentence.as_ref(), self.model_max_length)
    }
}

/// The longest input in tokens, special ones included: the least of what the positions, the sentence model and its tokenizer
/// allow.
pub fn max_tokens(positions: usize, sentence: Option<&SentenceConfig>, model_max_length: Option<usize>) -> usize {
    let limits = [sentence.and_then(|sentence| sentence.max_seq_length), model_max_length];
    limits.into_iter().flatten().fold(positions, usize::min)
}

/// One tensor of the graph.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TensorMeta {
    /// `[rows, cols]`, or `[len]` of a vector.
    pub shape: Vec<usize>,
    /// What it is used for.
    pub role: Role,
    /// How it is stored. A vector is [`Format::F32`], whatever its role.
    pub format: Format,
}

/// The choices that made the package.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QuantizationMeta {
    /// Bits of the linear weights.
    pub bits: u8,
    /// `symmetric` or `asymmetric`.
    pub scheme: crate::quant::Scheme,
    /// Weights a scale.
    pub granularity: crate::quant::Granularity,
    /// Whether attention projections have their own bits.
    pub mixed_precision: bool,
    /// Bits of attention projections.
    pub attention_bits: u8,
    /// Bits of embedding tables.
    pub embedding_bits: u8,
}

/// Which plane of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Codes or floats: the tensor's own name.
    Packed,
    /// `name.scale`.
    Scale,
    /// `name.zero`.
    Zero,
    /// Not a tensor of the graph: the tokenizer.
    Extra,
}

/// A byte range of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// The graph's tensor, or the extra's name.
    pub tensor: String,
    /// Which plane of it.
    pub part: Part,
    /// First byte, counted from the start of the file.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
    /// SHA-256 of the bytes, in hex.
    pub sha256: String,
}

/// A package's header: all that is known before the data comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The metadata.
    pub meta: PackageMeta,
    /// Every plane, in file order, gapless.
    pub planes: Vec<Plane>,
    /// True lengths of the extras, in bytes; their planes are padded to 16.
    pub extras: BTreeMap<String, u64>,
    /// Where the data begins: bytes of the header's length and of the header.
    pub data_start: u64,
    /// Bytes of the whole file.
    pub total_bytes: u64,
    /// The package's digest: SHA-256 of all bytes before `data_start`, in hex.
    pub digest: String,
}
