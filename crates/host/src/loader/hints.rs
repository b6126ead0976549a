//! What to do about models that cannot be loaded.

use std::path::{Path, PathBuf};

use webnibble_models::ModelError;
use webnibble_models::sentence::SentenceError;

use super::error::LoadError;
use super::hub_env::hub_dir;
use crate::disk::cache_dir;
use crate::error::{Failure, hints};

impl Failure for LoadError {
    fn code(&self) -> String {
        "model".into()
    }

    fn hint(&self) -> String {
        if let Some(hint) = self.file().and_then(hint_to_move) {
            return hint;
        }
        let hint = match self {
            Self::NotFound { .. } => {
                "check the path; a model's name is given without `./` and is looked for on the hub"
            }
            Self::UnknownName { .. } => {
                "docs/models.md has the names; a folder or package is given by its path: ./model"
            }
            Self::Hub { .. } => "check the network, and HF_ENDPOINT where it is set",
            Self::Io { error, .. } => hints::io(error),
            Self::NotAModel { .. } => {
                "give a folder with config.json, *.safetensors and tokenizer.json, a GGUF file, or a package that `webnibble quantize` wrote"
            }
            Self::Model { error: ModelError::Head { .. }, .. } => {
                "take a model for sentence embeddings or masked words; docs/models.md says which families and heads there are"
            }
            Self::Model { error: ModelError::Count { .. } | ModelError::MissingTensor { .. }, .. } => {
                "`webnibble inspect` lists the tensors that are there; config.json must be of the same model"
            }
            Self::Model { .. } => "docs/models.md says which families there are, and what their config.json has",
            Self::Gguf { error, .. } => error.hint(),
            Self::SeveralGguf { .. } => "give one of them by its path: FOLDER/FILE.gguf",
            Self::StandIn { what, .. } => what.hint(),
            Self::Offline { .. } => {
                "run once without it to fetch the model, or give a folder or package that is here by its path: ./model"
            }
            Self::Sentence { error: SentenceError::Malformed { .. } | SentenceError::Path { .. }, .. } => {
                "modules.json and what it names must be those of the model: fetch its folder again"
            }
            Self::Sentence { .. } => {
                "docs/models.md says which modules and poolings there are; take a model that has only these"
            }
            Self::Tokenizer { .. } => {
                "the tokenizer's files must be those of the model: fetch them again; docs/models.md says how they are read"
            }
            Self::MissingTensor { .. } | Self::Shape { .. } | Self::DType { .. } => {
                "`webnibble inspect` lists the tensors that are there; config.json must be of the same model"
            }
            _ => "the file is damaged or not whole: fetch or write it again",
        };
        hint.into()
    }
}

/// The variable that names another place for what webnibble keeps by itself, where a file that cannot be read or written is of
/// one of these places: a home may be read-only.
pub(crate) fn hint_to_move(file: &Path) -> Option<String> {
    moved_by(file, &[(cache_dir(), "XDG_CACHE_HOME"), (hub_dir(), "HF_HOME")])
}

fn moved_by(file: &Path, places: &[(PathBuf, &str)]) -> Option<String> {
    let (place, variable) = places.iter().find(|(place, _)| file.starts_with(place))?;
    Some(format!("set {variable} to a folder that this user may write: without it {} is taken", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_what_moves_it() {
        let places =
            [("/h/.cache/webnibble".into(), "XDG_CACHE_HOME"), ("/h/.cache/huggingface/hub".into(), "HF_HOME")];
        let told = |file: &str| moved_by(Path::new(file), &places);
        assert!(told("/h/.cache/webnibble/packages/a.safetensors").unwrap().contains("set XDG_CACHE_HOME"));
        assert!(told("/h/.cache/huggingface/hub").unwrap().contains("set HF_HOME"));
        assert_eq!(told("/h/mine.safetensors"), None);
        assert!(hint_to_move(&cache_dir().join("packages")).is_some() && hint_to_move(&hub_dir()).is_some());
    }
}
