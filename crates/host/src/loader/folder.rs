//! A model in Hugging Face layout: `config.json`, weights, `tokenizer.json`, and the files of sentence-transformers; or a GGUF
//! file, which comes to the same.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::Digest;
use webnibble_common::graph::{Graph, Weight};
use webnibble_common::package::{SentenceConfig, max_tokens};
use webnibble_common::tensor::{element_count, without_leading_ones};
use webnibble_models::generate::GenerationConfig;
use webnibble_models::input::image::ImageProcessor;
use webnibble_models::sentence::{MODEL_CONFIG, Modules, SentenceFiles, SentenceTokenizer, TRANSFORMER_CONFIGS};
use webnibble_models::tokenizer_files::{self, EffectiveTokenizer, TokenizerFiles};
use webnibble_models::{ModelConfig, ModelError, checkpoint, refuse_heads};

use super::checkpoint::{Checkpoint, INDEX, SINGLE};
use super::error::LoadError;
use super::gguf::{self, Gguf};
use super::source::{WeightSource, missing};
use super::text_file::{parse_json, read_text, read_text_if_there};

/// The family and its dimensions.
pub(super) const CONFIG: &str = "config.json";

/// How a model that generates text does so by its own word.
pub(super) const GENERATION_CONFIG: &str = "generation_config.json";

/// What becomes of images before a model takes them.
pub(crate) const PREPROCESSOR_CONFIG: &str = "preprocessor_config.json";

/// The stages of a sentence-transformers model.
pub(super) const MODULES: &str = "modules.json";

/// A folder whose files were read and checked, with the weights still on disk. A GGUF file is one too: its paths are then the
/// file's.
#[derive(Debug)]
pub struct ModelFolder {
    /// Name for people.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The folder of config, weights and tokenizer: `path`, or what `modules.json` names in it (`0_Transformer`).
    pub transformer: PathBuf,
    /// `config.json`.
    pub config_json: Value,
    /// `generation_config.json`, where a model that generates text has one.
    pub generation_config: Option<Value>,
    /// `preprocessor_config.json`, where a model that takes images has one.
    pub preprocessor_config: Option<Value>,
    /// The family and its dimensions.
    pub config: ModelConfig,
    /// Pooling and normalization, where the folder has a sentence-transformers model.
    pub sentence: Option<SentenceConfig>,
    /// The `tokenizer.json` that all files of the tokenizer come to, where there is one: a model that is only run on token ids
    /// can do without.
    pub tokenizer: Option<Vec<u8>>,
    /// The tokenizer's limit in tokens, where it has one and the sentence model has none of its own.
    pub model_max_length: Option<usize>,
    /// The model's graph, with every output that the checkpoint has weights for: a sentence embedding first where `sentence` is
    /// there, else the last hidden state.
    pub graph: Graph,
    /// The weights.
    pub weights: Box<dyn WeightSource>,
}

impl ModelFolder {
    /// Opens a folder, or a GGUF file, which has as much, and checks that its counts are those of the checkpoint, and that every
    /// weight of the graph is there, of the right shape and of a type that is read. A GGUF file's own name for its model comes
    /// before `name`.
    pub fn open(path: &Path, name: &str) -> Result<ModelFolder, LoadError> {
        if gguf::is_gguf(path) {
            return ModelFolder::open_gguf(path, name);
        }
        let described = describe(path)?;
        let weights = open_weights(&described.transformer)?;
        ModelFolder::of(described, weights, path, name)
    }

    fn open_gguf(path: &Path, name: &str) -> Result<ModelFolder, LoadError> {
        let Gguf { name: own_name, config: config_json, mut tokenizer, weights } = gguf::open(path)?;
        let config =
            ModelConfig::from_json(&config_json).map_err(|error| LoadError::Model { path: path.to_owned(), error })?;
        let files = TokenizerFiles::read(|file| Ok::<_, LoadError>(tokenizer.remove(file)))?;
        let tokenizer = effective_tokenizer(&files, path, &config_json, &SentenceTokenizer::default())?;
        let described = Described {
            config_json,
            config,
            sentence: None,
            tokenizer: tokenizer.map(|tokenizer| tokenizer.json),
            generation_config: None,
            preprocessor_config: None,
            model_max_length: None,
            transformer: path.to_owned(),
        };
        ModelFolder::of(described, Box::new(weights), path, own_name.as_deref().unwrap_or(name))
    }

