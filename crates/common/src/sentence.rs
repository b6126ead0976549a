//! How a sentence-transformers model makes one vector of a text.

use std::collections::BTreeMap;

use crate::graph::Pooling;
use crate::prompt::Prompts;

/// How a sentence-transformers model makes an embedding of its hidden states.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SentenceConfig {
    /// How tokens are pooled.
    pub pooling: Pooling,
    /// Whether the embedding is divided by its norm.
    pub normalize: bool,
    /// Longest text in tokens, special ones included, where the model says.
    pub max_seq_length: Option<usize>,
    /// What is put before texts.
    #[serde(default, skip_serializing_if = "Prompts::is_empty")]
    pub prompts: Prompts,
    /// Whether tokens of the prompt are pooled as those of the text are.
    #[serde(default = "included", skip_serializing_if = "is_true")]
    pub include_prompt: bool,
}

fn included() -> bool {
    true
}

fn is_true(flag: &bool) -> bool {
    *flag
}

impl SentenceConfig {
    /// A model without prompts.
    pub const fn new(pooling: Pooling, normalize: bool, max_seq_length: Option<usize>) -> Self {
        let prompts = Prompts { by_name: BTreeMap::new(), default_name: None };
        Self { pooling, normalize, max_seq_length, prompts, include_prompt: true }
    }

    /// Whether a text may have tokens that are attended to, but not pooled.
    pub fn leaves_prompts_out(&self) -> bool {
        !self.include_prompt && self.prompts.by_name.values().any(|prompt| !prompt.is_empty())
    }
}
