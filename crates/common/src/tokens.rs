//! How much of a text ran.

use serde::{Deserialize, Serialize};

/// How much of a text ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensKept {
    /// Tokens that ran, special ones included.
    pub kept: usize,
    /// Tokens that the text has, special ones included.
    pub of: usize,
}

impl TokensKept {
    /// Whether the text was cut.
    pub fn is_cut(self) -> bool {
        self.kept < self.of
    }
}
