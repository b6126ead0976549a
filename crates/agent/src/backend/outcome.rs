//! What a backend tells: of the end of loading, of a run, and of options that it set otherwise than asked.

use webnibble_common::quant::Bits;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{Adjustment, KernelTime, RemoteError};

/// What the end of loading took, in ms; nothing where nothing of the kind was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Built {
    /// Building pipelines or graphs.
    pub(crate) compile_ms: Option<f64>,
    /// Running what was built, to choose among it.
    pub(crate) choosing_ms: Option<f64>,
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct RunOutcome {
    /// The graph's outputs that are wanted.
    pub(crate) outputs: Vec<(String, Tensor)>,
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
