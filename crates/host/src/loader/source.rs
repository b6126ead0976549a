//! Where a model's weights in floats come from, whatever the format of their files.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use sha2::Sha256;
use webnibble_common::tensor::element_count;

use super::error::LoadError;
use super::names;

/// The tensors of a model, in files of one format. What the files say of themselves is read and checked when they are opened;
/// values are read when they are asked for, so that a model is never in memory as a whole.
///
/// There are [`Checkpoint`](super::Checkpoint) for safetensors and [`GgufWeights`](super::GgufWeights). Another format implements
/// this, and `folder.rs` opens it where its files are there.
pub trait WeightSource: Debug + Send + Sync {
    /// The file, or the folder of several.
    fn path(&self) -> &Path;

    /// Every tensor, by its name in a checkpoint of Hugging Face's, whatever the files call it.
    fn tensors(&self) -> &BTreeMap<String, SourceTensor>;

    /// Names of the element types that are read as f32, for people.
    fn types(&self) -> &'static str;

    /// The values of a tensor as f32, row-major.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::DType`] where [`SourceTensor::is_float`] is false, and failures to read.
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, LoadError>;

    /// SHA-256 of what tells these weights from others without reading gigabytes. Who has more to tell adds to it.
    fn digest(&self) -> Sha256;
}

/// Where a tensor lies, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTensor {
    /// The file.
    pub file: PathBuf,
    /// Element type by its name in the format, for example `BF16`.
    pub dtype: String,
    /// Whether its values can be read as f32.
    pub is_float: bool,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

impl SourceTensor {
    /// Bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.end - self.begin
    }

    /// Number of elements; what was opened has no shape of which nothing holds as many.
    pub fn elements(&self) -> usize {
        element_count(&self.shape)
    }
}

/// The error for a tensor that is not there, with those whose names are near.
pub(super) fn missing(source: &dyn WeightSource, tensor: &str, expected: &str, looked_for: &[String]) -> LoadError {
    let names: Vec<&str> = source.tensors().keys().map(String::as_str).collect();
    let nearest = names::nearest(tensor, &names);
    let found = match (names.len(), nearest.is_empty()) {
        (0, _) => "no tensors at all".to_owned(),
        (count, true) => format!("{count} others, such as {}", names[..count.min(3)].join(", ")),
        (count, false) => format!("{} among {count}", nearest.join(", ")),
    };
    LoadError::MissingTensor {
        path: source.path().to_owned(),
        tensor: tensor.to_owned(),
        expected: expected.to_owned(),
        looked_for: looked_for.to_vec(),
        found,
    }
}
