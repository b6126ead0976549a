//! Accuracy: how well a quantized model agrees with people, and with itself in f32.
//!
//! The data are pairs of sentences with scores. The cosine of a pair's embeddings is compared with its score by rank
//! (Spearman) and value (Pearson); the embeddings with those of the model in f32. Weights decide most of it, so by default
//! the packages run on this machine's processor; with a platform they run in one browser, one after another.
//! A model that generates is evaluated on a text (`text.rs`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use webnibble_common::capabilities::Adapter;
use webnibble_common::options::Platform;
use webnibble_common::quant::Bits;
use webnibble_common::record::{BrowserInfo, Fallback, ImplementationType, QuantizationError};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::RunOptions;
use webnibble_models::input::text::TextError;

use crate::error::HostError;
use crate::host::Host;
use crate::loader::{Model, PackageFile};
use crate::reference::{Reference, quantization_error};
use crate::run::{load_options, load_package};
use crate::task::blocking;

mod data;
mod prepared;
mod stats;
#[cfg(test)]
mod tests;
mod text;
mod texts;

pub use data::{DataError, Pair, read_pairs};
pub use prepared::{BITS, EvalRequest, PackageFormat};
pub use stats::{pearson, spearman};
pub use text::{TextEval, TextRow, TextScores};

use prepared::{PreparedRow, prepare_row, progress_name, row_bits, tell, tell_at};
use texts::Texts;

const LOAD_LIMIT: Duration = Duration::from_secs(300);
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Eval {
    /// Name of the model.
    pub model: String,
    /// The file.
    pub data: PathBuf,
    /// Pairs of sentences.
    pub pairs: usize,
    /// Name of the prompt that was put before each sentence.
    pub prompt_name: Option<String>,
    /// Where the embeddings were computed.
    pub computed_in: Place,
    /// The browser, where one computed.
    pub browser: Option<BrowserInfo>,
    /// Its WebGPU adapter, for platform webgpu.
    pub adapter: Option<Adapter>,
    /// The model in f32 on this machine's processor; `None` for a package, which has no such weights.
    pub f32: Option<Agreement>,
    /// One row a bit width.
    pub rows: Vec<EvalRow>,
}

/// Where embeddings were computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On this machine's processor, by the native CPU executor.
    Host,
    /// In a browser.
    Browser,
}

/// Agreement with people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Rank correlation; `None` where nothing varies.
    pub spearman: Option<f64>,
    /// Linear correlation.
    pub pearson: Option<f64>,
}

/// One bit width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalRow {
    /// How the weights are stored.
    #[serde(flatten)]
    pub format: PackageFormat,
    /// Bits of activations, as they were computed.
    pub activation_bits: Bits,
    /// Linear operators in int8, with activations of 8 bits.
    pub int8_linears: Option<usize>,
    /// What ran in the browser, as the page's backend says.
    pub implementation_type: Option<ImplementationType>,
    /// Agreement with people.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Against the model in f32, text by text; `None` where its weights are not at hand.
    pub against_f32: Option<QuantizationError>,
    /// Options that were not kept, with their reasons.
    pub fallbacks: Vec<Fallback>,
}

/// What was found, by what the model is for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Evaluation {
    /// Of a model that embeds sentences.
    Pairs(Box<Eval>),
    /// Of a model that generates text.
    Text(TextEval),
}

/// Evaluates a model at several bit widths: one that generates on a text, others on pairs of sentences.
///
/// # Errors
/// With the first step that fails: a table with holes would be misread.
pub async fn eval(request: EvalRequest) -> Result<Evaluation, HostError> {
    tell(&request, "looking for the model", 0, 0);
    let model = load_model(&request).await?;
    let is_onnx = matches!(*model, Model::Onnx(_));
    if is_onnx || !model.config().generates() || model.sentence().is_some() {
        return eval_pairs(request, model).await.map(|eval| Evaluation::Pairs(Box::new(eval)));
    }
    if request.options.platform.is_some() {
        let what = "evaluating text in a browser".to_owned();
        return Err(HostError::NotYet { what, instead: "leave out --platform: this machine computes".to_owned() });
    }
    text::eval_text(&request, &model).await.map(Evaluation::Text)
}

