//! Which operators may be int8: all of them, less those that harm most, until the sample's outputs are near enough.

use std::collections::BTreeMap;

use webnibble_common::io::NamedTensors;
use webnibble_common::package::Activations;

use crate::loader::Progress;
use crate::reference::{Reference, ReferenceError, quantization_error};

/// Inputs that the harm of a single operator is measured on: there are as many runs as there are operators.
const SINGLE_INPUTS: usize = 16;

/// Inputs and their outputs in f32, and how near to these outputs should be.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub(super) inputs: &'a [NamedTensors],
    pub(super) expected: &'a [NamedTensors],
    pub(super) target: f64,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen {
    /// Operators that stay in floats, worst first.
    pub(super) floats: Vec<String>,
    /// Mean cosine to f32 with quantized weights and activations in floats.
    pub(super) cosine_floats: f64,
    /// With every operator in int8.
    pub(super) cosine_all: f64,
    /// With those that were chosen.
    pub(super) cosine: f64,
    /// `1 − cosine` with one operator alone in int8, where it was measured.
    pub(super) harm: BTreeMap<String, f64>,
}

/// Decides which operators of `activations` stay in floats.
pub(super) fn choose(
    model: Reference,
    activations: &Activations,
    sample: Sample<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Chosen, ReferenceError> {
    let cosine_floats = sample.cosine(&model, "check floats", progress)?;
    let mut model = model.with_activations(activations)?;
    let cosine_all = sample.cosine(&model, "check int8", progress)?;
    let mut chosen =
        Chosen { floats: Vec::new(), cosine_floats, cosine_all, cosine: cosine_all, harm: BTreeMap::new() };
    if cosine_all >= sample.target {
        return Ok(chosen);
    }
    (model, chosen.harm) = harm_of_each(model, activations, sample, progress)?;
    model = model.with_activations(activations)?;
    let mut worst: Vec<&String> = chosen.harm.keys().collect();
    worst.sort_by(|a, b| chosen.harm[*b].total_cmp(&chosen.harm[*a]));
    for name in worst {
        if chosen.cosine >= sample.target {
            break;
        }
        model.leave_in_floats(name);
        chosen.floats.push(name.clone());
        chosen.cosine = sample.cosine(&model, "check int8", progress)?;
    }
    Ok(chosen)
}

/// `1 − cosine` of each operator alone.
fn harm_of_each(
    mut model: Reference,
    activations: &Activations,
    sample: Sample<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Reference, BTreeMap<String, f64>), ReferenceError> {
    let few = sample.inputs.len().min(SINGLE_INPUTS);
    let few = Sample { inputs: &sample.inputs[..few], expected: &sample.expected[..few], ..sample };
    let (mut harm, total) = (BTreeMap::new(), activations.linears.len() as u64);
    for (index, (name, scales)) in activations.linears.iter().enumerate() {
        let linears = BTreeMap::from([(name.clone(), scales.clone())]);
        model = model.with_activations(&Activations { linears, ..activations.clone() })?;
        harm.insert(name.clone(), 1.0 - few.cosine(&model, "", &mut |_| {})?);
        progress(Progress { what: "find what int8 harms", done: index as u64 + 1, total });
    }
    Ok((model, harm))
}

impl Sample<'_> {
    /// Mean cosine of the model's outputs to those expected.
    fn cosine(
        &self,
        model: &Reference,
        what: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<f64, ReferenceError> {
        let mut sum = 0.0;
        for (index, (input, expected)) in self.inputs.iter().zip(self.expected).enumerate() {
            let found = model.outputs_of(input, &[])?;
            // Outputs of the same graph have the same names and shapes.
            sum += quantization_error(&found, expected).map_or(0.0, |error| error.cosine);
            progress(Progress { what, done: index as u64 + 1, total: self.inputs.len() as u64 });
        }
        Ok(sum / self.inputs.len() as f64)
    }
}
