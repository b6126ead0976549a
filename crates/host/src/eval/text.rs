//! Text: how well a model that generates foresees a text, and how often it chooses as it does in f32.
//!
//! Everything is computed natively, in windows of the text whose tokens are all scored at once. Agreement is forced: the
//! model in f32 goes on from the text's beginning, and the tokens that it chose are given to the others, so that one
//! other choice does not decide all that come after it.

use std::sync::Arc;

use serde::Serialize;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::io::Input;
use webnibble_common::package::TOKENIZER;
use webnibble_common::program::DECODE;
use webnibble_common::state::StateSet;
use webnibble_common::tensor::Tensor;
use webnibble_kernels::cpu::Executor;
use webnibble_kernels::exec::ExecError;
use webnibble_models::generate::{GenerateError, likeliest};
use webnibble_models::input::tensors::INPUT_IDS;
use webnibble_models::input::text::TextTokenizer;
use webnibble_models::llama::NEXT_LOGITS;

use super::data::{DataError, read_text};
use super::prepared::{EvalRequest, PackageFormat, PreparedRow, prepare_row, progress_name, row_bits, tell};
use crate::error::HostError;
use crate::loader::{Model, ModelFolder};
use crate::reference::{Reference, ReferenceError};
use crate::task::blocking;

/// Tokens of a window: what comes in it is foreseen from what came in it before.
const WINDOW_TOKENS: usize = 256;

/// Tokens that the model in f32 chooses.
const FORCED_TOKENS: usize = 128;

/// Tokens of the text that it goes on from.
const PROMPT_TOKENS: usize = 32;

/// Fewer tokens say nothing.
const LEAST_TOKENS: usize = 2 * PROMPT_TOKENS;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextEval {
    /// Name of the model.
    pub model: String,
    /// The file.
    pub data: std::path::PathBuf,
    /// Tokens that were foreseen: all but the first of each window.
    pub tokens: usize,
    /// Tokens of a window.
    pub window_tokens: usize,
    /// Tokens that the model in f32 chose; `None` for a package, which has no such weights.
    pub forced_tokens: Option<usize>,
    /// The model in f32; `None` for a package.
    pub f32: Option<TextScores>,
    /// One row a bit width.
    pub rows: Vec<TextRow>,
}

/// How well a text is foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TextScores {
    /// Exponential of the mean negative log likelihood of a token.
    pub perplexity: f64,
    /// Share of the tokens that were the likeliest.
    pub top1: f64,
}

/// One bit width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextRow {
    /// How the weights are stored.
    #[serde(flatten)]
    pub format: PackageFormat,
    /// On the text.
    #[serde(flatten)]
    pub scores: TextScores,
    /// Share of the tokens chosen in f32 that are the likeliest; `None` without f32.
    pub forced_agreement: Option<f64>,
}

/// Evaluates on this machine's processor.
pub(super) async fn eval_text(request: &EvalRequest, model: &Arc<Model>) -> Result<TextEval, HostError> {
    let text = read_text(&request.data)?;
    let ids = tokens(model, &text)?;
    let ids = &ids[..ids.len().min(request.limit.unwrap_or(usize::MAX))];
    if ids.len() < LEAST_TOKENS {
        return Err(DataError::Short { path: request.data.clone(), least: LEAST_TOKENS, found: ids.len() }.into());
    }
    let window_tokens = WINDOW_TOKENS.min(model.max_tokens());
    let windows: Arc<Vec<Vec<u32>>> =
        Arc::new(ids.chunks(window_tokens).filter(|window| window.len() > 1).map(<[u32]>::to_vec).collect());
    let in_f32 = in_f32(request, model, &windows).await?;
    let mut rows = Vec::new();
    for bits in row_bits(request, model) {
        let row = prepare_row(request, model, bits).await?;
        rows.push(row_of(request, row, &windows, in_f32.as_ref().map(|(_, forced)| forced.clone())).await?);
    }
    Ok(TextEval {
        model: model.name().to_owned(),
        data: request.data.clone(),
        tokens: windows.iter().map(|window| window.len() - 1).sum(),
        window_tokens,
        forced_tokens: in_f32.as_ref().map(|(_, forced)| forced.tokens.len() - forced.from),
        f32: in_f32.map(|(scores, _)| scores),
        rows,
    })
}

/// A whole text as tokens, however long.
fn tokens(model: &Model, text: &str) -> Result<Vec<u32>, HostError> {
    let json = match model {
        Model::Folder(folder) => folder.tokenizer.clone(),
        Model::Package(package) => package.read_extra(TOKENIZER)?,
        Model::Onnx(onnx) => onnx.tokenizer.clone(),
    };
    let json = json.ok_or(ReferenceError::from(GenerateError::NoTokenizer))?;
    let tokenizer =
        TextTokenizer::from_bytes(&json, usize::MAX, model.config().vocab_size()).map_err(ReferenceError::from)?;
    let encoded = tokenizer.encode_batch(&[text], "", false).map_err(ReferenceError::from)?;
    Ok(encoded.input_ids)
}

/// Tokens that the model in f32 chose, behind the first `from` of them, which it was given.
#[derive(Clone, Debug)]
struct Forced {
    tokens: Vec<u32>,
    from: usize,
}

