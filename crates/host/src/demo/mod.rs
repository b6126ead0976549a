//! The demonstration: one sentence-embedding model at several bit widths, asked which of a few sentences is nearest; behind it models
//! of other kinds, where they are named.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use webnibble_common::capabilities::Adapter;
use webnibble_common::io::Input;
use webnibble_common::options::{LaunchOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::record::{BrowserInfo, ImplementationType, Times};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError, RunOptions};

use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;
use crate::prepare::{self, Package};
use crate::reference::{Reference, cosine};
use crate::run::{RunProgress, RunProgressSink, family, load_options, load_package, resolve};
use crate::session::ProgressSink;
use crate::task::blocking;

mod others;

pub use others::{Answered, Asked, PROMPT};

/// Bit widths that are shown.
pub const BITS: [Bits; 4] = [Bits::B16, Bits::B8, Bits::B4, Bits::B2];

/// What is asked.
pub const QUERY: &str = "How do I get rid of a stain on my shirt?";

/// What the answer is chosen from.
pub const SENTENCES: [&str; 8] = [
    "The train to the coast leaves every hour.",
    "Soak the cloth in cold water, then rub in some soap.",
    "She planted tomatoes and beans behind the house.",
    "The bank lowered its interest rates last week.",
    "My brother plays the violin in an orchestra.",
    "The shop around the corner sells shirts and trousers.",
    "A new telescope found water on a distant planet.",
    "Bake the bread for forty minutes until it is brown.",
];

const LOAD_LIMIT: Duration = Duration::from_secs(300);
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// What to show.
#[derive(Clone)]
pub struct DemoRequest {
    /// A sentence-embedding model.
    pub model: String,
    /// Where to run it.
    pub platform: Platform,
    /// Which browser, and how it is started.
    pub launch: LaunchOptions,
    /// Measured runs.
    pub runs: u32,
    /// What models of other kinds are asked behind it.
    pub others: Vec<Asked>,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Hears how far it is.
    pub progress: Option<RunProgressSink>,
}

/// What was shown.
#[derive(Clone, Debug, Serialize)]
pub struct Demo {
    /// Name of the model.
    pub model: String,
    /// The browser.
    pub browser: BrowserInfo,
    /// The WebGPU adapter that the browser has.
    pub adapter: Option<Adapter>,
    /// What was asked.
    pub query: &'static str,
    /// What the answer was chosen from.
    pub sentences: Vec<&'static str>,
    /// The nearest sentence by the model in f32 on this machine's processor.
    pub reference_answer: Option<&'static str>,
    /// One row a bit width.
    pub rows: Vec<DemoRow>,
    /// What models of other kinds answered.
    pub others: Vec<Answered>,
}

/// One bit width.
#[derive(Clone, Debug, Serialize)]
pub struct DemoRow {
    /// Bits of the linear weights.
    pub bits: Bits,
    /// Bits of attention projections.
    pub attention_bits: Bits,
    /// What really ran, as the page's backend says.
    pub implementation_type: ImplementationType,
    /// Whether a GPU ran it; `None` where it was no GPU's business.
    pub hardware: Option<bool>,
    /// Bytes of the package.
    pub package_bytes: u64,
    /// Bytes of the weights in the backend's memory.
    pub weights_bytes: u64,
    /// Time of loading.
    pub load_ms: f64,
    /// The first inference of the query, with what it has to prepare.
    pub first_ms: f64,
    /// Later inferences of the query.
    pub times_ms: Option<Times>,
    /// Mean cosine of the query's and the sentences' embeddings to those of the model in f32.
    pub cosine: Option<f64>,
    /// The nearest sentence.
    pub answer: &'static str,
    /// Its cosine to the query.
    pub answer_cosine: f64,
}

