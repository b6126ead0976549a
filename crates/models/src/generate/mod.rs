//! Text that a model goes on with, as far as no model is needed for it: which token comes next by its scores, what of the text
//! is certain, and when it ends.
//!
//! Whoever has the model runs the prompt, and then each token that was chosen: by [`Generation::choose`], or where the scores
//! are, as [`Generation::sampling`] says. [`Generation::push`] says what each comes to, and whether the text has ended.

mod config;
mod error;
mod noise;
mod sampler;
mod text;

use std::sync::Arc;

use webnibble_common::generate::{FinishReason, Part};
use webnibble_common::options::GenerationOptions;
use webnibble_common::tensor::Tensor;

use crate::input::tensors::INPUT_IDS;
use crate::input::text::TextTokenizer;
use crate::pipeline::Pipeline;
pub use config::GenerationConfig;
pub use error::GenerateError;
use sampler::Sampler;
pub use sampler::{Sampling, likeliest};
use text::TextStream;

/// Most tokens where nobody says how many.
const DEFAULT_MAX_TOKENS: u32 = 256;

/// A text that is being generated.
pub struct Generation {
    tokenizer: Option<Arc<TextTokenizer>>,
    sampler: Sampler,
    stream: TextStream,
    /// Tokens that end it; none where they are to be ignored.
    end_tokens: Vec<u32>,
    max_tokens: usize,
    /// Tokens that there is room for: the last one need not be run.
    room: usize,
    tokens: Vec<u32>,
    text: String,
}

/// One token more, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is new since the last step.
    pub part: Part,
    /// Why the text has ended, where it has.
    pub finished: Option<FinishReason>,
}

impl Generation {
    /// Goes on from a prompt, as `options` say, and where they do not, as the model's own `config`.
    ///
    /// # Errors
    /// For options that make no sense, a prompt without tokens, and one that leaves no room for another.
    pub fn new(
        config: &GenerationConfig,
        options: &GenerationOptions,
        prompt: &[u32],
        pipeline: &Pipeline,
    ) -> Result<Self, GenerateError> {
        let (capacity, tokenizer) = (pipeline.max_len(), pipeline.tokenizer());
        let sampling = Sampling::of(config, options)?;
        let max_tokens = options.max_tokens.or(config.defaults.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS) as usize;
        let stop = options.stop.clone().unwrap_or_default();
        check_stop(&stop, tokenizer.is_some())?;
        if max_tokens == 0 {
            return Err(GenerateError::Option { name: "max_tokens", expected: "at least 1", found: "0".into() });
        }
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt.len() >= capacity {
            return Err(GenerateError::Full { capacity, tokens: prompt.len() });
        }
        let ignores_end = options.ignore_eos == Some(true);
        Ok(Self {
            tokenizer,
            sampler: Sampler::new(sampling, prompt),
            stream: TextStream::new(stop),
            end_tokens: if ignores_end { Vec::new() } else { config.end_tokens.clone() },
            max_tokens,
            room: capacity - prompt.len() + 1,
            tokens: Vec::new(),
            text: String::new(),
        })
    }

    /// How tokens are chosen, for who has their scores elsewhere.
    pub fn sampling(&self) -> &Sampling {
        self.sampler.sampling()
    }

    /// Tokens that there may be yet, if nothing ends the text before.
    pub fn left(&self) -> usize {
        self.max_tokens.min(self.room) - self.tokens.len()
    }

    /// The next token by the scores `[vocab]` of what may come; it is to be pushed.
    ///
    /// # Errors
    /// For no scores, and for one that is no finite number.
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32, GenerateError> {
        self.sampler.choose(logits)
    }

    /// Goes on with the token that was chosen, and says what follows from it.
    pub fn push(&mut self, token: u32) -> Step {
        if self.end_tokens.contains(&token) {
            return self.end(Part::default(), FinishReason::EndToken);
        }
        self.tokens.push(token);
        let (text, stopped) = match &self.tokenizer {
            Some(tokenizer) => self.stream.push(token, |ids| tokenizer.decode(ids)),
            None => (String::new(), false),
        };
        let part = Part { text, tokens: vec![token] };
        let count = self.tokens.len();
        if stopped {
            self.text.push_str(&part.text);
            Step { part, finished: Some(FinishReason::StopString) }
        } else if count >= self.max_tokens {
            self.end(part, FinishReason::MaxTokens)
        } else if count >= self.room {
            self.end(part, FinishReason::ContextFull)
        } else {
            self.text.push_str(&part.text);
            Step { part, finished: None }
        }
    }

    /// The last step: what was held back of the text belongs to it now.
    fn end(&mut self, mut part: Part, reason: FinishReason) -> Step {
        let (mut finished, tokenizer) = (reason, self.tokenizer.clone());
        if let Some(tokenizer) = tokenizer {
            let (rest, stopped) = self.stream.finish(|ids| tokenizer.decode(ids));
            part.text.push_str(&rest);
            if stopped {
                finished = FinishReason::StopString;
            }
        }
        self.text.push_str(&part.text);
        Step { part, finished: Some(finished) }
    }

    /// The text behind the prompt (`None` of a model without tokenizer) and its tokens.
    pub fn into_text(self) -> (Option<String>, Vec<u32>) {
        (self.tokenizer.map(|_| self.text), self.tokens)
    }
}

/// The ids of a prompt as a model takes it.
///
/// # Errors
/// For more than one row.
pub fn prompt_ids(inputs: &[(String, Tensor)]) -> Result<&[u32], GenerateError> {
    let ids = inputs.iter().find(|(name, _)| name == INPUT_IDS).map(|(_, ids)| ids);
    match ids.map(|ids| (ids.shape(), ids.as_u32())) {
        Some((&[1, _], Ok(ids))) => Ok(ids),
        found => Err(GenerateError::Rows { found: found.map_or(0, |(shape, _)| shape[0]) }),
    }
}

fn check_stop(stop: &[String], has_text: bool) -> Result<(), GenerateError> {
    if stop.iter().any(String::is_empty) {
        return Err(GenerateError::Option { name: "stop", expected: "texts that are not empty", found: "\"\"".into() });
    }
    if !stop.is_empty() && !has_text {
        return Err(GenerateError::NoTokenizer);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