async fn in_f32(
    request: &EvalRequest,
    model: &Arc<Model>,
    windows: &Arc<Vec<Vec<u32>>>,
) -> Result<Option<(TextScores, Forced)>, HostError> {
    let (request, model, windows) = (request.clone(), Arc::clone(model), Arc::clone(windows));
    blocking(move || {
        let Model::Folder(folder) = &*model else { return Ok(None) };
        let reference = Reference::of_folder(folder)?;
        let forced = forced(&request, folder, &reference, &windows[0])?;
        Ok(Some((scores(&request, &reference, &windows, "evaluating in f32")?, forced)))
    })
    .await
}

/// Has the model in f32 go on from the beginning of the text.
fn forced(
    request: &EvalRequest,
    folder: &ModelFolder,
    reference: &Reference,
    window: &[u32],
) -> Result<Forced, HostError> {
    let program = folder.config.program(None);
    let graph = program.named(DECODE).map_err(|_| ReferenceError::from(GenerateError::NotGenerating))?;
    let graph = graph.only(&[NEXT_LOGITS.to_owned()]);
    let from = PROMPT_TOKENS.min(window.len());
    let count = FORCED_TOKENS.min(folder.max_tokens().saturating_sub(from));
    let mut states = StateSet::new(&graph.states, 1, &Bindings::default()).map_err(ExecError::from);
    let states = states.as_mut().map_err(|error| ReferenceError::from(error.clone()))?;
    let (mut tokens, mut ran) = (window[..from].to_vec(), 0);
    for done in 0..count {
        tell(request, "choosing tokens in f32", done as u64, count as u64);
        let next = likeliest(&next_scores(reference, &graph, states, &tokens[ran..])?);
        ran = tokens.len();
        tokens.push(next);
    }
    Ok(Forced { tokens, from })
}

/// The scores of what may come behind the next tokens of a conversation.
fn next_scores(
    reference: &Reference,
    graph: &Graph,
    states: &mut StateSet,
    ids: &[u32],
) -> Result<Vec<f32>, ReferenceError> {
    let ids = Tensor::u32([1, ids.len()], ids.to_vec()).expect("as many as there are");
    let inputs = [(INPUT_IDS.to_owned(), ids)];
    let outputs = Executor::new(graph, reference.weights(), &inputs)?.with_states(states)?.outputs()?;
    Ok(outputs[0].1.as_f32().expect("scores are floats").to_vec())
}

async fn row_of(
    request: &EvalRequest,
    row: PreparedRow,
    windows: &Arc<Vec<Vec<u32>>>,
    forced: Option<Forced>,
) -> Result<TextRow, HostError> {
    let (request, windows) = (request.clone(), Arc::clone(windows));
    blocking(move || {
        let format = PackageFormat::of(&row.package);
        let model = row.package.read(|file| Ok(Reference::quantized(file)?))?;
        let scores = scores(&request, &model, &windows, &progress_name(&row.package))?;
        let forced_agreement = forced.map(|forced| agreement(&model, &forced)).transpose()?;
        Ok(TextRow { format, scores, forced_agreement })
    })
    .await
}

/// Share of the forced tokens that the model finds likeliest too.
fn agreement(model: &Reference, forced: &Forced) -> Result<f64, HostError> {
    let rows = rows_of_scores(model, &forced.tokens)?;
    let chosen = &forced.tokens[forced.from..];
    let agreed = chosen.iter().zip(&rows[forced.from - 1..]).filter(|(token, row)| likeliest(row) == **token).count();
    Ok(agreed as f64 / chosen.len() as f64)
}

/// How well the tokens of each window but its first are foreseen.
fn scores(request: &EvalRequest, model: &Reference, windows: &[Vec<u32>], what: &str) -> Result<TextScores, HostError> {
    let (mut lost, mut likely, mut count) = (0.0, 0, 0);
    for (done, window) in windows.iter().enumerate() {
        tell(request, what, done as u64, windows.len() as u64);
        for (row, next) in rows_of_scores(model, window)?.iter().zip(&window[1..]) {
            lost -= log_likelihood(row, *next as usize);
            likely += usize::from(likeliest(row) == *next);
            count += 1;
        }
    }
    Ok(TextScores { perplexity: (lost / f64::from(count)).exp(), top1: likely as f64 / f64::from(count) })
}

/// The scores of what may come behind each token.
fn rows_of_scores(model: &Reference, ids: &[u32]) -> Result<Vec<Vec<f32>>, HostError> {
    let outputs = model.outputs(&Input::ids(vec![ids.to_vec()]))?;
    let (_, scores) = &outputs[0];
    let vocab = scores.shape().last().copied().unwrap_or(1);
    let values = scores.as_f32().expect("scores are floats");
    Ok(values.chunks_exact(vocab).map(<[f32]>::to_vec).collect())
}

fn log_likelihood(scores: &[f32], token: usize) -> f64 {
    let top = f64::from(scores[likeliest(scores) as usize]);
    let sum: f64 = scores.iter().map(|score| (f64::from(*score) - top).exp()).sum();
    f64::from(scores[token]) - top - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihood_is_that_of_the_softmax() {
        let scores = [0.5_f32, 0.25, 0.25].map(f32::ln);
        assert!((log_likelihood(&scores, 0) - 0.5_f64.ln()).abs() < 1e-6);
        assert!((log_likelihood(&scores, 2) - 0.25_f64.ln()).abs() < 1e-6);
        assert_eq!(likeliest(&[1.0, 3.0, 3.0]), 1);
    }
}
