//! Why no text can be generated.

/// Why no text can be generated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// An option makes no sense.
    #[error("`{name}` should be {expected}, found {found}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The model scores no next token.
    #[error("the model does not go on from a text: it scores no next token")]
    NotGenerating,
    /// More than one prompt, or none.
    #[error("expected one text or one row of ids to go on from, found {found}")]
    Rows {
        /// How many.
        found: usize,
    },
    /// There is nothing to go on from.
    #[error("the prompt should have at least one token, found none")]
    EmptyPrompt,
    /// The prompt leaves no room.
    #[error("the prompt should have less than the {capacity} tokens that the model takes, found {tokens}")]
    Full {
        /// Positions of the model.
        capacity: usize,
        /// Tokens of the prompt.
        tokens: usize,
    },
    /// Stop strings where there is no text.
    #[error("texts that end it are for a model with a tokenizer, which this one has not")]
    NoTokenizer,
    /// Other scores than the model's vocabulary has.
    #[error("expected scores of the next token, each a finite number, found {found}")]
    Scores {
        /// What was found.
        found: String,
    },
}
