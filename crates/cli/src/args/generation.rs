//! How a model goes on from a prompt.

use clap::Args;
use webnibble_common::options::GenerationOptions;

/// What help calls these options.
const GENERATION: &str = "Text (what is not given is as the model's own configuration says)";

/// How a model goes on from a prompt.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = GENERATION)]
pub(crate) struct GenerationArgs {
    /// Most tokens to make; with --ids, has the model go on from them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// Divides the scores before a token is drawn: above 1 more variety, 0 always takes the likeliest
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Draw from that many of the likeliest tokens (0: from all)
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,
    /// Draw from the likeliest tokens up to that probability in all
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Draw from tokens at least that likely, relative to the likeliest
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1, makes tokens that were there before less likely
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// Of the random numbers: the same seed draws the same tokens
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A text that ends it, and is no part of the answer; may be given again for further ones
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on behind the model's end tokens
    #[arg(long)]
    ignore_eos: bool,
}

impl GenerationArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> GenerationOptions {
        GenerationOptions {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            stop: (!self.stop.is_empty()).then(|| self.stop.clone()),
            ignore_eos: self.ignore_eos.then_some(true),
        }
    }

    /// Whether something was typed.
    pub(crate) fn is_given(&self) -> bool {
        self.options() != GenerationOptions::default()
    }
}
