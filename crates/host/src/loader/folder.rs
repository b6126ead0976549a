//! A model in Hugging Face layout: `config.json`, weights, `tokenizer.json`, and the files of sentence-transformers.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::Digest;
use webnibble_common::graph::{Graph, Weight};
use webnibble_common::package::{SentenceConfig, TOKENIZER};
use webnibble_models::sentence::Modules;
use webnibble_models::{ModelConfig, checkpoint};

use super::checkpoint::{INDEX, SINGLE};
use super::{Checkpoint, LoadError, read_file, read_optional};

/// The stages of a sentence-transformers model.
pub(super) const MODULES: &str = "modules.json";
/// Its limit in tokens.
pub(super) const SENTENCE_BERT_CONFIG: &str = "sentence_bert_config.json";

/// A folder whose files were read and checked, with the weights still on disk.
#[derive(Debug)]
pub struct ModelFolder {
    /// Name for people.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// `config.json`.
    pub config_json: Value,
    /// The family and its dimensions.
    pub config: ModelConfig,
    /// Pooling and normalization, where the folder has a sentence-transformers model.
    pub sentence: Option<SentenceConfig>,
    /// `tokenizer.json`, where there is one: a model that is only run on token ids can do without.
    pub tokenizer: Option<Vec<u8>>,
    /// The model's graph: to a sentence embedding where `sentence` is there, else to the last hidden state.
    pub graph: Graph,
    /// The weights.
    pub checkpoint: Checkpoint,
}

impl ModelFolder {
    /// Opens a folder and checks that every weight of the graph is there, of the right shape and of a type that is read.
    pub fn open(path: &Path, name: &str) -> Result<ModelFolder, LoadError> {
        let Described { config_json, config, sentence, tokenizer } = describe(path)?;
        let folder = ModelFolder {
            name: name.to_owned(),
            path: path.to_owned(),
            graph: config.graph(sentence.as_ref()),
            checkpoint: Checkpoint::open_folder(path)?,
            config_json,
            config,
            sentence,
            tokenizer,
        };
        folder.graph.weights.iter().try_for_each(|weight| folder.sources(weight).map(drop))?;
        Ok(folder)
    }

    /// The values of a weight of the graph, its sources stacked along the first dimension.
    pub fn read(&self, weight: &Weight) -> Result<Vec<f32>, LoadError> {
        let sources = self.sources(weight)?;
        let mut values = Vec::with_capacity(weight.shape.iter().product());
        for source in sources {
            values.append(&mut self.checkpoint.read_f32(&source)?);
        }
        Ok(values)
    }

    /// Names of the checkpoint's tensors that no weight of the graph is made of.
    pub fn unused(&self) -> Vec<&str> {
        let used: std::collections::BTreeSet<String> =
            self.graph.weights.iter().filter_map(|weight| self.sources(weight).ok()).flatten().collect();
        self.checkpoint.tensors.keys().map(String::as_str).filter(|name| !used.contains(*name)).collect()
    }

