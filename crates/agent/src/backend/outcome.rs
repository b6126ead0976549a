//! What a backend is asked and tells: of the end of loading, of a run, and of options that it set otherwise than asked.

use webnibble_common::graph::Graph;
use webnibble_common::quant::Bits;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{Adjustment, ErrorCode, KernelTime, RemoteError};

use crate::error::error;

/// What the end of loading took, in ms; nothing where nothing of the kind was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Built {
    /// Building pipelines or graphs.
    pub(crate) compile_ms: Option<f64>,
    /// Running what was built, to choose among it.
    pub(crate) choosing_ms: Option<f64>,
}

/// What one run is given and asked for.
#[derive(Clone, Copy)]
pub(crate) struct RunRequest<'a> {
    /// By the names of the graph's inputs. None of a run that chooses a token: its id is then the one that was chosen last.
    pub(crate) inputs: &'a [(String, Tensor)],
    /// Names of the outputs to read; `None` reads all that the graph has. What is not read is still checked to be finite.
    pub(crate) wanted: Option<&'a [String]>,
    /// Whether to time each kernel, where that can be done.
    pub(crate) profile: bool,
    /// Whether to choose the next token of the conversation's text by the first output, where it is.
    pub(crate) choose: bool,
}

impl<'a> RunRequest<'a> {
    /// A run on `inputs` of which everything is read.
    pub(crate) fn all_of(inputs: &'a [(String, Tensor)]) -> Self {
        Self { inputs, wanted: None, profile: false, choose: false }
    }

    /// Whether its one token is that which was chosen last.
    pub(crate) fn continues(&self) -> bool {
        self.choose && self.inputs.is_empty()
    }

    /// Whether an output of that name is to be read.
    pub(crate) fn wants(&self, output: &str) -> bool {
        self.wanted.is_none_or(|wanted| wanted.iter().any(|name| name == output))
    }

    /// Checks that the graph has every output that is wanted.
    ///
    /// # Errors
    /// `bad_input` for the first that it has not.
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), RemoteError> {
        let names = || graph.outputs.iter().map(|id| &*graph.value_of(*id).name);
        match self.wanted.into_iter().flatten().find(|wanted| !names().any(|name| name == **wanted)) {
            Some(unknown) => {
                let has: Vec<&str> = names().collect();
                let message = format!("output `{unknown}` should be one of the model's: {}", has.join(", "));
                Err(error(ErrorCode::BadInput, message, "ask for outputs by these names"))
            }
            None => Ok(()),
        }
    }
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    /// The outputs that were wanted, in the graph's order.
    pub(crate) outputs: Vec<(String, Tensor)>,
    /// The token that was chosen, where that was asked for.
    pub(crate) token: Option<u32>,
    /// GPU time of the whole run in ms, if it was profiled and the adapter has timestamps.
    pub(crate) gpu_ms: Option<f64>,
    /// Time of each kernel, likewise.
    pub(crate) kernels: Option<Vec<KernelTime>>,
}

/// A device of WebNN that was preferred, and why there is none or another.
pub(crate) fn device_adjustment(why: &RemoteError) -> Adjustment {
    adjusted("execution_provider", serde_json::Value::Null, &why.message)
}

/// Activations that were to be of 8 bits, and why they are not.
pub(super) fn activations_adjustment(bits: Bits, reason: &str) -> Adjustment {
    adjusted("activation_bits", u8::from(bits).into(), reason)
}

/// An option that something known about the device or the model demands otherwise.
pub(super) fn adjusted(option: &str, value: serde_json::Value, reason: &str) -> Adjustment {
    Adjustment { option: option.to_owned(), value, code: None, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;
    use webnibble_kernels::problems::problems;

    use super::*;

    #[wasm_bindgen_test]
    fn an_output_that_the_model_has_not_is_an_error_with_those_that_it_has() {
        let problem = &problems()[0];
        let output = problem.graph.value_of(problem.graph.outputs[0]).name.clone();
        let wanted = [output.clone(), "nothing".to_owned()];
        let request = RunRequest { wanted: Some(&wanted[..1]), ..RunRequest::all_of(&problem.inputs) };
        request.check(&problem.graph).unwrap();
        let request = RunRequest { wanted: Some(&wanted), ..request };
        let refused = request.check(&problem.graph).unwrap_err();
        assert_eq!(refused.message, format!("output `nothing` should be one of the model's: {output}"));
    }
}
