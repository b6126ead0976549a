//! Text: a model goes on from a prompt, token by token.

use std::collections::VecDeque;

use webnibble_common::generate::{Generated, Part};
use webnibble_common::graph::{Bindings, Dim};
use webnibble_common::io::Input;
use webnibble_common::options::GenerationOptions;
use webnibble_common::program::DECODE;
use webnibble_common::tensor::Tensor;
use webnibble_common::tokens::TokensKept;
use webnibble_common::warmup::Warmup;
use webnibble_common::wire::{ErrorCode, RemoteError, RunReport, Stage};
use webnibble_models::generate::{GenerateError, Generation, Sampling, Step, prompt_ids};
use webnibble_models::input::tensors::INPUT_IDS;
use webnibble_models::llama::{LOGITS, NEXT_LOGITS};

use super::run::Ran;
use super::{LoadedModel, Progress};
use crate::backend::{Model, Pending, RunRequest, States};
use crate::error::{error, internal};
use crate::stop::Stop;
use crate::sys::{self, now_ms};
use crate::tasks::{Pacer, give_way};

/// Tokens that are asked for before the first of them is known.
const AHEAD: usize = 4;

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
        let states = self.backend.new_states(1)?;
        let (began, mut pacer) = (now_ms(), Pacer::new());
        let first = Bindings::new([("batch", 1), ("seq", ids.len().min(CHUNK_TOKENS))]);
        let prepare_ms = self.backend.prepare(&first).await?;
        let vocab = self.vocab()?;
        let mut tokens = Tokens::new(&mut self.backend, states, stop, (generation.sampling(), &ids, vocab)).await?;
        let (mut at_ms, mut prefill_ms, mut token_ms) = (began, None, Vec::new());
        let finish_reason = loop {
            let token = tokens.next(&mut generation).await?;
            let now = now_ms();
            match prefill_ms {
                None => prefill_ms = Some(now - began),
                Some(_) => token_ms.push(now - at_ms),
            }
            at_ms = now;
            progress.report(Stage::Run, 1 + token_ms.len() as u64, 0);
            let Step { part: piece, finished } = generation.push(token);
            part(piece);
            if let Some(reason) = finished {
                break reason;
            }
            // A small model has its next token before anybody could take this one, or say that it is enough.
            give_way().await;
            pacer.pause().await;
            tokens.go_on(token, generation.left()).await?;
        };
        let prefill_ms = prefill_ms.ok_or_else(|| internal("no token was chosen"))?;
        let (text, tokens) = generation.into_text();
        let generated = Generated { text, tokens, finish_reason, prompt_tokens: ids.len(), prefill_ms, token_ms };
        Ok(Ran { outputs: Vec::new(), report: self.report_of(prompt.tokens_kept, prepare_ms, generated) })
    }

    /// Tokens that there are scores for.
    fn vocab(&self) -> Result<usize, RemoteError> {
        let graph = self.pipeline.graph();
        let scores = graph.outputs.iter().map(|id| graph.value_of(*id)).find(|value| value.name == LOGITS);
        match scores.and_then(|scores| scores.shape.last()) {
            Some(Dim::Fixed(vocab)) => Ok(*vocab),
            _ => Err(refused(&GenerateError::NotGenerating)),
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

/// The tokens of a text, one after another.
struct Tokens<'a> {
    backend: &'a mut Model,
    states: States,
    stop: &'a Stop,
    next: Next,
}

/// What the next token comes of.
enum Next {
    /// The scores of all.
    Scores(Vec<f32>),
    /// Runs that choose it, and those behind it, where the scores are.
    InFlight(VecDeque<Pending>),
}

impl<'a> Tokens<'a> {
    /// Runs a prompt in parts.
    async fn new(
        backend: &'a mut Model,
        mut states: States,
        stop: &'a Stop,
        (sampling, prompt, vocab): (&Sampling, &[u32], usize),
    ) -> Result<Self, RemoteError> {
        let next = match states.begin_text(sampling, prompt, vocab).await? {
            true => Next::InFlight(VecDeque::new()),
            false => Next::Scores(Vec::new()),
        };
        let mut tokens = Self { backend, states, stop, next };
        for (index, chunk) in prompt.chunks(CHUNK_TOKENS).enumerate() {
            let is_last = (index + 1) * CHUNK_TOKENS >= prompt.len();
            match is_last {
                true => tokens.run(chunk).await?,
                false => tokens.submit(Some(chunk), &[], false).await?.read().await.map(drop)?,
            }
        }
        Ok(tokens)
    }

    /// Runs tokens behind which the next one comes.
    async fn run(&mut self, ids: &[u32]) -> Result<(), RemoteError> {
        let read = [NEXT_LOGITS.to_owned()];
        let chooses = matches!(self.next, Next::InFlight(_));
        let pending = self.submit(Some(ids), if chooses { &[] } else { &read }, chooses).await?;
        match &mut self.next {
            Next::InFlight(runs) => runs.push_back(pending),
            Next::Scores(scores) => {
                let outputs = pending.read().await?.outputs;
                let (_, found) = outputs.into_iter().next().ok_or_else(|| internal("no scores were read"))?;
                *scores = found.as_f32().map(<[f32]>::to_vec).map_err(|e| internal(e.to_string()))?;
            }
        }
        Ok(())
    }

    /// The next token, once it is known.
    async fn next(&mut self, generation: &mut Generation) -> Result<u32, RemoteError> {
        match &mut self.next {
            Next::Scores(scores) => generation.choose(scores).map_err(|e| internal(e.to_string())),
            Next::InFlight(runs) => {
                let run = runs.pop_front().ok_or_else(|| internal("no token was asked for"))?;
                run.read().await?.token.ok_or_else(|| internal("no token was chosen"))
            }
        }
    }

    /// Goes on behind the token that is known; no more than so many are wanted. Those that come in vain are dropped.
    async fn go_on(&mut self, token: u32, left: usize) -> Result<(), RemoteError> {
        let Next::InFlight(runs) = &self.next else { return self.run(&[token]).await };
        for _ in runs.len()..left.min(AHEAD) {
            let pending = self.submit(None, &[], true).await?;
            if let Next::InFlight(runs) = &mut self.next {
                runs.push_back(pending);
            }
        }
        Ok(())
    }

    /// Begins to run tokens of the conversation, or the one that was chosen last.
    async fn submit(&mut self, ids: Option<&[u32]>, read: &[String], choose: bool) -> Result<Pending, RemoteError> {
        self.stop.check()?;
        let ids = ids.map(|ids| Tensor::u32([1, ids.len()], ids.to_vec())).transpose();
        let ids = ids.map_err(|e| internal(e.to_string()))?;
        let inputs: Vec<_> = ids.into_iter().map(|ids| (INPUT_IDS.to_owned(), ids)).collect();
        let request = RunRequest { wanted: Some(read), choose, ..RunRequest::all_of(&inputs) };
        self.backend.submit(&request, Some(&mut self.states), self.stop).await
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
