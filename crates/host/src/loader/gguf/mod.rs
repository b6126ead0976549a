//! Models in GGUF: one file with weights, configuration and tokenizer.
//!
//! [`open`] makes of it what a folder in Hugging Face layout has: a `config.json`, the files of a tokenizer, and weights as a
//! [`WeightSource`](super::WeightSource), under the names of checkpoints. The rest of the host does not know the difference.
//! `file.rs` reads the header, `blocks.rs` the values of every type, `names.rs`, `config.rs` and `tokenizer.rs` say what a LLaMA's
//! are elsewhere, and `weights.rs` puts rows in the order that they have there.

mod blocks;
mod config;
pub(super) mod error;
mod file;
mod metadata;
mod names;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

pub use error::GgufError;
pub use weights::GgufWeights;

use super::error::LoadError;
use super::text_file::refuse_stand_in;

/// What a file has of a model.
#[derive(Debug)]
pub(super) struct Gguf {
    /// `general.name`, where the file has one.
    pub(super) name: Option<String>,
    /// As Hugging Face's `config.json`.
    pub(super) config: Value,
    /// Files of the tokenizer by their names in a folder; none where the file has no vocabulary.
    pub(super) tokenizer: BTreeMap<&'static str, Vec<u8>>,
    pub(super) weights: GgufWeights,
}

/// Whether a path is a GGUF file, by its name or its first bytes.
pub(super) fn is_gguf(path: &Path) -> bool {
    let named = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    let begins = || {
        let mut first = [0; 4];
        File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok_and(|()| first == file::MAGIC)
    };
    path.is_file() && (named || begins())
}

/// Opens a file: reads its header, and checks that it is of a model that is read.
///
/// # Errors
/// [`LoadError::Gguf`] says what is wrong with it.
pub(super) fn open(path: &Path) -> Result<Gguf, LoadError> {
    refuse_stand_in(path)?;
    let header = file::Header::read(path)?;
    let wrong = |error| LoadError::Gguf { path: path.to_owned(), error };
    let rope_factors = weights::rope_factors(path, &header)?;
    let config = config::config(&header, rope_factors.as_deref()).map_err(wrong)?;
    let tokenizer = tokenizer::files(&header.metadata).map_err(wrong)?;
    let name = header.metadata.text("general.name").map_err(wrong)?.map(str::to_owned);
    let weights = GgufWeights::of_llama(path, header).map_err(wrong)?;
    Ok(Gguf { name: name.filter(|name| !name.trim().is_empty()), config, tokenizer, weights })
}

/// The tensors of a file as they are in it, of whatever architecture: to be listed.
///
/// # Errors
/// Those of a header that cannot be read.
pub(super) fn tensors(path: &Path) -> Result<GgufWeights, LoadError> {
    refuse_stand_in(path)?;
    Ok(GgufWeights::as_they_are(path, file::Header::read(path)?))
}