/// Shows a model at 16, 8, 4 and 2 bits.
///
/// # Errors
/// With the first step that fails: a demonstration of less would not be one.
pub async fn demo(request: DemoRequest) -> Result<Demo, HostError> {
    let model = load_model(&request).await?;
    let mut packages = Vec::new();
    for bits in BITS {
        packages.push((bits, package(&model, bits, &request).await?));
    }
    tell(&request, "running in f32 here");
    let reference = reference_embeddings(&model).await?;

    tell(&request, "starting the browser");
    let mut builder = Host::builder().launch(request.launch.clone()).verbose(request.verbose);
    if let Some(progress) = request.progress.clone() {
        let sink: ProgressSink = Arc::new(move |at| {
            progress(RunProgress::Page { stage: at.stage, done: at.done, total: at.total });
        });
        builder = builder.progress(sink);
    }
    let host = builder.start().await?;
    let mut rows = Vec::new();
    for (bits, package) in &packages {
        let row = show(&host, &request, &model, *bits, package, reference.as_deref()).await;
        rows.push(row?);
    }
    let mut others = Vec::new();
    for asked in &request.others {
        others.extend(others::ask(&host, asked, platform_of(&host, &request), request.progress.as_ref()).await?);
    }
    let demo = Demo {
        model: model.name().to_owned(),
        browser: host.info().clone(),
        adapter: host.capabilities().webgpu.adapter.clone(),
        query: QUERY,
        sentences: SENTENCES.to_vec(),
        reference_answer: reference.as_deref().map(|embeddings| nearest(embeddings).0),
        rows,
        others,
    };
    host.shutdown().await;
    Ok(demo)
}

/// Where models of other kinds run: a software adapter takes seconds for a token, and the CPU executor does not.
fn platform_of(host: &Host, request: &DemoRequest) -> Platform {
    match &host.capabilities().webgpu.adapter {
        Some(adapter) if adapter.hardware => request.platform,
        _ => Platform::Wasm,
    }
}

async fn load_model(request: &DemoRequest) -> Result<Arc<Model>, HostError> {
    let request = request.clone();
    blocking(move || {
        let mut progress = |at: crate::loader::Progress<'_>| tell_at(&request, at);
        Ok(Arc::new(Model::load(&request.model, &mut progress)?))
    })
    .await
}

async fn package(model: &Arc<Model>, bits: Bits, request: &DemoRequest) -> Result<Package, HostError> {
    let (model, request) = (Arc::clone(model), request.clone());
    blocking(move || {
        let chosen = Settings { bits: Some(bits), ..Settings::default() };
        let options = options(&request, prepare::settings_for(&model, &chosen, request.platform)?);
        let resolved = resolve(&options, request.platform, family(&model))?;
        prepare::package(&model, &resolved.settings, request.platform, &mut |at| tell_at(&request, at))
    })
    .await
}

fn options(request: &DemoRequest, settings: Settings) -> Options {
    Options { platform: Some(request.platform), launch: request.launch.clone(), settings, ..Options::default() }
}

fn tell(request: &DemoRequest, what: &str) {
    tell_at(request, crate::loader::Progress { what, done: 0, total: 0 });
}

fn tell_at(request: &DemoRequest, at: crate::loader::Progress<'_>) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what: at.what, done: at.done, total: at.total });
    }
}

/// The query and the sentences, in this order.
fn texts() -> Vec<String> {
    [QUERY].iter().chain(&SENTENCES).map(|&text| text.to_owned()).collect()
}

/// Embeddings of [`texts`] by the model in f32; `None` where its weights are not at hand.
async fn reference_embeddings(model: &Arc<Model>) -> Result<Option<Vec<Vec<f32>>>, HostError> {
    let model = Arc::clone(model);
    blocking(move || {
        let Some(reference) = Reference::of(&model)? else { return Ok(None) };
        embeddings_of(&reference.outputs(&Input::texts(texts()))?).map(Some)
    })
    .await
}

