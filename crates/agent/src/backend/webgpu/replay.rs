//! A recording on its way to `js/gpu.js`, and what comes back.

use serde_json::json;
use webnibble_common::quant::round_up;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::wire::{KernelTime, RemoteError};
use webnibble_kernels::plan::{BufferKind, Recording};
use webnibble_kernels::shaders::Kernel;

use super::super::RunOutcome;
use super::sys::Ran;
use crate::error::internal;

/// The recording as `js/gpu.js` reads it.
pub(super) fn spec(recording: &Recording, kernels: &[Kernel]) -> String {
    let buffers: Vec<_> = recording
        .buffers
        .iter()
        .map(|b| {
            let weights = match b.kind {
                BufferKind::Weights(index) => Some(index),
                _ => None,
            };
            json!({ "label": b.label, "bytes": b.bytes, "weights": weights })
        })
        .collect();
    let dispatches: Vec<_> = recording
        .dispatches
        .iter()
        .map(|d| {
            let bindings: Vec<_> =
                d.bindings.iter().map(|b| json!([b.number, b.buffer.map(|id| id.0), b.offset, b.bytes])).collect();
            let pipeline = kernels.binary_search(&d.kernel).expect("every kernel of the recording is listed");
            json!({ "operator": d.operator, "pipeline": pipeline, "bindings": bindings, "workgroups": d.workgroups })
        })
        .collect();
    let inputs: Vec<_> = recording.inputs.iter().map(|p| p.buffer.0).collect();
    let outputs: Vec<_> = recording.outputs.iter().map(|p| (p.buffer.0, port_bytes(&p.shape))).collect();
    json!({ "buffers": buffers, "dispatches": dispatches, "inputs": inputs, "outputs": outputs }).to_string()
}

/// Bytes of an output as they are read back, padded as its buffer is.
fn port_bytes(shape: &[usize]) -> usize {
    round_up(element_count(shape) * 4, 16)
}

/// Outputs and times of a run.
pub(super) fn outcome(recording: &Recording, ran: &Ran) -> Result<RunOutcome, RemoteError> {
    let bytes = ran.outputs().to_vec();
    let mut at = 0;
    let mut outputs = Vec::new();
    for port in &recording.outputs {
        let len = element_count(&port.shape) * port.dtype.size_bytes();
        let tensor = Tensor::from_le_bytes(port.dtype, port.shape.clone(), &bytes[at..at + len]);
        outputs.push((port.name.clone(), tensor.map_err(|e| internal(e.to_string()))?));
        at += port_bytes(&port.shape);
    }
    let times = ran.times().map(|times| times.to_vec());
    let gpu_ms = times.as_deref().and_then(|t| Some((t.last()? - t.first()?) / 1e6));
    Ok(RunOutcome { outputs, gpu_ms, kernels: times.map(|times| kernel_times(recording, &times)) })
}

fn kernel_times(recording: &Recording, times: &[f64]) -> Vec<KernelTime> {
    let of = recording.dispatches.iter().zip(times.chunks_exact(2));
    of.map(|(dispatch, t)| KernelTime {
        operator: dispatch.operator.clone(),
        kernel: dispatch.kernel.to_string(),
        ms: (t[1] - t[0]) / 1e6,
        bytes: dispatch.bindings.iter().map(|b| b.bytes as u64).sum(),
    })
    .collect()
}