    /// The same with the weights of any format.
    fn of(
        described: Described,
        weights: Box<dyn WeightSource>,
        path: &Path,
        name: &str,
    ) -> Result<ModelFolder, LoadError> {
        let Described { config_json, generation_config, preprocessor_config, .. } = described;
        let Described { config, sentence, tokenizer, model_max_length, transformer, .. } = described;
        check_config(&config_json, &config, sentence.as_ref(), &*weights)?;
        let has = |source: &str| checkpoint::resolve(|name| weights.tensors().contains_key(name), source).is_some();
        let folder = ModelFolder {
            name: name.to_owned(),
            path: path.to_owned(),
            graph: config.graph_over(sentence.as_ref(), &has),
            transformer,
            weights,
            config_json,
            generation_config,
            preprocessor_config,
            config,
            sentence,
            tokenizer,
            model_max_length,
        };
        folder.graph.weights.iter().try_for_each(|weight| folder.sources(weight).map(drop))?;
        Ok(folder)
    }

    /// The values of a weight of the graph, its sources stacked along the first dimension.
    pub fn read(&self, weight: &Weight) -> Result<Vec<f32>, LoadError> {
        let sources = self.sources(weight)?;
        let mut values = Vec::with_capacity(element_count(&weight.shape));
        for source in sources {
            values.append(&mut self.weights.read_f32(&source)?);
        }
        Ok(values)
    }

    /// Names of the checkpoint's tensors that no weight of the graph is made of.
    pub fn unused(&self) -> Vec<&str> {
        let used: std::collections::BTreeSet<String> =
            self.graph.weights.iter().filter_map(|weight| self.sources(weight).ok()).flatten().collect();
        self.weights.tensors().keys().map(String::as_str).filter(|name| !used.contains(*name)).collect()
    }

    /// The longest input in tokens, special ones included.
    pub fn max_tokens(&self) -> usize {
        max_tokens(self.config.max_positions(), self.sentence.as_ref(), self.model_max_length)
    }