    /// SHA-256 of what a package of this model depends on: configs and tokenizer by content, weights as
    /// [`Checkpoint::digest`] says.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = self.checkpoint.digest();
        digest.update(self.config_json.to_string());
        digest.update(serde_json::to_string(&self.sentence).unwrap_or_default());
        digest.update(self.tokenizer.as_deref().unwrap_or_default());
        digest.finalize().into()
    }

    /// Names in the checkpoint of the tensors that make a weight, checked.
    pub(crate) fn sources(&self, weight: &Weight) -> Result<Vec<String>, LoadError> {
        let tensors = &self.checkpoint.tensors;
        let mut names = Vec::with_capacity(weight.sources.len());
        let mut rows = 0;
        for source in &weight.sources {
            let Some(name) = checkpoint::resolve(|name| tensors.contains_key(name), source) else {
                let expected = format!("{:?}", source_shape(weight));
                return Err(self.checkpoint.missing(source, &expected, &checkpoint::candidates(source)));
            };
            let tensor = &tensors[&name];
            let rest: usize = tensor.shape.iter().skip(1).product();
            if tensor.shape.is_empty() || rest != weight.shape.get(1).copied().unwrap_or(1) {
                return Err(self.wrong_shape(&name, &source_shape(weight), &tensor.shape));
            }
            if !matches!(tensor.dtype.as_str(), "F32" | "F16" | "BF16") {
                return Err(LoadError::DType { path: tensor.file.clone(), tensor: name, found: tensor.dtype.clone() });
            }
            rows += tensor.shape[0];
            names.push(name);
        }
        if rows != weight.shape[0] {
            let found = [&[rows], &weight.shape[1..]].concat();
            return Err(self.wrong_shape(&names.join(" + "), &weight.shape, &found));
        }
        Ok(names)
    }

    fn wrong_shape(&self, tensor: &str, expected: &[usize], found: &[usize]) -> LoadError {
        LoadError::Shape {
            path: self.checkpoint.path.clone(),
            tensor: tensor.to_owned(),
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        }
    }
}

/// Shape of one of a weight's sources, where they are all alike.
fn source_shape(weight: &Weight) -> Vec<usize> {
    let mut shape = weight.shape.clone();
    shape[0] /= weight.sources.len().max(1);
    shape
}

/// What the small files of a folder say.
pub(super) struct Described {
    pub(super) config_json: Value,
    pub(super) config: ModelConfig,
    pub(super) sentence: Option<SentenceConfig>,
    pub(super) tokenizer: Option<Vec<u8>>,
}

/// Reads everything but the weights.
pub(super) fn describe(path: &Path) -> Result<Described, LoadError> {
    let config_path = path.join("config.json");
    let text = read_optional(&config_path)?.ok_or_else(|| {
        LoadError::not_a_model(path, "expected a folder in Hugging Face layout, found no config.json")
    })?;
    let config_json: Value = serde_json::from_str(&text)
        .map_err(|error| LoadError::Json { path: config_path, message: error.to_string() })?;
    let config =
        ModelConfig::from_json(&config_json).map_err(|error| LoadError::Model { path: path.to_owned(), error })?;
    let sentence = read_sentence(path)?;
    let tokenizer = read_optional(&path.join(TOKENIZER))?.map(String::into_bytes);
    Ok(Described { config_json, config, sentence, tokenizer })
}

fn read_sentence(path: &Path) -> Result<Option<SentenceConfig>, LoadError> {
    let Some(modules) = read_optional(&path.join(MODULES))? else { return Ok(None) };
    let wrong = |error| LoadError::Sentence { path: path.to_owned(), error };
    let modules = Modules::from_json(&modules).map_err(wrong)?;
    let pooling_path = path.join(&modules.pooling).join("config.json");
    let pooling = String::from_utf8(read_file(&pooling_path)?)
        .map_err(|error| LoadError::Json { path: pooling_path, message: error.to_string() })?;
    let limits = read_optional(&path.join(&modules.transformer).join(SENTENCE_BERT_CONFIG))?;
    modules.sentence_config(&pooling, limits.as_deref()).map(Some).map_err(wrong)
}

/// Whether a file of a model's repository is needed, by its path in it. `weights` are the shards, once the index is known.
pub(super) fn is_needed(file: &str, modules: Option<&Modules>, shards: &[String]) -> bool {
    let small = ["config.json", TOKENIZER, MODULES, SENTENCE_BERT_CONFIG, SINGLE, INDEX].contains(&file);
    let of_modules = modules.is_some_and(|modules| {
        let in_folder = |folder: &str, name: &str| match folder {
            "" => file == name,
            _ => file == format!("{folder}/{name}"),
        };
        in_folder(&modules.pooling, "config.json") || in_folder(&modules.transformer, SENTENCE_BERT_CONFIG)
    });
    small || of_modules || shards.iter().any(|shard| shard == file)
}
