//! The tokenizer of a folder: the one that all its files come to.

use std::path::Path;

use serde_json::Value;
use webnibble_models::sentence::SentenceTokenizer;
use webnibble_models::tokenizer_files::{EffectiveTokenizer, TokenizerFiles};

use super::LoadError;
use super::text_file::read_text_if_there;

/// Reads the tokenizer of the folder that has a model's transformer; `None` where it has none. `config` is the model's
/// `config.json`, `sentence` what its sentence files say of the tokenizer.
pub(super) fn read_tokenizer(
    folder: &Path,
    config: &Value,
    sentence: &SentenceTokenizer,
) -> Result<Option<EffectiveTokenizer>, LoadError> {
    let files = TokenizerFiles::read(|name| Ok(read_text_if_there(&folder.join(name))?.map(String::into_bytes)))?;
    files
        .effective(config, sentence)
        .map_err(|error| LoadError::Tokenizer { path: folder.to_owned(), error: Box::new(error) })
}
