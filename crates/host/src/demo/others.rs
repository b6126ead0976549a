//! Models of other kinds in the browser of the demonstration: an image is classified, and a text is gone on with.

use std::path::PathBuf;

use serde::Serialize;
use webnibble_common::io::{Input, Label, Output};
use webnibble_common::options::{GenerationOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::HostError;
use crate::host::Host;
use crate::image_file;
use crate::run::{RunProgressSink, RunRequest, run_on};
use crate::task::blocking;

/// Bit widths that are shown.
const BITS: [Bits; 2] = [Bits::B8, Bits::B4];

/// What a text begins with.
pub const PROMPT: &str = "The capital of France is";

/// Tokens that are shown of it.
const TOKENS: u32 = 12;

/// A model and what it is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    /// What an image shows.
    Image {
        /// A model that classifies images.
        model: String,
        /// The file.
        image: PathBuf,
    },
    /// What comes behind [`PROMPT`].
    Text {
        /// A model that generates text.
        model: String,
    },
}

/// An answer at one bit width.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Name of the model.
    pub model: String,
    /// The image's file, or the prompt.
    pub asked: String,
    /// Bits of the linear weights.
    pub bits: Bits,
    /// What really ran, as the page's backend says.
    pub implementation_type: ImplementationType,
    /// The likeliest label with its probability, or the text.
    pub answer: String,
    /// The first inference, or the time to the first token of a text.
    pub first_ms: Option<f64>,
    /// Tokens a second behind the first, of a text.
    pub tokens_per_sec: Option<f64>,
}

/// Asks at every width, in the browser that is there.
pub(super) async fn ask(
    host: &Host,
    asked: &Asked,
    platform: Platform,
    progress: Option<&RunProgressSink>,
) -> Result<Vec<Answered>, HostError> {
    let (model, input, shown) = match asked {
        Asked::Text { model } => (model, Input::texts(vec![PROMPT.to_owned()]), PROMPT.to_owned()),
        Asked::Image { model, image } => {
            let file = image.clone();
            let images = blocking(move || Ok(vec![image_file::read(&file)?])).await?;
            (model, Input::Image { images }, image.display().to_string())
        }
    };
    let mut answers = Vec::new();
    for bits in BITS {
        let request = RunRequest {
            model: model.clone(),
            options: options(bits, platform),
            input: input.clone(),
            outputs: Vec::new(),
            generate: matches!(asked, Asked::Text { .. }),
            compare_f32: false,
            verbose: false,
            revision: String::new(),
            progress: progress.cloned(),
        };
        answers.push(answered(&run_on(host, request).await, bits, &shown)?);
    }
    Ok(answers)
}

fn options(bits: Bits, platform: Platform) -> Options {
    let settings = Settings { bits: Some(bits), ..Settings::default() };
    let generation = GenerationOptions { max_tokens: Some(TOKENS), ..GenerationOptions::default() };
    Options { platform: Some(platform), settings, generation, ..Options::default() }
}

fn answered(record: &RunRecord, bits: Bits, asked: &str) -> Result<Answered, HostError> {
    let failed = |message: String, hint: &str| HostError::from(RemoteError::new(ErrorCode::Internal, message, hint));
    if let Some(error) = &record.error {
        return Err(failed(format!("no answer to {asked}: {}", error.message), &error.hint));
    }
    let other = "give --image-model a model that classifies images, and --text-model one that generates text";
    let answer = match &record.output {
        Some(Output::Labels { labels }) => labels.first().and_then(|labels| labels.first()).map(shown),
        Some(Output::Text { text, .. }) => text.clone(),
        _ => None,
    };
    let metrics = &record.performance_metrics;
    Ok(Answered {
        model: record.model.as_ref().map_or_else(String::new, |model| model.name.clone()),
        asked: asked.to_owned(),
        bits,
        implementation_type: record.implementation_type.ok_or_else(|| failed("nothing ran".to_owned(), ""))?,
        answer: answer.ok_or_else(|| failed(format!("neither label nor text for {asked}"), other))?,
        first_ms: metrics.time_to_first_token_ms.or(metrics.first_inference_time_ms),
        tokens_per_sec: metrics.tokens_per_sec.and_then(|speed| speed.decode),
    })
}

fn shown(label: &Label) -> String {
    format!("{} ({:.1} %)", label.label, 100.0 * label.probability)
}