async fn show(
    host: &Host,
    request: &DemoRequest,
    model: &Model,
    bits: Bits,
    package: &Package,
    reference: Option<&[Vec<f32>]>,
) -> Result<DemoRow, HostError> {
    let chosen = Settings { bits: Some(bits), ..Settings::default() };
    let resolved = resolve(&options(request, chosen), request.platform, family(model))?;
    let name = format!("{} {bits} bits", package.header.meta.name);
    let options = load_options(request.platform, &resolved);
    let loaded = load_package(host, &name, package, options, LOAD_LIMIT).await?;

    let query = Input::texts(vec![QUERY.to_owned()]);
    let measured = RunOptions { runs: request.runs, ..RunOptions::default() };
    let (timed, _) = host.run(&name, query, measured, RUN_LIMIT).await?;
    let all = Input::texts(texts());
    let (_, outputs) = host.run(&name, all, RunOptions::default(), RUN_LIMIT).await?;
    let embeddings = embeddings_of(&outputs)?;
    host.unload(&name, RUN_LIMIT).await?;

    let (answer, answer_cosine) = nearest(&embeddings);
    Ok(DemoRow {
        bits,
        attention_bits: resolved.settings.attention_bits.value,
        implementation_type: timed.implementation_type,
        hardware: loaded.adapter.as_ref().map(|adapter| adapter.hardware),
        package_bytes: loaded.package_bytes,
        weights_bytes: loaded.weights_bytes,
        load_ms: loaded.total_ms,
        first_ms: timed.first_ms,
        times_ms: Times::of(&timed.run_ms),
        cosine: reference.map(|reference| mean_cosine(&embeddings, reference)),
        answer,
        answer_cosine,
    })
}

/// The first output as one vector a text.
fn embeddings_of(outputs: &[(String, Tensor)]) -> Result<Vec<Vec<f32>>, HostError> {
    let expected = texts().len();
    let wrong = |found: String| {
        let message = format!("expected {expected} embeddings, found {found}");
        RemoteError::new(ErrorCode::BadPackage, message, "the demonstration needs a sentence-embedding model")
    };
    let (_, tensor) = outputs.first().ok_or_else(|| wrong("no output".into()))?;
    let data = tensor.as_f32().map_err(|error| wrong(error.to_string()))?;
    match tensor.shape() {
        [batch, width] if *batch == expected && *width > 0 => Ok(data.chunks(*width).map(<[f32]>::to_vec).collect()),
        shape => Err(wrong(format!("shape {shape:?}")).into()),
    }
}

/// The sentence nearest to the query, by cosine; embeddings in the order of [`texts`].
fn nearest(embeddings: &[Vec<f32>]) -> (&'static str, f64) {
    let scores =
        SENTENCES.iter().zip(&embeddings[1..]).map(|(text, embedding)| (*text, cosine(&embeddings[0], embedding)));
    scores.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are sentences")
}

fn mean_cosine(embeddings: &[Vec<f32>], reference: &[Vec<f32>]) -> f64 {
    let sum: f64 = embeddings.iter().zip(reference).map(|(a, b)| cosine(a, b)).sum();
    sum / reference.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_sentence_wins() {
        let mut embeddings = vec![vec![0.0, 1.0]; SENTENCES.len() + 1];
        embeddings[0] = vec![1.0, 0.0];
        embeddings[4] = vec![1.0, 0.1];
        let (answer, score) = nearest(&embeddings);
        assert_eq!(answer, SENTENCES[3]);
        assert!(score > 0.99);
        assert_eq!(mean_cosine(&embeddings, &embeddings), 1.0);
    }

    #[test]
    fn what_is_no_embedding_is_an_error() {
        let hidden = vec![("hidden".to_owned(), Tensor::f32([9, 2, 1], vec![0.0; 18]).unwrap())];
        let error = embeddings_of(&hidden).unwrap_err();
        assert_eq!(error.to_string(), "expected 9 embeddings, found shape [9, 2, 1]");
        assert!(embeddings_of(&[]).is_err());
    }
}
