//! Texts that do not fit a model.

use webnibble_common::prompt::UnknownPrompt;
use webnibble_common::wire::ErrorCode;
use webnibble_models::text::TextError;

use super::failure::Failure;

/// Code of a prompt name that the model does not have.
pub(super) const UNKNOWN_PROMPT: &str = "unknown_prompt";

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
