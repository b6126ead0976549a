//! Text that a model goes on with: in pieces as it comes, and as a whole.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model chose an end token.
    EndToken,
    /// A text came that was to end it.
    StopString,
    /// As many tokens came as were asked for.
    MaxTokens,
    /// The model takes no more positions.
    ContextFull,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndToken => "end_token",
            Self::StopString => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::ContextFull => "context_full",
        })
    }
}

/// A piece of a text, as it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What is certain of the text by now and was not told before; may be empty.
    pub text: String,
    /// The tokens that were chosen since the last piece.
    pub tokens: Vec<u32>,
}

/// A whole text, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The text behind the prompt; `None` of a model without tokenizer.
    pub text: Option<String>,
    /// Its tokens, without those of the prompt and without the one that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt, special ones included.
    pub prompt_tokens: usize,
    /// From the prompt's tokens given to the first token chosen.
    pub prefill_ms: f64,
    /// Of each further token, the time since the one before it.
    pub token_ms: Vec<f64>,
}
