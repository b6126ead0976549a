//! Models from outside: a name or a path becomes a checked [`ModelFolder`] or [`PackageFile`].
//!
//! [`find`] looks for what a person typed: a path that exists, then the local models folder, then the hub ([`hub`]).
//! [`ModelFolder`] is a folder in Hugging Face layout, whose weights are read tensor by tensor from a [`WeightSource`], of which
//! there is one a format of files (safetensors: [`Checkpoint`]; GGUF, which is a file and no folder: [`GgufWeights`]);
//! [`PackageFile`] is what the quantizer wrote; [`OnnxModel`] is for transformers.js alone. All are checked when opened, before anything large is read: sizes and
//! ranges of the files, and that every tensor of the model's graph is there in the right shape.

use std::path::Path;

use webnibble_common::graph::Graph;
use webnibble_common::package::SentenceConfig;
use webnibble_models::ModelConfig;

mod checkpoint;
mod error;
mod find;
mod folder;
mod gguf;
mod hints;
pub mod hub;
mod hub_env;
mod inspect;
mod names;
mod onnx_files;
mod onnx_model;
mod package_file;
mod progress;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod text_file;

pub use checkpoint::Checkpoint;
pub use error::LoadError;
pub use find::{FoundModel, find, models_dir};
pub use folder::ModelFolder;
pub(crate) use folder::PREPROCESSOR_CONFIG;
use folder::has_weights;
use gguf::is_gguf;
pub use gguf::{GgufError, GgufWeights};
pub(crate) use hints::hint_to_move;
pub use inspect::{InspectedTensor, Inspection, ModelKind, inspect};
pub use names::{DEFAULT_MODEL, SHORT_NAMES, nearest};
use onnx_files::has_onnx;
pub use onnx_files::{OnHub, OnnxFile};
pub(crate) use onnx_files::{SUBFOLDER, onnx_names};
pub use onnx_model::OnnxModel;
pub use package_file::PackageFile;
pub use progress::Progress;
pub use source::{SourceTensor, WeightSource};
pub(crate) use text_file::refuse_stand_in;

pub use crate::disk::use_cache;

/// A model that is ready to be quantized or served.
#[derive(Debug)]
pub enum Model {
    /// A folder in Hugging Face layout, or a GGUF file: weights that are read as floats.
    Folder(Box<ModelFolder>),
    /// A package: weights quantized already.
    Package(Box<PackageFile>),
    /// A model in ONNX form alone, which transformers.js runs.
    Onnx(Box<OnnxModel>),
}

impl Model {
    /// Finds a model by name or path, fetching it where it has to be, and opens it.
    pub fn load(name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Model, LoadError> {
        let FoundModel { path, name, on_hub } = find(name, progress)?;
        match on_hub {
            Some(hub) if !has_weights(&path) => Ok(Model::Onnx(Box::new(OnnxModel::open(&path, &name, Some(hub))?))),
            _ => Model::open(&path, &name),
        }
    }

    /// Opens a folder, a GGUF file or a package file; `name` is for people.
    pub fn open(path: &Path, name: &str) -> Result<Model, LoadError> {
        if !has_weights(path) && has_onnx(path) {
            return Ok(Model::Onnx(Box::new(OnnxModel::open(path, name, None)?)));
        }
        if path.is_dir() || is_gguf(path) {
            return Ok(Model::Folder(Box::new(ModelFolder::open(path, name)?)));
        }
        Ok(Model::Package(Box::new(PackageFile::open(path)?)))
    }

    /// Name of the model, for people.
    pub fn name(&self) -> &str {
        match self {
            Model::Folder(folder) => &folder.name,
            Model::Package(package) => &package.header.meta.name,
            Model::Onnx(model) => &model.name,
        }
    }

    /// What is said of its sentence embeddings, where it makes them.
    pub fn sentence(&self) -> Option<&SentenceConfig> {
        match self {
            Model::Folder(folder) => folder.sentence.as_ref(),
            Model::Package(package) => package.header.meta.sentence.as_ref(),
            Model::Onnx(model) => model.sentence.as_ref(),
        }
    }

    /// The family and its dimensions.
    pub fn config(&self) -> &ModelConfig {
        match self {
            Model::Folder(folder) => &folder.config,
            Model::Package(package) => &package.config,
            Model::Onnx(model) => &model.config,
        }
    }

    /// Its longest input in tokens, special ones included.
    pub fn max_tokens(&self) -> usize {
        match self {
            Model::Folder(folder) => folder.max_tokens(),
            Model::Package(package) => package.max_tokens(),
            Model::Onnx(model) => model.max_tokens(),
        }
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        match self {
            Model::Folder(folder) => &folder.graph,
            Model::Package(package) => &package.graph,
            Model::Onnx(model) => &model.graph,
        }
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Model::Folder(folder) => &folder.path,
            Model::Package(package) => &package.path,
            Model::Onnx(model) => &model.path,
        }
    }
}
