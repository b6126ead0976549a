//! Text: a model goes on from a prompt, token by token.

use webnibble_common::generate::{Generated, Part};
use webnibble_common::graph::Bindings;
use webnibble_common::io::Input;
use webnibble_common::options::GenerationOptions;
use webnibble_common::program::DECODE;
use webnibble_common::tensor::Tensor;
use webnibble_common::tokens::TokensKept;
use webnibble_common::warmup::Warmup;
use webnibble_common::wire::{ErrorCode, RemoteError, RunReport, Stage};
use webnibble_models::generate::{GenerateError, Generation, Step, prompt_ids};
use webnibble_models::input::tensors::INPUT_IDS;
use webnibble_models::llama::NEXT_LOGITS;

use super::run::Ran;
use super::{LoadedModel, Progress};
use crate::backend::{RunRequest, States};
use crate::error::{error, internal};
use crate::stop::Stop;
use crate::sys::{self, now_ms};
use crate::tasks::{Pacer, give_way};

/// Tokens of a prompt that run at once: what a kernel makes of them takes memory.
const CHUNK_TOKENS: usize = 128;

impl LoadedModel {
    /// Has the model go on from a text or a row of ids until something ends it, and tells each piece as it comes.
    ///
    /// # Errors
    /// `unsupported` for a model or a platform that does not generate, `bad_input` for more than one text and for a prompt
    /// that leaves no room, and what running says.
    pub(crate) async fn generate(
        &mut self,
        input: &Input,
        options: &GenerationOptions,
        stop: &Stop,
        progress: impl Fn(Stage, u64, u64),
        mut part: impl FnMut(Part),
    ) -> Result<Ran, RemoteError> {
        let mut progress = Progress::new(progress);
        let prompt = self.bind(input)?;
        let ids = prompt_ids(&prompt.tensors).map_err(|e| refused(&e))?.to_vec();
        let mut generation = self.generation(options, &ids)?;
        self.backend.want(DECODE, &[NEXT_LOGITS.to_owned()])?;
        let mut states = self.backend.new_states(1)?;
        let (began, mut pacer) = (now_ms(), Pacer::new());
        let first = Bindings::new([("batch", 1), ("seq", ids.len().min(CHUNK_TOKENS))]);
        let prepare_ms = self.backend.prepare(&first).await?;
        let mut logits = self.prefill(&ids, &mut states, stop).await?;
        let (mut at_ms, mut prefill_ms, mut token_ms) = (began, None, Vec::new());
        let finish_reason = loop {
            let step = generation.next(&logits).map_err(|e| internal(e.to_string()))?;
            let now = now_ms();
            match prefill_ms {
                None => prefill_ms = Some(now - began),
                Some(_) => token_ms.push(now - at_ms),
            }
            at_ms = now;
            progress.report(Stage::Run, 1 + token_ms.len() as u64, 0);
            let Step { token, part: piece, finished } = step;
            part(piece);
            if let Some(reason) = finished {
                break reason;
            }
            // A small model has its next token before anybody could take this one, or say that it is enough.
            give_way().await;
            pacer.pause().await;
            logits = self.next_logits(&[token], &mut states, true, stop).await?;
        };
        let prefill_ms = prefill_ms.ok_or_else(|| internal("no token was chosen"))?;
        let (text, tokens) = generation.into_text();
        let generated = Generated { text, tokens, finish_reason, prompt_tokens: ids.len(), prefill_ms, token_ms };
        Ok(Ran { outputs: Vec::new(), report: self.report_of(prompt.tokens_kept, prepare_ms, generated) })
    }

    /// Runs a prompt in parts; the scores of what may come behind it.
    async fn prefill(&mut self, ids: &[u32], states: &mut States, stop: &Stop) -> Result<Vec<f32>, RemoteError> {
        let mut logits = Vec::new();
        for (index, chunk) in ids.chunks(CHUNK_TOKENS).enumerate() {
            let is_last = (index + 1) * CHUNK_TOKENS >= ids.len();
            logits = self.next_logits(chunk, states, is_last, stop).await?;
        }
        Ok(logits)
    }

    /// Runs the next tokens of a conversation; the scores of what may come behind them, where they are to be read.
    async fn next_logits(
        &mut self,
        ids: &[u32],
        states: &mut States,
        read: bool,
        stop: &Stop,
    ) -> Result<Vec<f32>, RemoteError> {
        stop.check()?;
        let ids = Tensor::u32([1, ids.len()], ids.to_vec()).map_err(|e| internal(e.to_string()))?;
        let inputs = [(INPUT_IDS.to_owned(), ids)];
        let wanted = [NEXT_LOGITS.to_owned()];
        let request = RunRequest { wanted: Some(if read { &wanted } else { &[] }), ..RunRequest::all_of(&inputs) };
        let outcome = self.backend.submit(&request, Some(states), stop).await?.read().await?;
        match outcome.outputs.into_iter().next() {
            Some((_, logits)) => logits.as_f32().map(<[f32]>::to_vec).map_err(|e| internal(e.to_string())),
            None => Ok(Vec::new()),
        }
    }

    /// How the tokens behind a prompt are chosen.
    fn generation(&self, options: &GenerationOptions, ids: &[u32]) -> Result<Generation, RemoteError> {
        let config = self.generation.as_ref().ok_or_else(|| refused(&GenerateError::NotGenerating))?;
        Generation::new(config, options, ids, &self.pipeline).map_err(|e| refused(&e))
    }

    fn report_of(&self, tokens_kept: Vec<TokensKept>, prepare_ms: f64, generated: Generated) -> RunReport {
        RunReport {
            implementation_type: self.backend.implementation_type(),
            outputs: Vec::new(),
            token_counts: vec![generated.prompt_tokens],
            truncated: tokens_kept.iter().any(|tokens| tokens.is_cut()),
            tokens_kept,
            prepare_ms,
            first_ms: generated.prefill_ms,
            warmup: Warmup::NONE,
            run_ms: Vec::new(),
            generated: Some(generated),
            gpu_ms: None,
            kernels: None,
            webnn: self.backend.webnn(),
            variants: self.backend.variants(),
            adjustments: [self.idle.clone(), self.backend.adjustments()].concat(),
            dispatches: self.backend.dispatches(),
            gpu_peak_bytes: self.backend.gpu_peak_bytes(),
            wasm_heap_bytes: sys::wasm_heap_bytes(),
        }
    }
}

fn refused(problem: &GenerateError) -> RemoteError {
    let (code, hint) = match problem {
        GenerateError::NotGenerating => {
            (ErrorCode::Unsupported, "run it without generating, or take a model such as a LLaMA")
        }
        GenerateError::Option { .. } => (ErrorCode::BadOption, ""),
        GenerateError::Rows { .. } => (ErrorCode::BadInput, "generate from them one after another"),
        _ => (ErrorCode::BadInput, "shorten the prompt"),
    };
    error(code, problem.to_string(), hint)
}
