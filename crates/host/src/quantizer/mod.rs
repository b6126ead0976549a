//! From a model in floats to a package.
//!
//! A weight's role decides its format: linear weights get `bits`, attention projections their own under mixed precision,
//! embedding tables theirs, vectors (norms and biases) stay f32. Weights are read, quantized and let go one after the
//! other; tensors that the graph does not use are dropped. What it cost is kept in a [`QuantizeReport`], which the
//! package carries with it.

use std::collections::BTreeMap;

use webnibble_common::graph::{Role, Weight};
use webnibble_common::package::{FORMAT_VERSION, PackageMeta, QuantizationMeta, TensorMeta};
use webnibble_common::profiles::ResolvedSettings;
use webnibble_common::quant::{Bits, Fit, Format, Gram, Granularity, QuantError, Quantizer, Scheme};
use webnibble_common::weights::{WeightData, WeightMap};

use crate::calibrate::{CalibrationData, DataError, calibrate, observe_sample};
use crate::loader::{LoadError, ModelFolder, Progress};
use crate::reference::ReferenceError;

mod report;
mod single;
mod store;
#[cfg(test)]
mod tests;

pub use report::{GroupReport, QuantizeReport, REPORT, TensorReport};
pub use single::{TensorSource, quantize_tensor};
pub use store::{PackageStore, Prepared, write_package};

/// How a model is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct QuantizeOptions {
    /// Bits of linear weights.
    pub bits: Bits,
    /// Where zero lies.
    pub scheme: Scheme,
    /// Weights that share a scale.
    pub granularity: Granularity,
    /// Give attention projections bits of their own.
    pub mixed_precision: bool,
    /// Bits of attention projections under mixed precision.
    pub attention_bits: Bits,
    /// Bits of embedding tables; 8 and fewer have scales as linear weights have.
    pub embedding_bits: Bits,
    /// Bits of activations: 8 calibrates the model, 32 leaves them in floats.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// Fit weights of 8 bits and fewer to what they are multiplied by, on sample texts.
    #[serde(default)]
    pub calibrated_weights: bool,
    /// What scales are chosen for.
    pub fit: Fit,
}

/// Reports that were written before there was a choice.
fn floats() -> Bits {
    Bits::B32
}

impl Default for QuantizeOptions {
    /// 4 bits, symmetric, in groups of 128, embeddings in f16.
    fn default() -> Self {
        Self {
            bits: Bits::B4,
            scheme: Scheme::Symmetric,
            granularity: Granularity::Group(128),
            mixed_precision: false,
            attention_bits: Bits::B8,
            embedding_bits: Bits::B16,
            activation_bits: Bits::B32,
            calibrated_weights: false,
            fit: Fit::SquaredError,
        }
    }
}

impl From<&ResolvedSettings> for QuantizeOptions {
    fn from(settings: &ResolvedSettings) -> Self {
        Self {
            bits: settings.bits.value,
            scheme: settings.scheme.value,
            granularity: settings.granularity.value,
            mixed_precision: settings.mixed_precision.value,
            attention_bits: settings.attention_bits.value,
            embedding_bits: settings.embedding_bits.value,
            activation_bits: settings.activation_bits.value,
            calibrated_weights: settings.calibrated_weights.value,
            fit: Fit::SquaredError,
        }
    }
}

impl QuantizeOptions {
    /// The reference: every weight as the checkpoint has it, in f32.
    pub fn reference() -> Self {
        Self { bits: Bits::B32, embedding_bits: Bits::B32, ..Self::default() }
    }

    /// Whether sample texts have a say in the result.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated_weights || self.activation_bits == Bits::B8
    }

    /// Bits of weights with a role; `None` for vectors, which are f32 whatever is asked for.
    pub fn bits_of(&self, role: Role) -> Option<Bits> {
        match role {
            Role::Attention if self.mixed_precision => Some(self.attention_bits),
            Role::Attention | Role::Linear => Some(self.bits),
            Role::Embedding => Some(self.embedding_bits),
            Role::Vector => None,
        }
    }

    /// The format of a weight.
    pub fn format_of(&self, weight: &Weight) -> Format {
        match (self.bits_of(weight.role), weight.shape.len()) {
            (None, _) | (_, 1) | (Some(Bits::B32), _) => Format::F32,
            (Some(Bits::B16), _) => Format::F16,
            (Some(bits), _) => Format { bits, scheme: self.scheme, granularity: self.granularity },
        }
    }

    fn meta(&self) -> QuantizationMeta {
        QuantizationMeta {
            bits: self.bits.into(),
            scheme: self.scheme,
            granularity: self.granularity,
            mixed_precision: self.mixed_precision,
            attention_bits: self.bits_of(Role::Attention).unwrap_or(self.bits).into(),
            embedding_bits: self.embedding_bits.into(),
        }
    }
}

/// A quantized model in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// What the package will say of it.
    pub meta: PackageMeta,
    /// Every weight of the graph.
    pub weights: WeightMap,
    /// `tokenizer.json`, where the model has one.
    pub tokenizer: Option<Vec<u8>>,
    /// What quantizing cost.
    pub report: QuantizeReport,
}

