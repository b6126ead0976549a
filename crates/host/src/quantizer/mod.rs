//! From a model in floats to a package.
//!
//! A weight's role decides its format: linear weights get `bits`, attention projections their own under mixed precision,
//! embedding tables theirs, vectors (norms and biases) stay f32. Weights are read, quantized and let go one after the
//! other; tensors that the graph does not use are dropped. What it cost is kept in a [`QuantizeReport`], which the
//! package carries with it.

use std::collections::BTreeMap;

use webnibble_common::graph::Weight;
use webnibble_common::package::{FORMAT_VERSION, PackageMeta, TensorMeta};
use webnibble_common::quant::{Bits, Fit, Format, Gram, QuantError, Quantizer};
use webnibble_common::weights::{WeightData, WeightMap};

use crate::calibrate::{CalibrationData, calibrate, observe_sample};
use crate::loader::{ModelFolder, Progress};
use crate::reference::ReferenceError;

mod error;
mod options;
mod report;
mod single;
mod store;
#[cfg(test)]
mod tests;

pub use error::QuantizeError;
pub use options::QuantizeOptions;
pub use report::{GroupReport, QuantizeReport, REPORT, TensorReport};
pub use single::{TensorSource, quantize_tensor};
pub use store::{PackageStore, Prepared, write_package};

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
    let total = model.graph.parameters();
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
        generation_config: model.generation_config.clone(),
        preprocessor_config: model.preprocessor_config.clone(),
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
