//! Scales of activations for int8, measured on sample texts.
//!
//! The model runs in f32 on this machine's processor, and every linear operator's input and output is observed. Ranges
//! are kept whole, but for outlier channels (`ranges`): clipping rare large values, to round the others more finely, cost
//! more than it gave. Then the quantized model runs the same texts in int8. Where its outputs are too far from those in
//! f32, the operators that harm most alone go back to floats, one after another (`sensitivity`).

use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::package::Activations;
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::LinearActivations;
use webnibble_common::weights::WeightMap;
use webnibble_kernels::cpu::Observed;

use crate::loader::{ModelFolder, Progress};
use crate::reference::{Reference, ReferenceError};

mod data;
mod ranges;
mod report;
mod sensitivity;
#[cfg(test)]
mod tests;

pub use data::{CalibrationData, CalibrationDataError};
pub use report::{ActivationReport, LinearReport};

use ranges::Observer;

/// Least mean cosine of int8 outputs to f32 outputs on the sample.
pub const TARGET_COSINE: f64 = 0.99;

/// What calibrating a model found.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// For the package.
    pub activations: Activations,
    /// For people.
    pub report: ActivationReport,
}

/// Measures the activations of `model` on `data`, and decides which linear operators are computed in int8 with the
/// quantized `weights`. `progress` counts texts. Takes its time: a run of the model for each text, at least two times.
///
/// # Errors
/// When the model has no tokenizer, does not run, or its weights are not those of int8 operators.
pub fn calibrate(
    model: &ModelFolder,
    weights: &WeightMap,
    data: &CalibrationData,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Calibration, ReferenceError> {
    calibrate_to(TARGET_COSINE, model, weights, data, progress)
}

/// The same with another least mean cosine.
fn calibrate_to(
    target: f64,
    model: &ModelFolder,
    weights: &WeightMap,
    data: &CalibrationData,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Calibration, ReferenceError> {
    let exact = Reference::of_folder(model)?;
    let inputs = encode(&exact, data)?;
    let (observer, expected) = observe(&exact, &inputs, progress)?;
    let activations = Activations {
        source: data.source().to_owned(),
        samples: inputs.len(),
        linears: model.graph.linears().filter_map(|name| observer.scales(name)).collect(),
    };
    let quantized = exact.with_weights(weights.clone());
    let sample = sensitivity::Sample { inputs: &inputs, expected: &expected, target };
    let chosen = sensitivity::choose(quantized, &activations, sample, progress)?;
    let report = ActivationReport::new(&activations, &chosen, data, target);
    let kept: std::collections::BTreeMap<String, LinearActivations> =
        activations.linears.into_iter().filter(|(name, _)| !chosen.floats.contains(name)).collect();
    Ok(Calibration { activations: Activations { linears: kept, ..activations }, report })
}

/// One input a text, so that no padding is measured. Texts over the model's limit are cut.
fn encode(model: &Reference, data: &CalibrationData) -> Result<Vec<NamedTensors>, ReferenceError> {
    let encode = |text: &String| {
        let input = Input::Text { texts: vec![text.clone()], truncate: true, prompt: PromptChoice::Default };
        Ok(model.inputs(&input)?.tensors)
    };
    data.texts().iter().map(encode).collect()
}

/// Runs the texts through the model in f32, and shows what its linear operators see.
///
/// # Errors
/// When the model has no tokenizer, or does not run.
pub(crate) fn observe_sample(
    model: &ModelFolder,
    data: &CalibrationData,
    progress: &mut dyn FnMut(Progress<'_>),
    show: &mut dyn FnMut(Observed<'_>),
) -> Result<(), ReferenceError> {
    let exact = Reference::of_folder(model)?;
    let inputs = encode(&exact, data)?;
    for (index, input) in inputs.iter().enumerate() {
        exact.outputs_observed(input, show)?;
        progress(Progress { what: "observe", done: index as u64 + 1, total: inputs.len() as u64 });
    }
    Ok(())
}

/// Runs every input in f32: what linear operators saw, and the outputs.
fn observe(
    model: &Reference,
    inputs: &[NamedTensors],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Observer, Vec<NamedTensors>), ReferenceError> {
    let mut observer = Observer::default();
    let mut outputs = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        outputs.push(model.outputs_observed(input, &mut |observed| observer.add(observed))?);
        progress(Progress { what: "calibrate", done: index as u64 + 1, total: inputs.len() as u64 });
    }
    Ok((observer, outputs))
}