/// Why a model was not quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A weight could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A weight could not be quantized.
    #[error("tensor `{tensor}`: {error}")]
    Quant {
        /// The weight, by its name in the graph.
        tensor: String,
        /// What is wrong with it.
        error: QuantError,
    },
    /// A model could not be calibrated.
    #[error("calibrating: {0}")]
    Calibrate(#[from] Box<ReferenceError>),
    /// The calibration data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The package could not be written.
    #[error("writing {}: {message}", .path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What went wrong.
        message: String,
    },
    /// A tensor to quantize that is none.
    #[error("{0}")]
    Source(String),
}

impl QuantizeError {
    /// The file that the system keeps back, where that is what failed.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::Write { path, .. } => Some(path),
            Self::Load(error) => error.file(),
            _ => None,
        }
    }
}

/// Quantizes a model; what is calibrated is calibrated on the built-in sample. `progress` counts weights, then texts.
///
/// # Errors
/// When a weight cannot be read, is not finite or too large, for a group size that no format has, and when a model cannot
/// be calibrated that is to be.
pub fn quantize(
    model: &ModelFolder,
    options: &QuantizeOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Quantized, QuantizeError> {
    quantize_with(model, options, &CalibrationData::built_in(), progress)
}

/// Quantizes a model with calibration data of one's own.
///
/// # Errors
/// As [`quantize`].
pub fn quantize_with(
    model: &ModelFolder,
    options: &QuantizeOptions,
    data: &CalibrationData,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Quantized, QuantizeError> {
    let grams = match options.calibrated_weights {
        true => gather(model, options, data, progress).map_err(Box::new)?,
        false => Grams::default(),
    };
    let total = model.config.parameters();
    let mut done = 0;
    let (mut weights, mut tensors, mut rows) = (WeightMap::new(), BTreeMap::new(), Vec::new());
    for weight in &model.graph.weights {
        let values = model.read(weight)?;
        let format = options.format_of(weight);
        let (data, row) = quantize_weight(weight, &values, format, options.fit, grams.get(&weight.name))
            .map_err(|error| QuantizeError::Quant { tensor: weight.name.clone(), error })?;
        weights.insert(weight.name.clone(), data);
        tensors.insert(weight.name.clone(), TensorMeta { shape: weight.shape.clone(), role: weight.role, format });
        rows.push(row);
        done += values.len() as u64;
        progress(Progress { what: "quantize", done, total });
    }
    let calibration = match options.activation_bits {
        Bits::B8 => Some(calibrate(model, &weights, data, progress).map_err(Box::new)?),
        _ => None,
    };
    let (activations, calibration) = calibration.map(|found| (found.activations, found.report)).unzip();
    let dropped = model.unused().into_iter().map(str::to_owned).collect();
    let meta = PackageMeta {
        format_version: FORMAT_VERSION,
        name: model.name.clone(),
        family: model.config.family().to_owned(),
        parameters: total,
        config: model.config_json.clone(),
        sentence: model.sentence.clone(),
        model_max_length: model.model_max_length,
        tensors,
        quantization: options.meta(),
        activations,
    };
    let report = QuantizeReport { options: *options, tensors: rows, dropped, calibration };
    Ok(Quantized { meta, weights, tokenizer: model.tokenizer.clone(), report })
}

fn quantize_weight(
    weight: &Weight,
    values: &[f32],
    format: Format,
    fit: Fit,
    inputs: Option<&Gram>,
) -> Result<(WeightData, TensorReport), QuantError> {
    let mut row = TensorReport::new(&weight.name, weight.role, format, &weight.shape);
    if weight.shape.len() == 1 {
        check_finite(values)?;
        row.sums.add_exact(values, values.len().next_multiple_of(4) * 4);
        return Ok((WeightData::Vector(values.to_vec()), row));
    }
    let quantizer = Quantizer::for_format(format).fit(fit);
    let tensor = match inputs {
        Some(inputs) => quantizer.quantize_calibrated(values, &weight.shape, inputs)?,
        None => quantizer.quantize(values, &weight.shape)?,
    };
    row.sums.add(values, &tensor);
    Ok((WeightData::Matrix(tensor), row))
}

/// What the inputs of linear operators add up to, by the name of their weight.
type Grams = BTreeMap<String, Gram>;

/// Runs the sample through the model in f32 and adds up the inputs of operators whose weights become integers.
fn gather(
    model: &ModelFolder,
    options: &QuantizeOptions,
    data: &CalibrationData,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Grams, ReferenceError> {
    let integer = |weight: &&Weight| options.format_of(weight).bits.is_integer();
    let mut wanted: Vec<&str> = Vec::new();
    wanted.extend(model.graph.weights.iter().filter(integer).map(|weight| weight.name.as_str()));
    let mut grams = Grams::new();
    observe_sample(model, data, progress, &mut |observed| {
        if wanted.contains(&observed.weight) {
            let gram = grams.entry(observed.weight.to_owned()).or_insert_with(|| Gram::new(observed.input_channels));
            gram.add(observed.input);
        }
    })?;
    Ok(grams)
}

/// Vectors are not quantized, but have to be finite like everything else.
fn check_finite(values: &[f32]) -> Result<(), QuantError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(QuantError::NotFinite { index, row: 0, col: index, value: values[index] }),
        None => Ok(()),
    }
}
