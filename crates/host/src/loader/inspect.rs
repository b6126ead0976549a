//! What is in a model file: family, shapes, types, sizes.

use std::path::Path;

use serde::Serialize;
use webnibble_common::graph::Role;
use webnibble_common::package::{Activations, PackageError, Part, Plane, QuantizationMeta, SentenceConfig, TOKENIZER};

use super::folder::weights_folder;
use super::gguf::{self, is_gguf};
use super::source::WeightSource;
use super::{Checkpoint, LoadError, ModelFolder, PackageFile};

/// What is in a model file or folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// What it is.
    pub kind: ModelKind,
    /// Name of the model, or of the file.
    pub name: String,
    /// The family; `None` where it is not known, which `problem` explains.
    pub family: Option<String>,
    /// Why the model cannot be run, where its tensors could be read all the same.
    pub problem: Option<String>,
    /// Weights that the graph uses, or of all tensors where there is no graph.
    pub parameters: u64,
    /// Pooling of sentence embeddings.
    pub sentence: Option<SentenceConfig>,
    /// The choices that made a package.
    pub quantization: Option<QuantizationMeta>,
    /// What a package knows of its activations, where it was calibrated.
    pub activations: Option<InspectedActivations>,
    /// Bytes of `tokenizer.json`.
    pub tokenizer_bytes: Option<u64>,
    /// Bytes of all tensors, and of a package's extras.
    pub total_bytes: u64,
    /// SHA-256 of a package's header.
    pub digest: Option<String>,
    /// Every tensor.
    pub tensors: Vec<InspectedTensor>,
}

/// What was inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A folder in Hugging Face layout.
    Folder,
    /// A webnibble package.
    Package,
    /// Any other safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

/// Where a package has ranges of activations from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedActivations {
    /// The file that they were measured on, or the built-in sample.
    pub source: String,
    /// Texts of that sample.
    pub samples: usize,
    /// Linear operators that may be computed in int8; the others stay in floats.
    pub linears: usize,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedTensor {
    /// Name in the file; in a package that of the graph.
    pub name: String,
    /// Dimensions, outermost first, without padding.
    pub shape: Vec<usize>,
    /// Type in a checkpoint (`BF16`), format in a package (`q4-sym-g128`).
    pub format: String,
    /// Use in a package.
    pub role: Option<Role>,
    /// Bytes in the file, scales, zero points and padding included.
    pub bytes: u64,
    /// Whether the model's graph uses it; `None` where there is no graph.
    pub used: Option<bool>,
}

impl From<&Activations> for InspectedActivations {
    fn from(known: &Activations) -> Self {
        Self { source: known.source.clone(), samples: known.samples, linears: known.linears.len() }
    }
}

/// Looks into a folder, a package, a GGUF file or a safetensors file. A model that cannot be run is still listed, with its problem.
pub fn inspect(path: &Path, name: &str) -> Result<Inspection, LoadError> {
    if path.is_dir() {
        return inspect_folder(path, name);
    }
    if is_gguf(path) {
        return inspect_gguf(path, name);
    }
    match PackageFile::open(path) {
        Ok(package) => {
            let problem = package.check().err().map(|damage| damage.to_string());
            Ok(Inspection { problem, ..of_package(&package) })
        }
        Err(LoadError::Package { error: PackageError::NotAPackage, .. }) => {
            Ok(of_weights(&Checkpoint::open_file(path)?, ModelKind::Safetensors, name))
        }
        Err(error) => Err(error),
    }
}

fn inspect_folder(path: &Path, name: &str) -> Result<Inspection, LoadError> {
    let problem = match ModelFolder::open(path, name) {
        Ok(folder) => return Ok(of_folder(&folder, ModelKind::Folder)),
        Err(error) => error,
    };
    // The tensors may be worth a look even so; when they cannot be read either, the first problem is the one to tell.
    let Ok(checkpoint) = Checkpoint::open_folder(&weights_folder(path)) else { return Err(problem) };
    let problem = Some(problem.to_string());
    Ok(Inspection { problem, ..of_weights(&checkpoint, ModelKind::Folder, name) })
}

fn inspect_gguf(path: &Path, name: &str) -> Result<Inspection, LoadError> {
    let problem = match ModelFolder::open(path, name) {
        Ok(model) => return Ok(of_folder(&model, ModelKind::Gguf)),
        Err(error) => error,
    };
    let Ok(tensors) = gguf::tensors(path) else { return Err(problem) };
    Ok(Inspection { problem: Some(problem.to_string()), ..of_weights(&tensors, ModelKind::Gguf, name) })
}

fn of_folder(folder: &ModelFolder, kind: ModelKind) -> Inspection {
    let unused = folder.unused();
    let mut inspection = of_weights(&*folder.weights, kind, &folder.name);
    for tensor in &mut inspection.tensors {
        tensor.used = Some(!unused.contains(&tensor.name.as_str()));
    }
    Inspection {
        family: Some(folder.config.family().to_owned()),
        parameters: folder.graph.parameters(),
        sentence: folder.sentence.clone(),
        tokenizer_bytes: folder.tokenizer.as_ref().map(|bytes| bytes.len() as u64),
        ..inspection
    }
}