    /// SHA-256 of what a package of this model depends on: configs and tokenizer by content, weights as
    /// [`WeightSource::digest`] says.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = self.weights.digest();
        digest.update(self.config_json.to_string());
        digest.update(self.generation_config.as_ref().map(Value::to_string).unwrap_or_default());
        digest.update(self.preprocessor_config.as_ref().map(Value::to_string).unwrap_or_default());
        digest.update(serde_json::to_string(&self.sentence).unwrap_or_default());
        digest.update(self.tokenizer.as_deref().unwrap_or_default());
        digest.update(self.model_max_length.unwrap_or_default().to_le_bytes());
        digest.finalize().into()
    }

    /// Names in the checkpoint of the tensors that make a weight, checked.
    pub(crate) fn sources(&self, weight: &Weight) -> Result<Vec<String>, LoadError> {
        let tensors = self.weights.tensors();
        let mut names = Vec::with_capacity(weight.sources.len());
        let mut rows = 0;
        for source in &weight.sources {
            let Some(name) = checkpoint::resolve(|name| tensors.contains_key(name), source) else {
                let expected = format!("{:?}", source_shape(weight));
                return Err(missing(&*self.weights, source, &expected, &checkpoint::looked_for(source)));
            };
            let tensor = &tensors[&name];
            // A convolution's weight is the matrix of a linear operator over patches, and a batch of one what it holds.
            let shape = without_leading_ones(&tensor.shape, weight.shape.len());
            let rest = element_count(shape.get(1..).unwrap_or_default());
            if shape.is_empty() || rest != weight.shape.get(1).copied().unwrap_or(1) {
                return Err(self.wrong_shape(&name, &source_shape(weight), &tensor.shape));
            }
            if !tensor.is_float {
                let (path, expected) = (tensor.file.clone(), self.weights.types());
                return Err(LoadError::DType { path, tensor: name, expected, found: tensor.dtype.clone() });
            }
            rows = shape[0].saturating_add(rows);
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
            path: self.weights.path().to_owned(),
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

/// Opens the weights of a folder, by the format of its files: safetensors is the only one.
fn open_weights(folder: &Path) -> Result<Box<dyn WeightSource>, LoadError> {
    Ok(Box::new(Checkpoint::open_folder(folder)?))
}

/// Refuses what the graph would compute wrongly, and what there is no memory for: before the graph is made.
fn check_config(
    config_json: &Value,
    config: &ModelConfig,
    sentence: Option<&SentenceConfig>,
    weights: &dyn WeightSource,
) -> Result<(), LoadError> {
    let wrong = |error| LoadError::Model { path: weights.path().to_owned(), error };
    let tensors = weights.tensors();
    if sentence.is_none() {
        refuse_heads(config_json, tensors.keys().map(String::as_str)).map_err(wrong)?;
    }
    let shape_of = |source: &str| {
        let name = checkpoint::resolve(|name| tensors.contains_key(name), source)?;
        Some(tensors[&name].shape.clone())
    };
    config.check_counts(&shape_of).map_err(|error| match error {
        ModelError::MissingTensor { tensor, expected } => {
            missing(weights, &tensor, &format!("{expected:?}"), &checkpoint::looked_for(&tensor))
        }
        error => wrong(error),
    })
}

/// What the small files of a folder say.
pub(super) struct Described {
    pub(super) config_json: Value,
    pub(super) generation_config: Option<Value>,
    pub(super) preprocessor_config: Option<Value>,
    pub(super) config: ModelConfig,
    pub(super) sentence: Option<SentenceConfig>,
    pub(super) tokenizer: Option<Vec<u8>>,
    pub(super) model_max_length: Option<usize>,
    /// The folder of config, weights and tokenizer.
    pub(super) transformer: PathBuf,
}

/// Reads everything but the weights.
pub(super) fn describe(path: &Path) -> Result<Described, LoadError> {
    let modules = read_modules(path)?;
    let transformer = transformer_in(path, modules.as_ref());
    let config_path = transformer.join(CONFIG);
    let text = read_text_if_there(&config_path)?.ok_or_else(|| {
        LoadError::not_a_model(&transformer, "expected a folder in Hugging Face layout, found no config.json")
    })?;
    let config_json = parse_json(&config_path, &text)?;
    let wrong = |error| LoadError::Model { path: path.to_owned(), error };
    let config = ModelConfig::from_json(&config_json).map_err(wrong)?;
    if modules.is_none() {
        // Known before the weights are: from the hub they have still to come.
        refuse_heads(&config_json, []).map_err(wrong)?;
    }
    let sentence = modules.map(|modules| read_sentence(path, &modules)).transpose()?;
    let (sentence, of_tokenizer) = sentence.unzip();
    let tokenizer = read_tokenizer(&transformer, &config_json, &of_tokenizer.unwrap_or_default())?;
    let (tokenizer, model_max_length) = match tokenizer {
        Some(EffectiveTokenizer { json, model_max_length }) => (Some(json), model_max_length),
        None => (None, None),
    };
    // A sentence model's own limit comes before the tokenizer's.
    let has_limit = sentence.as_ref().is_some_and(|sentence: &SentenceConfig| sentence.max_seq_length.is_some());
    let model_max_length = model_max_length.filter(|_| !has_limit);
    let generation_config = match config.generates() {
        true => read_generation_config(&transformer, &config_json)?,
        false => None,
    };
    let preprocessor_config = match config.image_size() {
        Some(size) => read_preprocessor_config(&transformer, size)?,
        None => None,
    };
    Ok(Described {
        config_json,
        generation_config,
        preprocessor_config,
        config,
        sentence,
        tokenizer,
        model_max_length,
        transformer,
    })
}

/// Reads how a model generates text by its own word; `None` where it has no such file.
fn read_generation_config(folder: &Path, config: &Value) -> Result<Option<Value>, LoadError> {
    let path = folder.join(GENERATION_CONFIG);
    let Some(text) = read_text_if_there(&path)? else { return Ok(None) };
    let own = parse_json(&path, &text)?;
    let checked = GenerationConfig::from_json(config, Some(&own));
    checked.map_err(|error| LoadError::Model { path: folder.to_owned(), error })?;
    Ok(Some(own))
}

/// Reads what becomes of images before the model takes them, `size` being what that takes; `None` where it has no such file.
fn read_preprocessor_config(folder: &Path, size: [usize; 2]) -> Result<Option<Value>, LoadError> {
    let path = folder.join(PREPROCESSOR_CONFIG);
    let Some(text) = read_text_if_there(&path)? else { return Ok(None) };
    let own = parse_json(&path, &text)?;
    let checked = ImageProcessor::from_json(&own, size);
    checked.map_err(|error| LoadError::Model { path: folder.to_owned(), error })?;
    Ok(Some(own))
}

/// Reads the tokenizer of the folder that has a model's transformer; `None` where it has none. `config` is the model's
/// `config.json`, `sentence` what its sentence files say of the tokenizer.
fn read_tokenizer(
    folder: &Path,
    config: &Value,
    sentence: &SentenceTokenizer,
) -> Result<Option<EffectiveTokenizer>, LoadError> {
    let files = TokenizerFiles::read(|name| Ok(read_text_if_there(&folder.join(name))?.map(String::into_bytes)))?;
    effective_tokenizer(&files, folder, config, sentence)
}

/// What the files come to; `path` is where they lie.
fn effective_tokenizer(
    files: &TokenizerFiles,
    path: &Path,
    config: &Value,
    sentence: &SentenceTokenizer,
) -> Result<Option<EffectiveTokenizer>, LoadError> {
    files
        .effective(config, sentence)
        .map_err(|error| LoadError::Tokenizer { path: path.to_owned(), error: Box::new(error) })
}

/// The folder of config, weights and tokenizer in a model's: the model's own, unless a readable `modules.json` names another.
pub(super) fn weights_folder(path: &Path) -> PathBuf {
    transformer_in(path, read_modules(path).ok().flatten().as_ref())
}

/// Whether a model's folder has weights that the native engine reads.
pub(super) fn has_weights(path: &Path) -> bool {
    let folder = weights_folder(path);
    [SINGLE, INDEX].iter().any(|name| folder.join(name).is_file())
}

fn transformer_in(path: &Path, modules: Option<&Modules>) -> PathBuf {
    match modules.map_or("", |modules| modules.transformer.as_str()) {
        "" => path.to_owned(),
        inner => path.join(inner),
    }
}

fn read_modules(path: &Path) -> Result<Option<Modules>, LoadError> {
    let Some(text) = read_text_if_there(&path.join(MODULES))? else { return Ok(None) };
    Modules::from_json(&text).map(Some).map_err(|error| LoadError::Sentence { path: path.to_owned(), error })
}

fn read_sentence(path: &Path, modules: &Modules) -> Result<(SentenceConfig, SentenceTokenizer), LoadError> {
    let pooling_path = path.join(&modules.pooling).join(CONFIG);
    let pooling = read_text(&pooling_path).map_err(|error| match error {
        // sentence-transformers makes nothing of it either: how tokens are pooled is the model's to say.
        LoadError::NotFound { .. } => {
            let message = format!("{MODULES} names a Pooling in `{}`, whose config.json is not there", modules.pooling);
            LoadError::not_whole(path, message)
        }
        error => error,
    })?;
    let folder = transformer_in(path, Some(modules));
    let mut settings = TRANSFORMER_CONFIGS.iter().map(|name| folder.join(name));
    let transformer = settings.find_map(|path| read_text_if_there(&path).transpose()).transpose()?;
    let model = read_text_if_there(&path.join(MODEL_CONFIG))?;
    let files = SentenceFiles { pooling: &pooling, model: model.as_deref(), transformer: transformer.as_deref() };
    modules.read(files).map_err(|error| LoadError::Sentence { path: path.to_owned(), error })
}

/// Whether a file of a model's repository is needed, by its path in it. `weights` are the shards, once the index is known.
pub(super) fn is_needed(file: &str, modules: Option<&Modules>, shards: &[String]) -> bool {
    let inner = modules.map_or("", |modules| modules.transformer.as_str());
    let of_transformer = file.strip_prefix(&prefix_of(inner)).is_some_and(|name| {
        let small = tokenizer_files::FILES.contains(&name) || TRANSFORMER_CONFIGS.contains(&name);
        small
            || [CONFIG, GENERATION_CONFIG, PREPROCESSOR_CONFIG, SINGLE, INDEX].contains(&name)
            || shards.iter().any(|one| one == name)
    });
    let of_pooling = modules.is_some_and(|modules| file == format!("{}{CONFIG}", prefix_of(&modules.pooling)));
    file == MODULES || file == MODEL_CONFIG || of_transformer || of_pooling
}

/// What stands before the names of a folder's files in a repository's list.
pub(super) fn prefix_of(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sha2::Sha256;

    use super::super::source::SourceTensor;
    use super::*;

    /// Weights of another format: the golden model's, every value its place in the tensor.
    #[derive(Debug)]
    struct Counting(BTreeMap<String, SourceTensor>);

    impl WeightSource for Counting {
        fn path(&self) -> &Path {
            Path::new("counting")
        }

        fn tensors(&self) -> &BTreeMap<String, SourceTensor> {
            &self.0
        }

        fn types(&self) -> &'static str {
            "F32"
        }

        fn read_f32(&self, name: &str) -> Result<Vec<f32>, LoadError> {
            Ok((0..self.0[name].elements()).map(|place| place as f32).collect())
        }

        fn digest(&self) -> Sha256 {
            Sha256::new()
        }
    }

    #[test]
    fn weights_of_any_format_make_a_model() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/bert");
        let mut tensors = Checkpoint::open_folder(&golden).unwrap().tensors;
        let open = |tensors: &BTreeMap<String, SourceTensor>| {
            ModelFolder::of(describe(&golden).unwrap(), Box::new(Counting(tensors.clone())), &golden, "counting")
        };
        let folder = open(&tensors).unwrap();
        let weight = folder.graph.weights.iter().find(|weight| weight.sources.len() == 1).unwrap();
        let values = folder.read(weight).unwrap();
        assert_eq!((values.len(), values[1]), (element_count(&weight.shape), 1.0));
        // What it lacks, and what it cannot read, is said as of any other.
        let name = folder.sources(weight).unwrap().remove(0);
        tensors.get_mut(&name).unwrap().is_float = false;
        assert!(matches!(open(&tensors), Err(LoadError::DType { tensor, .. }) if tensor == name));
        tensors.remove(&name);
        assert!(matches!(open(&tensors), Err(LoadError::MissingTensor { path, .. }) if path == Path::new("counting")));
    }
}
