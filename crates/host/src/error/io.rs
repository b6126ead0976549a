//! Inputs that do not fit a model, and outputs that it does not have.

use webnibble_common::prompt::UnknownPrompt;
use webnibble_common::wire::ErrorCode;
use webnibble_models::input::InputError;
use webnibble_models::input::image::ImageError;
use webnibble_models::input::tensors::NamedInputError;
use webnibble_models::input::text::TextError;
use webnibble_models::output::OutputError;

use super::failure::Failure;

/// Code of a prompt name that the model does not have.
pub(super) const UNKNOWN_PROMPT: &str = "unknown_prompt";

/// Code of an output's name that the model does not have.
pub(super) const UNKNOWN_OUTPUT: &str = "unknown_output";

/// Code of a model that has no answer, only outputs.
pub(super) const NO_ANSWER: &str = "no_answer";

impl Failure for OutputError {
    fn code(&self) -> String {
        match self {
            Self::NoAnswer { .. } => NO_ANSWER.into(),
            _ => UNKNOWN_OUTPUT.into(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::NoAnswer { .. } => "name one of them with --output",
            _ => "name one of them with --output, or leave it out for the model's answer",
        }
        .into()
    }
}

impl Failure for InputError {
    fn code(&self) -> String {
        match self {
            Self::Text(error) => error.code(),
            _ => ErrorCode::BadInput.name(),
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::Text(error) => error.hint(),
            Self::Image(ImageError::NoProcessor) => {
                "put the model's preprocessor_config.json into its folder, or give the tensor with --input".into()
            }
            Self::Image(ImageError::None) => "give it with --image".into(),
            Self::Image(_) => "give the tensor `pixel_values` with --input, as the model takes it".into(),
            Self::Kind { expected: "images", .. } => "give an image file with --image, or tensors with --input".into(),
            Self::Kind { .. } => "give texts with --text, ids with --ids, or tensors with --input".into(),
            Self::Named(NamedInputError::Missing { .. }) => "give it with --input, by its name".into(),
            _ => "name the model's inputs as Hugging Face does, each once".into(),
        }
    }
}

impl Failure for TextError {
    fn code(&self) -> String {
        match self {
            Self::Prompt(_) => UNKNOWN_PROMPT.into(),
            _ => ErrorCode::BadInput.name(),
        }
    }

    fn hint(&self) -> String {
        let hint = match self {
            Self::TooLong { .. } => "shorten it, or have it cut with --truncate",
            Self::Empty { .. } | Self::NoTexts => "give it a word: every text has an answer of its own",
            Self::NoTokenizer => "give token ids (--ids), or put the model's tokenizer.json into its folder",
            Self::Prompt(UnknownPrompt { known, .. }) if known.is_empty() => "leave --prompt-name out",
            Self::Prompt(_) => "name one of them, or leave prompts out with --no-prompt-name",
            Self::UnknownToken { .. } | Self::Id { .. } => {
                "`webnibble inspect` shows the embedding table: take the tokenizer that the model was trained with"
            }
            _ => "see that the tokenizer's files are those of the model",
        };
        hint.into()
    }
}
