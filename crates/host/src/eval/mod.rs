//! Accuracy: how well a quantized model agrees with people, and with itself in f32.
//!
//! The data are pairs of sentences with scores. The cosine of a pair's embeddings is compared with its score by rank
//! (Spearman) and value (Pearson); the embeddings with those of the model in f32. Weights decide most of it, so by default
//! the packages run on this machine's processor; with a platform they run in one browser, one after another.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use webnibble_common::capabilities::Adapter;
use webnibble_common::options::{Options, Platform, Settings};
use webnibble_common::profiles::{self, Resolved};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::{Bits, Scheme};
use webnibble_common::record::{BrowserInfo, Fallback, ImplementationType, QuantizationError};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::RunOptions;
use webnibble_models::input::text::TextError;

use crate::error::HostError;
use crate::host::Host;
use crate::loader::{Model, PackageFile, Progress};
use crate::prepare::{self, Package};
use crate::reference::{Reference, quantization_error};
use crate::run::{RunProgress, RunProgressSink, family, load_options, load_package, resolve};
use crate::task::blocking;

mod data;
mod stats;
#[cfg(test)]
mod tests;
mod texts;

pub use data::{DataError, Pair, read_pairs};
pub use stats::{pearson, spearman};

use texts::Texts;

const LOAD_LIMIT: Duration = Duration::from_secs(300);
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Bit widths that are compared unless others are asked for.
pub const BITS: [Bits; 4] = [Bits::B16, Bits::B8, Bits::B4, Bits::B2];

/// What to evaluate.
#[derive(Clone)]
pub struct EvalRequest {
    /// A sentence-embedding model.
    pub model: String,
    /// Tab-separated pairs, as [`read_pairs`] takes them.
    pub data: PathBuf,
    /// The first rows only.
    pub limit: Option<usize>,
    /// Bits of the weights, a row each; [`BITS`], or those of a package, where there are none.
    pub bits: Vec<Bits>,
    /// What is put before each sentence.
    pub prompt: PromptChoice,
    /// Everything else that the caller chose. Without a platform, this machine's processor computes.
    pub options: Options,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Hears how far it is.
    pub progress: Option<RunProgressSink>,
}

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
    /// Bits of the linear weights.
    pub bits: Bits,
    /// Bits of attention projections.
    pub attention_bits: Bits,
    /// Bits of embedding tables.
    pub embedding_bits: Bits,
    /// Bits of activations, as they were computed.
    pub activation_bits: Bits,
    /// Linear operators in int8, with activations of 8 bits.
    pub int8_linears: Option<usize>,
    /// Where zero lies.
    pub scheme: Scheme,
    /// `group`, `channel` or `tensor`.
    pub granularity: String,
    /// Weights of a group.
    pub group_size: Option<usize>,
    /// What ran in the browser, as the page's backend says.
    pub implementation_type: Option<ImplementationType>,
    /// Bytes of the package.
    pub package_bytes: u64,
    /// Agreement with people.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Against the model in f32, text by text; `None` where its weights are not at hand.
    pub against_f32: Option<QuantizationError>,
    /// Options that were not kept, with their reasons.
    pub fallbacks: Vec<Fallback>,
}

/// Evaluates a model at several bit widths.
///
/// # Errors
/// With the first step that fails: a table with holes would be misread.
pub async fn eval(request: EvalRequest) -> Result<Eval, HostError> {
    let pairs = read_pairs(&request.data, request.limit)?;
    let texts = Arc::new(Texts::of(&pairs, request.prompt.clone()));
    tell(&request, "looking for the model", 0, 0);
    let model = load_model(&request).await?;
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

/// A package that is ready, and how it is to be run.
struct PreparedRow {
    resolved: Resolved,
    package: Package,
    /// What ran, where it is known.
    ran: Option<(ImplementationType, Bits)>,
}

/// Bits of each row; `None` leaves them to the package.
fn row_bits(request: &EvalRequest, model: &Model) -> Vec<Option<Bits>> {
    let int8 = request.options.settings.activation_bits == Some(Bits::B8);
    match (&request.bits[..], model) {
        ([], Model::Package(_) | Model::Onnx(_)) => vec![None],
        // Int8 activations go with weights of 8 bits alone.
        ([], Model::Folder(_)) if int8 => vec![Some(Bits::B8)],
        ([], Model::Folder(_)) => BITS.map(Some).to_vec(),
        (bits, _) => bits.iter().copied().map(Some).collect(),
    }
}

async fn load_model(request: &EvalRequest) -> Result<Arc<Model>, HostError> {
    let request = request.clone();
    blocking(move || Ok(Arc::new(Model::load(&request.model, &mut |at| tell_at(&request, at))?))).await
}

async fn prepare_row(request: &EvalRequest, model: &Arc<Model>, bits: Option<Bits>) -> Result<PreparedRow, HostError> {
    let (model, request) = (Arc::clone(model), request.clone());
    blocking(move || {
        let chosen = Settings { bits, ..request.options.settings.clone() };
        // What this machine's processor computes depends on no browser; int8 is WebNN's unless wasm is asked for.
        let platform = request.options.platform.unwrap_or(match chosen.activation_bits {
            Some(Bits::B8) => Platform::Webnn,
            _ => Platform::Webgpu,
        });
        let options =
            Options { settings: prepare::settings_for(&model, &chosen, platform)?, ..request.options.clone() };
        let resolved = resolve(&options, platform, family(&model))?;
        let package = prepare::package(&model, &resolved.settings, platform, &mut |at| tell_at(&request, at))?;
        Ok(PreparedRow { resolved, package, ran: None })
    })
    .await
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

fn progress_name(package: &PackageFile) -> String {
    format!("evaluating {} bits", package.header.meta.quantization.bits)
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
        let made = &meta.quantization;
        let bits = |count: u8| Bits::try_from(count).unwrap_or(Bits::B32);
        let (granularity, group_size) = profiles::granularity_parts(made.granularity);
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
            bits: bits(made.bits),
            attention_bits: bits(made.attention_bits),
            embedding_bits: bits(made.embedding_bits),
            activation_bits,
            int8_linears: linears.filter(|_| int8),
            scheme: made.scheme,
            granularity: granularity.into(),
            group_size,
            implementation_type,
            package_bytes: row.package.header.total_bytes,
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

fn tell(request: &EvalRequest, what: &str, done: u64, total: u64) {
    tell_at(request, Progress { what, done, total });
}

fn tell_at(request: &EvalRequest, at: Progress<'_>) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what: at.what, done: at.done, total: at.total });
    }
}
