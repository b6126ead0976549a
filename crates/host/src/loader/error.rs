//! Why a model cannot be loaded.

use std::io;
use std::path::{Path, PathBuf};

use webnibble_common::package::PackageError;
use webnibble_common::safetensors::HeaderError;
use webnibble_common::stand_in::StandIn;
use webnibble_models::ModelError;
use webnibble_models::sentence::SentenceError;
use webnibble_models::tokenizer_files::TokenizerFilesError;

use super::gguf::error::GgufError;

/// Why a model cannot be loaded. Messages name the file, the tensor, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A path that does not exist.
    #[error("{}: there is no such file or folder", .path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A name that neither the local models folder nor the hub has.
    #[error("no model is called `{name}`: {reason}{}", hint(.nearest))]
    UnknownName {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        reason: String,
        /// Known names that are alike.
        nearest: Vec<String>,
    },
    /// The hub could not be asked, or did not give a file.
    #[error(
        "fetching `{name}` from the hub: {message}; a folder or package that is here already can be given by its path"
    )]
    Hub {
        /// The model.
        name: String,
        /// What went wrong.
        message: String,
    },
    /// A file could not be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A folder without a model in it, or a file that is none.
    #[error("{}: {message}", .path.display())]
    NotAModel {
        /// The folder or file.
        path: PathBuf,
        /// What it lacks.
        message: String,
    },
    /// Something else lies where a file should be.
    #[error("{}: {what}", .path.display())]
    StandIn {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: StandIn,
    },
    /// A model that is not in the hub's cache, where the hub may not be asked.
    #[error("`{name}` is not in the hub's cache {}, and {variable} says not to ask the hub", .cache.display())]
    Offline {
        /// The model.
        name: String,
        /// The cache.
        cache: PathBuf,
        /// The variable that is set.
        variable: &'static str,
    },
    /// A model's folder that lacks a file which another of its files calls for.
    #[error("{}: {message}", .path.display())]
    NotWhole {
        /// The folder.
        path: PathBuf,
        /// What is missing, and what calls for it.
        message: String,
    },
    /// A file that should be JSON.
    #[error("{}: should be JSON: {message}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A model in ONNX form, of which something else was asked.
    #[error("{}: {message}", .path.display())]
    OnnxForm {
        /// The folder.
        path: PathBuf,
        /// What was expected, what was found, and what to do.
        message: String,
    },
    /// A configuration that no family takes.
    #[error("{}: {error}", .path.display())]
    Model {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: ModelError,
    },
    /// Files of sentence-transformers that cannot be followed.
    #[error("{}: {error}", .path.display())]
    Sentence {
        /// The folder.
        path: PathBuf,
        /// What is wrong with them.
        error: SentenceError,
    },
    /// Files that make no tokenizer.
    #[error("{}: {error}", .path.display())]
    Tokenizer {
        /// The folder.
        path: PathBuf,
        /// What is wrong with them.
        error: Box<TokenizerFilesError>,
    },
    /// A safetensors file whose header cannot be read.
    #[error("{}: {error}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: HeaderError,
    },
    /// A folder with several GGUF files, any of which may be meant.
    #[error("{}: expected one model, found {} GGUF files: {}", .path.display(), .files.len(), .files.join(", "))]
    SeveralGguf {
        /// The folder.
        path: PathBuf,
        /// Their names.
        files: Vec<String>,
    },
    /// A GGUF file that cannot be read.
    #[error("{}: {error}", .path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: GgufError,
    },
    /// A package that cannot be used.
    #[error("{}: {error}", .path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: PackageError,
    },
    /// A file that ends inside its header.
    #[error("{}: the header should have {expected} bytes, the file has {found}: it is truncated", .path.display())]
    TruncatedHeader {
        /// The file.
        path: PathBuf,
        /// Bytes that the header says it has.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A tensor's byte range is wrong: outside the file, over another tensor's, or not as long as its shape.
    #[error("{}: tensor `{tensor}`, bytes {begin}..{end} of the data: {message}", .path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// First byte, as the header says.
        begin: u64,
        /// One past the last byte, as the header says.
        end: u64,
        /// What is wrong with it.
        message: String,
    },
    /// A file with more bytes than its header speaks of.
    #[error("{}: the header's tensors end at byte {expected}, the file at {found}", .path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// End of the last tensor.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The checkpoint lacks a tensor of the model.
    #[error("{}: tensor `{tensor}` is missing: expected {expected}, looked for {}; found {found}", .path.display(), .looked_for.join(", "))]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The graph's name for it.
        tensor: String,
        /// Its shape.
        expected: String,
        /// The names it may have.
        looked_for: Vec<String>,
        /// What the checkpoint has that is nearest, or that it has nothing.
        found: String,
    },
    /// A tensor has another shape than the model's configuration asks for.
    #[error("{}: tensor `{tensor}` should be {expected} by config.json, found {found}", .path.display())]
    Shape {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor, or the tensors that are stacked.
        tensor: String,
        /// By the configuration.
        expected: String,
        /// In the checkpoint.
        found: String,
    },
    /// A tensor has a type that weights do not have.
    #[error("{}: tensor `{tensor}` should be {expected}, found {found}", .path.display())]
    DType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The types that are read of its format.
        expected: &'static str,
        /// Its type.
        found: String,
    },
}

impl LoadError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => LoadError::NotFound { path: path.to_owned() },
            _ => LoadError::Io { path: path.to_owned(), error },
        }
    }

    /// The file that the system keeps back, where that is what failed.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            LoadError::Io { path, .. } => Some(path),
            _ => None,
        }
    }

    /// A header that cannot be read, or what lies in the place of its file.
    pub(crate) fn header(path: &Path, error: HeaderError) -> Self {
        match error {
            HeaderError::StandIn(what) => LoadError::StandIn { path: path.to_owned(), what },
            error => LoadError::Header { path: path.to_owned(), error },
        }
    }

    /// The same of a package.
    pub(crate) fn package(path: &Path, error: PackageError) -> Self {
        match error {
            PackageError::Header(HeaderError::StandIn(what)) => LoadError::StandIn { path: path.to_owned(), what },
            error => LoadError::Package { path: path.to_owned(), error },
        }
    }

    pub(crate) fn not_whole(path: &Path, message: String) -> Self {
        LoadError::NotWhole { path: path.to_owned(), message }
    }

    pub(crate) fn not_a_model(path: &Path, message: impl Into<String>) -> Self {
        LoadError::NotAModel { path: path.to_owned(), message: message.into() }
    }
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) }
}