fn of_weights(weights: &dyn WeightSource, kind: ModelKind, name: &str) -> Inspection {
    let tensors: Vec<InspectedTensor> = weights
        .tensors()
        .iter()
        .map(|(name, tensor)| InspectedTensor {
            name: name.clone(),
            shape: tensor.shape.clone(),
            format: tensor.dtype.clone(),
            role: None,
            bytes: tensor.bytes(),
            used: None,
        })
        .collect();
    Inspection {
        kind,
        name: name.to_owned(),
        family: None,
        problem: None,
        parameters: weights.tensors().values().fold(0, |all: u64, tensor| all.saturating_add(tensor.elements() as u64)),
        sentence: None,
        quantization: None,
        activations: None,
        tokenizer_bytes: None,
        total_bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        digest: None,
        tensors,
    }
}

fn of_package(package: &PackageFile) -> Inspection {
    let header = &package.header;
    let meta = &header.meta;
    let bytes_of = |name: &str| {
        let parts = [Part::Packed, Part::Scale, Part::Zero].into_iter();
        parts.filter_map(|part| header.plane(name, part)).map(Plane::bytes).sum()
    };
    let used = |name: &String| package.graph.weights.iter().any(|weight| weight.name == *name);
    let tensors = meta.tensors.iter().map(|(name, tensor)| InspectedTensor {
        name: name.clone(),
        shape: tensor.shape.clone(),
        format: tensor.format.to_string(),
        role: Some(tensor.role),
        bytes: bytes_of(name),
        used: Some(used(name)),
    });
    Inspection {
        kind: ModelKind::Package,
        name: meta.name.clone(),
        family: Some(meta.family.clone()),
        problem: None,
        parameters: meta.parameters,
        sentence: meta.sentence.clone(),
        quantization: Some(meta.quantization.clone()),
        activations: meta.activations.as_ref().map(InspectedActivations::from),
        tokenizer_bytes: header.extras.get(TOKENIZER).copied(),
        total_bytes: header.total_bytes - header.data_start,
        digest: Some(header.digest.clone()),
        tensors: tensors.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{checkpoint_bytes, tiny_model, write, write_model};
    use super::*;
    use crate::quantizer::{QuantizeOptions, quantize, write_package};

    #[test]
    fn a_folder_and_its_package() {
        let folder = tempfile::tempdir().unwrap();
        write_model(folder.path(), &tiny_model());
        let inspection = inspect(folder.path(), "tiny").unwrap();
        assert_eq!((inspection.kind, inspection.family.as_deref()), (ModelKind::Folder, Some("bert")));
        let unused: Vec<&str> =
            inspection.tensors.iter().filter(|t| t.used == Some(false)).map(|t| t.name.as_str()).collect();
        assert_eq!((unused, inspection.tensors[0].format.as_str()), (vec!["pooler.dense.bias"], "F32"));

        let model = ModelFolder::open(folder.path(), "tiny").unwrap();
        let quantized = quantize(&model, &QuantizeOptions::default(), &mut |_| {}).unwrap();
        let path = folder.path().join("tiny.safetensors");
        let package = write_package(&quantized, &path).unwrap();
        let of_package = inspect(&path, "other").unwrap();
        assert_eq!((of_package.kind, of_package.name.as_str()), (ModelKind::Package, "tiny"));
        assert_eq!(of_package.parameters, inspection.parameters);
        assert_eq!(of_package.quantization, Some(quantized.meta.quantization));
        let tensors: u64 = of_package.tensors.iter().map(|tensor| tensor.bytes).sum();
        let extras: u64 = package.header.planes.iter().filter(|p| p.part == Part::Extra).map(Plane::bytes).sum();
        assert_eq!(tensors + extras, of_package.total_bytes);
        assert_eq!(tensors, quantized.report.total().bytes);
    }

    #[test]
    fn what_cannot_be_run_is_listed_with_its_problem() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "model.safetensors", &checkpoint_bytes(&[("a", &[2, 3], &[0.0; 6])]));
        let plain = inspect(&folder.path().join("model.safetensors"), "model").unwrap();
        assert_eq!((plain.kind, plain.parameters, plain.total_bytes), (ModelKind::Safetensors, 6, 24));
        write(folder.path(), "config.json", br#"{"model_type": "mamba"}"#);
        let inspection = inspect(folder.path(), "model").unwrap();
        assert!(inspection.problem.unwrap().contains("`mamba` is not known"));
        assert_eq!((inspection.tensors.len(), inspection.family), (1, None));
        let absent = inspect(Path::new("absent"), "absent").unwrap_err().to_string();
        assert_eq!(absent, "absent: there is no such file or folder");
    }
}
