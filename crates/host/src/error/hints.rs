//! What to do about failures of files, models, options and data.

use std::io;
use std::path::{Path, PathBuf};

use webnibble_common::profiles::OptionsError;
use webnibble_common::prompt::UnknownPrompt;
use webnibble_models::ModelError;
use webnibble_models::sentence::SentenceError;
use webnibble_models::text::TextError;

use crate::calibrate::DataError as CalibrationError;
use crate::eval::DataError;
use crate::loader::{LoadError, cache_dir, hub_dir};
use crate::onnx::OnnxError;
use crate::quantizer::QuantizeError;
use crate::reference::ReferenceError;

/// What to do about a file that the system keeps back.
pub(super) fn io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path: it is taken from the folder in which webnibble runs",
        io::ErrorKind::PermissionDenied => "see that this user may read and write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there, or choose another folder",
        io::ErrorKind::IsADirectory => "give a file, not a folder",
        _ => "see that the disk has space and that this user may read and write there",
    }
}

/// The variable that names another place for what webnibble keeps by itself, where a file that cannot be read or written is of
/// one of these places: a home may be read-only.
pub(super) fn elsewhere(file: &Path) -> Option<String> {
    moved_by(file, &[(cache_dir(), "XDG_CACHE_HOME"), (hub_dir(), "HF_HOME")])
}

fn moved_by(file: &Path, places: &[(PathBuf, &str)]) -> Option<String> {
    let (place, variable) = places.iter().find(|(place, _)| file.starts_with(place))?;
    Some(format!("set {variable} to a folder that this user may write: without it {} is taken", place.display()))
}

/// What to do about what the caller named, and is not there.
pub(super) fn not_there(option: &str) -> &'static str {
    match option {
        "--webdriver" => {
            "give the address of a WebDriver server or Selenium Grid that runs; without it one is started here"
        }
        "--driver" => {
            "give the path of the driver, or its name on PATH; without it webnibble looks for one, and `webnibble drivers \
             install` installs what is missing (Debian: `apt-get install chromium-driver`)"
        }
        _ => {
            "give the path of the browser, or its name on PATH; without it webnibble looks for one, and `webnibble doctor` lists \
             what it finds (Debian: `apt-get install chromium`)"
        }
    }
}

pub(super) fn options(error: &OptionsError) -> &'static str {
    match error {
        OptionsError::Conflict { .. } => "leave one of them out; docs/profiles.md says what each does",
        OptionsError::NotOffered { .. } => "leave the option out",
        OptionsError::NotKept { .. } => "ask for another value, or leave `--no-fallback` out",
        _ => "docs/profiles.md has every option with what it may be",
    }
}

pub(super) fn load(error: &LoadError) -> &'static str {
    match error {
        LoadError::NotFound { .. } => {
            "check the path; a model's name is given without `./` and is looked for on the hub"
        }
        LoadError::UnknownName { .. } => {
            "docs/models.md has the names; a folder or package is given by its path: ./model"
        }
        LoadError::Hub { .. } => "check the network, and HF_ENDPOINT where it is set",
        LoadError::Io { error, .. } => io(error),
        LoadError::NotAModel { .. } => {
            "give a folder with config.json, *.safetensors and tokenizer.json, or a package that `webnibble quantize` wrote"
        }
        LoadError::Model { error: ModelError::Head { .. }, .. } => {
            "take a model for sentence embeddings or masked words; docs/models.md says which families and heads there are"
        }
        LoadError::Model { error: ModelError::Count { .. } | ModelError::MissingTensor { .. }, .. } => {
            "`webnibble inspect` lists the tensors that are there; config.json must be of the same model"
        }
        LoadError::Model { .. } => "docs/models.md says which families there are, and what their config.json has",
        LoadError::StandIn { what, .. } => what.hint(),
        LoadError::Offline { .. } => {
            "run once without it to fetch the model, or give a folder or package that is here by its path: ./model"
        }
        LoadError::Sentence { error: SentenceError::Malformed { .. } | SentenceError::Path { .. }, .. } => {
            "modules.json and what it names must be those of the model: fetch its folder again"
        }
        LoadError::Sentence { .. } => {
            "docs/models.md says which modules and poolings there are; take a model that has only these"
        }
        LoadError::Tokenizer { .. } => {
            "the tokenizer's files must be those of the model: fetch them again; docs/models.md says how they are read"
        }
        LoadError::MissingTensor { .. } | LoadError::Shape { .. } | LoadError::DType { .. } => {
            "`webnibble inspect` lists the tensors that are there; config.json must be of the same model"
        }
        _ => "the file is damaged or not whole: fetch or write it again",
    }
}

pub(super) fn quantize(error: &QuantizeError) -> &'static str {
    match error {
        QuantizeError::Load(error) => load(error),
        QuantizeError::Quant { .. } => {
            "`webnibble inspect` lists the tensors; a checkpoint whose weights are not finite has to be fetched again"
        }
        QuantizeError::Calibrate(error) => reference(error),
        QuantizeError::Data(error) => calibration(error),
        QuantizeError::Write { .. } => "see that its folder is there and may be written, and that the disk has space",
        QuantizeError::Source(_) => "give random:ROWSxCOLUMNS, or FILE.safetensors:NAME",
    }
}

fn calibration(error: &CalibrationError) -> &'static str {
    match error {
        CalibrationError::Read { source, .. } => io(source),
        _ => "give a file of texts, one a line; without --calibrate a built-in sample is taken",
    }
}

pub(super) fn onnx(error: &OnnxError) -> &'static str {
    match error {
        OnnxError::TooLarge { .. } => "export with fewer bits",
        OnnxError::Weight { .. } => {
            "the package is not of this version's graph: write it again with `webnibble quantize`"
        }
        OnnxError::Incomplete { .. } => "`webnibble export --onnx` writes a whole folder",
    }
}

pub(super) fn reference(error: &ReferenceError) -> &'static str {
    match error {
        ReferenceError::Load(error) => load(error),
        ReferenceError::Text(error) => text(error),
        _ => "`webnibble inspect` shows what the model is; --ids and --input must fit it",
    }
}

/// What to do about a text that does not fit.
pub(super) fn text(error: &TextError) -> &'static str {
    match error {
        TextError::TooLong { .. } => "shorten it, or have it cut with --truncate",
        TextError::Empty { .. } | TextError::NoTexts => "give it a word: every text has an answer of its own",
        TextError::NoTokenizer => "give token ids (--ids), or put the model's tokenizer.json into its folder",
        TextError::Prompt(UnknownPrompt { known, .. }) if known.is_empty() => "leave --prompt-name out",
        TextError::Prompt(_) => "name one of them, or leave prompts out with --no-prompt-name",
        TextError::UnknownToken { .. } | TextError::Id { .. } => {
            "`webnibble inspect` shows the embedding table: take the tokenizer that the model was trained with"
        }
        _ => "see that the tokenizer's files are those of the model",
    }
}

pub(super) fn data(error: &DataError) -> &'static str {
    match error {
        DataError::Read { source, .. } => io(source),
        DataError::TooFew { .. } => "give a file with two rows or more",
        DataError::Row { .. } => {
            "rows are separated by tabs: score, sentence, sentence; or as the STS benchmark has them, with the score in \
             column 5 and the sentences in 6 and 7"
        }
    }
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
        assert!(elsewhere(&cache_dir().join("packages")).is_some() && elsewhere(&hub_dir()).is_some());
    }
}
