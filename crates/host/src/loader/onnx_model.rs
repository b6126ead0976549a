//! A model that there is in ONNX form alone: config, tokenizer, and files that transformers.js runs.
//!
//! Its weights are somebody else's, so nothing is known of how they were quantized but the bits: by the names that
//! transformers.js gives files, and by what is in a file whose name says nothing. Files of the hub are fetched when it is
//! known which one is wanted.

use std::path::{Path, PathBuf};

use serde_json::Value;
use webnibble_common::graph::Graph;
use webnibble_common::options::{Platform, Settings};
use webnibble_common::package::{FORMAT_VERSION, Header, PackageMeta, QuantizationMeta, SentenceConfig, max_tokens};
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_models::ModelConfig;

use super::checkpoint::SINGLE;
use super::error::LoadError;
use super::folder::{Described, describe};
use super::hub::Hub;
use super::onnx_files::{OnHub, OnnxFile, onnx_files};
use super::package_file::PackageFile;
use super::progress::Progress;
use super::text_file::refuse_stand_in;
use crate::disk::digest_of;
use crate::onnx_file::bits_in;

/// A model in ONNX form, without weights that the native engine reads.
#[derive(Debug)]
pub struct OnnxModel {
    /// Name for people.
    pub name: String,
    /// The folder of config, tokenizer and ONNX files.
    pub path: PathBuf,
    /// `config.json`.
    pub config_json: Value,
    /// The family and its dimensions.
    pub config: ModelConfig,
    /// Pooling and normalization, where the folder says.
    pub sentence: Option<SentenceConfig>,
    /// The `tokenizer.json` that all files of the tokenizer come to, where there is one.
    pub tokenizer: Option<Vec<u8>>,
    /// The tokenizer's limit in tokens, where it has one and the sentence model has none of its own.
    pub model_max_length: Option<usize>,
    /// The graph that the config describes: what is in the files may be another one for the same answer.
    pub graph: Graph,
    /// The files, by their bits.
    pub files: Vec<OnnxFile>,
    hub: Option<OnHub>,
}

impl OnnxModel {
    /// The longest input in tokens, special ones included.
    pub fn max_tokens(&self) -> usize {
        max_tokens(self.config.max_positions(), self.sentence.as_ref(), self.model_max_length)
    }

    /// Opens a folder; `hub` has files that it lacks.
    pub(super) fn open(path: &Path, name: &str, hub: Option<OnHub>) -> Result<OnnxModel, LoadError> {
        let Described { config_json, config, sentence, tokenizer, model_max_length, transformer: path, .. } =
            describe(path)?;
        let is_known = |file: &str| {
            path.join(file).is_file() || hub.as_ref().is_some_and(|hub| hub.files.iter().any(|one| one == file))
        };
        let mut files: Vec<OnnxFile> = onnx_files(is_known).collect();
        for file in &mut files {
            if path.join(&file.name).is_file() {
                refuse_stand_in(&path.join(&file.name))?;
            }
            file.bits = bits_of(&path.join(&file.name), file.bits);
        }
        let graph = config.graph(sentence.as_ref());
        let name = name.to_owned();
        Ok(OnnxModel { name, path, config_json, config, sentence, tokenizer, model_max_length, graph, files, hub })
    }

    /// The caller's settings for this model: its bits are those of a file, chosen for `platform` where nobody chose.
    ///
    /// # Errors
    /// Names the option that none of the files keeps.
    pub fn settings_for(&self, chosen: &Settings, platform: Platform) -> Result<Settings, LoadError> {
        let fixed = [
            ("--scheme", chosen.scheme.is_some()),
            ("--group-size", chosen.granularity.is_some()),
            ("--mixed-precision", chosen.mixed_precision == Some(true)),
            ("--attention-bits", chosen.attention_bits.is_some()),
            ("--embedding-bits", chosen.embedding_bits.is_some()),
            ("--calibrated-weights", chosen.calibrated_weights == Some(true)),
        ];
        if let Some((option, _)) = fixed.iter().find(|(_, chosen)| *chosen) {
            let message = format!("its ONNX files were quantized already: leave out {option}, or give its safetensors");
            return Err(self.error(message));
        }
        let asked = if chosen.quantization == Some(false) { Some(Bits::B32) } else { chosen.bits };
        let preferred: &[Bits] = match platform {
            Platform::Webnn => &[Bits::B8, Bits::B32, Bits::B16],
            Platform::Wasm => &[Bits::B4, Bits::B8, Bits::B32, Bits::B16, Bits::B2],
            // onnxruntime has no kernels on WebGPU for the usual form of 8 bits.
            Platform::Webgpu | Platform::Auto => &[Bits::B4, Bits::B32, Bits::B16, Bits::B8, Bits::B2],
        };
        let wanted = asked.as_ref().map_or(preferred, std::slice::from_ref);
        let bits = wanted.iter().find(|bits| self.file(**bits).is_some());
        let bits = bits.ok_or_else(|| self.no_file(wanted))?;
        Ok(Settings { bits: Some(*bits), ..chosen.clone() })
    }