async fn eval_pairs(request: EvalRequest, model: Arc<Model>) -> Result<Eval, HostError> {
    let pairs = read_pairs(&request.data, request.limit)?;
    let texts = Arc::new(Texts::of(&pairs, request.prompt.clone()));
    let prompt = request.prompt.of(model.sentence().map(|sentence| &sentence.prompts)).map_err(TextError::from)?;
    let mut prepared = Vec::new();
    for bits in row_bits(&request, &model) {
        prepared.push(prepare_row(&request, &model, bits).await?);
    }
    let reference = reference(&request, &model, &texts).await?;
    let judge = Judge { pairs: &pairs, texts: &texts, reference: reference.as_deref() };
    let mut eval = Eval {
        model: model.name().to_owned(),
        data: request.data.clone(),
        pairs: pairs.len(),
        prompt_name: prompt.map(|prompt| prompt.name.to_owned()),
        computed_in: if request.options.platform.is_some() { Place::Browser } else { Place::Host },
        browser: None,
        adapter: None,
        f32: reference.as_deref().map(|found| judge.agreement(found)),
        rows: Vec::new(),
    };
    match request.options.platform {
        None => {
            for row in prepared {
                let embeddings = embed_here(&request, &row, &texts).await?;
                eval.rows.push(judge.row(&row, &embeddings));
            }
        }
        Some(platform) => in_browser(&mut eval, &request, platform, prepared, judge).await?,
    }
    Ok(eval)
}

async fn load_model(request: &EvalRequest) -> Result<Arc<Model>, HostError> {
    let request = request.clone();
    blocking(move || Ok(Arc::new(Model::load(&request.model, &mut |at| tell_at(&request, at))?))).await
}

/// Embeddings of the texts by the model in f32; `None` where its weights are not at hand.
async fn reference(
    request: &EvalRequest,
    model: &Arc<Model>,
    texts: &Arc<Texts>,
) -> Result<Option<Vec<Vec<f32>>>, HostError> {
    let (request, model, texts) = (request.clone(), Arc::clone(model), Arc::clone(texts));
    blocking(move || {
        let Some(reference) = Reference::of(&model)? else { return Ok(None) };
        embed(&request, &reference, &texts, "evaluating in f32").map(Some)
    })
    .await
}

/// Embeddings by a package on this machine's processor.
async fn embed_here(request: &EvalRequest, row: &PreparedRow, texts: &Arc<Texts>) -> Result<Vec<Vec<f32>>, HostError> {
    let (request, texts, package) = (request.clone(), Arc::clone(texts), row.package.clone());
    let activation_bits = row.resolved.settings.activation_bits.value;
    blocking(move || {
        let model = package.read(|file| Ok(Reference::with_activation_bits(file, activation_bits)?))?;
        embed(&request, &model, &texts, &progress_name(&package))
    })
    .await
}

fn embed(request: &EvalRequest, model: &Reference, texts: &Texts, what: &str) -> Result<Vec<Vec<f32>>, HostError> {
    texts.embed(|batch, done| {
        tell(request, what, done as u64, texts.len() as u64);
        Ok(model.outputs(&batch)?)
    })
}

