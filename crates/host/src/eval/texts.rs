//! The texts of all pairs, each once, in batches of like length.

use std::collections::BTreeMap;

use webnibble_common::io::Input;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::data::Pair;
use crate::error::HostError;
use crate::reference::cosine;

/// Texts of a batch.
const BATCH: usize = 32;

/// Every text once.
pub(super) struct Texts {
    /// Short ones first, so that a batch has little padding.
    texts: Vec<String>,
    /// Of each pair, where its sentences are.
    pairs: Vec<[usize; 2]>,
    /// What is put before each text.
    prompt: PromptChoice,
}

/// Embeddings that came so far.
pub(super) struct Gathered {
    embeddings: Vec<Vec<f32>>,
    total: usize,
}

impl Texts {
    pub(super) fn of(pairs: &[Pair], prompt: PromptChoice) -> Self {
        let mut texts: Vec<&String> = pairs.iter().flat_map(|pair| &pair.sentences).collect();
        texts.sort_by_key(|text| (text.len(), *text));
        texts.dedup();
        let places: BTreeMap<&String, usize> = texts.iter().zip(0..).map(|(text, place)| (*text, place)).collect();
        let pairs = pairs.iter().map(|pair| pair.sentences.each_ref().map(|text| places[text])).collect();
        Self { texts: texts.into_iter().cloned().collect(), pairs, prompt }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Texts over the model's limit are cut.
    pub(super) fn batches(&self) -> impl Iterator<Item = Input> {
        let prompt = &self.prompt;
        let batch =
            move |texts: &[String]| Input::Text { texts: texts.to_vec(), truncate: true, prompt: prompt.clone() };
        self.texts.chunks(BATCH).map(batch)
    }

    /// Nothing yet.
    pub(super) fn gather(&self) -> Gathered {
        Gathered { embeddings: Vec::with_capacity(self.len()), total: self.len() }
    }

    /// Embeddings of all texts; `run` is given a batch and the number of texts before it.
    pub(super) fn embed(
        &self,
        mut run: impl FnMut(Input, usize) -> Result<Vec<(String, Tensor)>, HostError>,
    ) -> Result<Vec<Vec<f32>>, HostError> {
        let mut gathered = self.gather();
        for batch in self.batches() {
            let outputs = run(batch, gathered.len())?;
            gathered.add(&outputs)?;
        }
        Ok(gathered.in_order())
    }

    /// The cosine of each pair's embeddings.
    pub(super) fn cosines(&self, embeddings: &[Vec<f32>]) -> Vec<f64> {
        self.pairs.iter().map(|[a, b]| cosine(&embeddings[*a], &embeddings[*b])).collect()
    }
}

impl Gathered {
    /// Texts so far.
    pub(super) fn len(&self) -> usize {
        self.embeddings.len()
    }

    /// Takes in the outputs of the next batch: the first of them has to be a vector a text.
    pub(super) fn add(&mut self, outputs: &[(String, Tensor)]) -> Result<(), HostError> {
        let expected = BATCH.min(self.total - self.len());
        let (_, tensor) = outputs.first().ok_or_else(|| no_embeddings(expected, "no output"))?;
        let data = tensor.as_f32().map_err(|error| no_embeddings(expected, &error.to_string()))?;
        match tensor.shape() {
            [batch, width] if *batch == expected && *width > 0 => {
                self.embeddings.extend(data.chunks(*width).map(<[f32]>::to_vec));
                Ok(())
            }
            shape => Err(no_embeddings(expected, &format!("shape {shape:?}"))),
        }
    }

    /// In the order of the texts.
    pub(super) fn in_order(self) -> Vec<Vec<f32>> {
        self.embeddings
    }
}

/// What is no sentence embedding.
fn no_embeddings(expected: usize, found: &str) -> HostError {
    let message = format!("expected {expected} embeddings, found {found}");
    RemoteError::new(ErrorCode::BadPackage, message, "evaluating pairs of sentences needs a sentence-embedding model")
        .into()
}