    /// The file with weights of so many bits.
    pub fn file(&self, bits: Bits) -> Option<&OnnxFile> {
        self.files.iter().find(|file| file.bits == bits)
    }

    /// Fetches the file with weights of so many bits where it has to be, and says of it what a run wants to know, in the
    /// words of packages. There are no planes, and how the weights were quantized is nobody's to say but for the bits.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be fetched or read.
    pub fn facts(&self, bits: Bits, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PackageFile, LoadError> {
        self.facts_by(Hub::from_env, bits, progress)
    }

    pub(super) fn facts_by(
        &self,
        hub: impl FnOnce() -> Result<Hub, LoadError>,
        bits: Bits,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PackageFile, LoadError> {
        let file = self.file(bits).ok_or_else(|| self.no_file(&[bits]))?;
        let path = self.path.join(&file.name);
        if let Some(there) = &self.hub {
            // The weights of a large file lie beside it.
            let data = format!("{}_data", file.name);
            let wanted = there.files.iter().filter(|one| **one == file.name || one.starts_with(&data));
            let missing: Vec<&str> = wanted.map(String::as_str).filter(|one| !self.path.join(one).is_file()).collect();
            if !missing.is_empty() {
                hub()?.fetch_files(&there.id, &missing, progress)?;
            }
        }
        let found = bits_of(&path, file.bits);
        if found != bits {
            let message = format!("{} should have weights of {bits} bits, found {found}", file.name);
            return Err(self.error(message));
        }
        let length = std::fs::metadata(&path).map_err(|error| LoadError::io(&path, error))?.len();
        let header = Header {
            meta: self.meta(bits),
            planes: Vec::new(),
            extras: Default::default(),
            data_start: 0,
            total_bytes: length,
            digest: digest_of(&path).map_err(|error| LoadError::io(&path, error))?,
        };
        Ok(PackageFile { path, header, config: self.config.clone(), graph: self.graph.clone() })
    }

    /// The error of whoever cannot run it.
    pub fn not_native(&self) -> LoadError {
        self.error(format!(
            "it has only an ONNX form, which transformers.js alone runs: take --engine transformers-js, or a model with \
             {SINGLE}"
        ))
    }

    fn meta(&self, bits: Bits) -> PackageMeta {
        let bits = u8::from(bits);
        PackageMeta {
            format_version: FORMAT_VERSION,
            name: self.name.clone(),
            family: self.config.family().to_owned(),
            parameters: self.graph.parameters(),
            config: self.config_json.clone(),
            sentence: self.sentence.clone(),
            generation_config: None,
            preprocessor_config: None,
            model_max_length: self.model_max_length,
            tensors: Default::default(),
            quantization: QuantizationMeta {
                bits,
                scheme: Scheme::Symmetric,
                granularity: Granularity::Tensor,
                mixed_precision: false,
                attention_bits: bits,
                embedding_bits: bits,
            },
            activations: None,
        }
    }

    fn no_file(&self, wanted: &[Bits]) -> LoadError {
        let listed = |bits: &mut dyn Iterator<Item = Bits>| {
            let mut names: Vec<String> = bits.map(|bits| bits.to_string()).collect();
            names.dedup();
            names.join(", ")
        };
        let wanted = listed(&mut wanted.iter().copied());
        let found = listed(&mut self.files.iter().map(|file| file.bits));
        self.error(format!("expected an ONNX file with weights of {wanted} bits, found {found}"))
    }

    fn error(&self, message: String) -> LoadError {
        LoadError::OnnxForm { path: self.path.clone(), message }
    }
}

/// Bits of a file's weights: as its name says, where that says something and where the file is not here to look into.
fn bits_of(path: &Path, by_name: Bits) -> Bits {
    if by_name == Bits::B32 { bits_in(path).unwrap_or(by_name) } else { by_name }
}