/// Every row in one browser.
async fn in_browser(
    eval: &mut Eval,
    request: &EvalRequest,
    platform: Platform,
    rows: Vec<PreparedRow>,
    judge: Judge<'_>,
) -> Result<(), HostError> {
    tell(request, "starting the browser", 0, 0);
    // The page's own progress is not shown: a batch takes no time, and what counts is how many of them are done.
    let host = Host::builder().launch(request.options.launch.clone()).verbose(request.verbose).start().await?;
    eval.browser = Some(host.info().clone());
    eval.adapter = (platform == Platform::Webgpu).then(|| host.capabilities().webgpu.adapter.clone()).flatten();
    let outcome = async {
        for mut row in rows {
            let embeddings = embed_there(&host, request, platform, &mut row, judge.texts).await?;
            eval.rows.push(judge.row(&row, &embeddings));
        }
        Ok(())
    };
    let outcome = outcome.await;
    host.shutdown().await;
    outcome
}

/// Embeddings by a package in the browser.
async fn embed_there(
    host: &Host,
    request: &EvalRequest,
    platform: Platform,
    row: &mut PreparedRow,
    texts: &Texts,
) -> Result<Vec<Vec<f32>>, HostError> {
    let package = &row.package;
    let (name, what) = (package.header.meta.name.as_str(), progress_name(package));
    let options = load_options(platform, &row.resolved);
    let loaded = load_package(host, name, package, options, LOAD_LIMIT).await?;
    let mut embeddings = texts.gather();
    for batch in texts.batches() {
        tell(request, &what, embeddings.len() as u64, texts.len() as u64);
        let (report, outputs) = host.run(name, batch, RunOptions::default(), RUN_LIMIT).await?;
        row.ran = Some((report.implementation_type, loaded.activation_bits));
        embeddings.add(&outputs)?;
    }
    host.unload(name, RUN_LIMIT).await?;
    Ok(embeddings.in_order())
}

/// What embeddings are judged by.
#[derive(Clone, Copy)]
struct Judge<'a> {
    pairs: &'a [Pair],
    texts: &'a Texts,
    /// Embeddings in f32.
    reference: Option<&'a [Vec<f32>]>,
}

impl Judge<'_> {
    fn agreement(&self, embeddings: &[Vec<f32>]) -> Agreement {
        let scores: Vec<f64> = self.pairs.iter().map(|pair| pair.score).collect();
        let found = self.texts.cosines(embeddings);
        Agreement { spearman: spearman(&found, &scores), pearson: pearson(&found, &scores) }
    }

    fn row(&self, row: &PreparedRow, embeddings: &[Vec<f32>]) -> EvalRow {
        let (meta, settings) = (&row.package.header.meta, &row.resolved.settings);
        let (implementation_type, activation_bits) = match row.ran {
            Some((implementation_type, bits)) => (Some(implementation_type), bits),
            None => (None, settings.activation_bits.value),
        };
        let int8 = activation_bits == Bits::B8;
        let linears = match implementation_type {
            // On wasm all are computed in int8, or none.
            Some(ImplementationType::RealWasm) => Some(count_linears(&row.package, |_| true)),
            _ => meta
                .activations
                .as_ref()
                .map(|activations| count_linears(&row.package, |weight| activations.linears.contains_key(weight))),
        };
        EvalRow {
            format: PackageFormat::of(&row.package),
            activation_bits,
            int8_linears: linears.filter(|_| int8),
            implementation_type,
            agreement: self.agreement(embeddings),
            against_f32: self.reference.and_then(|reference| error_of_embeddings(embeddings, reference)),
            fallbacks: row.resolved.fallbacks.clone(),
        }
    }
}

/// Linear operators that the answer needs and whose weights are `in_int8`.
fn count_linears(package: &PackageFile, in_int8: impl Fn(&str) -> bool) -> usize {
    package.graph.answer().linears().filter(|name| in_int8(name)).count()
}

/// Embeddings against those in f32.
fn error_of_embeddings(embeddings: &[Vec<f32>], reference: &[Vec<f32>]) -> Option<QuantizationError> {
    let tensor = |rows: &[Vec<f32>]| {
        let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
        Some(vec![("embeddings".to_owned(), Tensor::f32(shape, rows.concat()).ok()?)])
    };
    quantization_error(&tensor(embeddings)?, &tensor(reference)?)
}
