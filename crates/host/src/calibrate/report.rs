//! What calibrating found, for people.

use serde::{Deserialize, Serialize};
use webnibble_common::package::Activations;

use super::CalibrationData;
use super::sensitivity::Chosen;

/// What calibrating found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationReport {
    /// What it was measured on.
    pub source: String,
    /// SHA-256 of the texts.
    pub digest: String,
    /// Texts.
    pub samples: usize,
    /// Mean cosine to f32 that was to be kept on them.
    pub target_cosine: f64,
    /// Mean cosine with quantized weights and activations in floats.
    pub cosine_weights_only: f64,
    /// With every linear operator in int8.
    pub cosine_all_int8: f64,
    /// With those in int8 that the package says.
    pub cosine: f64,
    /// Every linear operator.
    pub linears: Vec<LinearReport>,
}

/// One linear operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearReport {
    /// Name of its weight.
    pub name: String,
    /// Whether it is computed in int8.
    pub int8: bool,
    /// Channels of its input that are shifted.
    pub shifted_inputs: usize,
    /// Channels of its output that are shifted.
    pub shifted_outputs: usize,
    /// `1 − cosine` with this operator alone in int8, where it was measured: only if all of them are too much.
    pub harm: Option<f64>,
}

impl ActivationReport {
    pub(super) fn new(activations: &Activations, chosen: &Chosen, data: &CalibrationData, target_cosine: f64) -> Self {
        let linears = activations.linears.iter().map(|(name, scales)| LinearReport {
            name: name.clone(),
            int8: !chosen.floats.contains(name),
            shifted_inputs: scales.input.shifts.len(),
            shifted_outputs: scales.output.shifts.len(),
            harm: chosen.harm.get(name).copied(),
        });
        Self {
            source: data.source().to_owned(),
            digest: data.digest(),
            samples: activations.samples,
            target_cosine,
            cosine_weights_only: chosen.cosine_floats,
            cosine_all_int8: chosen.cosine_all,
            cosine: chosen.cosine,
            linears: linears.collect(),
        }
    }

    /// The operators that stay in floats.
    pub fn floats(&self) -> impl Iterator<Item = &LinearReport> {
        self.linears.iter().filter(|linear| !linear.int8)
    }
}
