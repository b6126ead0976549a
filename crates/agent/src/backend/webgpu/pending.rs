//! Inferences in flight: submitted, and yet to be read.

use std::rc::Rc;

use js_sys::ArrayBuffer;
use wasm_bindgen::JsValue;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::{Found, Recording};

use super::super::outcome::RunOutcome;
use super::super::spares::Lent;
use super::errors::{Watched, gpu_error, message_of, refused, thrown, watch};
use super::readback::{Mapping, Readback, found, numbers, tensor};
use super::recorded::{Recorded, padded_bytes};
use super::states::States;
use super::timestamps::{Timestamps, kernel_times, whole_ms};
use crate::error::internal;
use crate::finite::{check_finite, not_finite};

/// Outputs that are read are looked at for NaN and infinity once they are there; from this many bytes on the device does it,
/// which a dispatch more costs less than.
const LOOKED_AT_ON_THE_DEVICE: usize = 64 << 10;

/// An inference that the device has been given. What it holds can be used again when this is dropped, read or not.
pub(crate) struct Pending {
    /// Ends before its buffer is given back.
    outputs: Mapping,
    times: Option<Mapping>,
    watched: Watched,
    plan: Reading,
    recorded: Rc<Recorded>,
    _readback: Lent<Readback>,
    _timestamps: Option<Lent<Timestamps>>,
}

/// What is read of an inference.
struct Reading {
    /// Outputs by their place in the recording, each with its first byte in the readback.
    outputs: Vec<(usize, usize)>,
    /// Outputs in which the device looks for NaN and infinity.
    checked: Vec<usize>,
    /// First byte of what it finds.
    found_at: usize,
    /// Bytes of the readback.
    bytes: usize,
}

impl Reading {
    fn new(recorded: &Recorded, wants: impl Fn(&str) -> bool) -> Self {
        let Recording { outputs: ports, checks, .. } = &recorded.recording;
        let (mut outputs, mut checked, mut at) = (Vec::new(), Vec::new(), 0);
        for (index, port) in ports.iter().enumerate() {
            let (wanted, bytes) = (wants(&port.name), padded_bytes(port));
            if wanted {
                outputs.push((index, at));
                at += bytes;
            }
            let looked_at_when_read = wanted && bytes < LOOKED_AT_ON_THE_DEVICE;
            if !looked_at_when_read && !checks[index].is_empty() {
                checked.push(index);
            }
        }
        // There is something to be read in any case: that the inference is done.
        Self { outputs, checked, found_at: at, bytes: at + recorded.found_bytes().max(16) }
    }
}

impl Pending {
    /// Writes inputs, which are in the recording's order, and submits all dispatches and the copies of what is read: the
    /// outputs that the caller `wants`, and times if the inference is to be `timed`, which costs some time itself. `states` are
    /// made ready for the recording, where it has any.
    pub(super) async fn submit(
        recorded: &Rc<Recorded>,
        (inputs, states): (&[&Tensor], Option<&States>),
        wants: impl Fn(&str) -> bool,
        timed: bool,
    ) -> Result<Self, RemoteError> {
        let gpu = &recorded.memory.gpu;
        gpu.check_lost()?;
        let plan = Reading::new(recorded, wants);
        recorded.make_checks(&plan.checked).await?;
        let readback = recorded.readback(plan.bytes).await?;
        let timestamps = if timed { Some(recorded.timestamps().await?) } else { None };
        let work = || submit(recorded, (inputs, states), &plan, &readback, timestamps.as_deref());
        let (submitted, watched) = watch(&gpu.device, work);
        let (outputs, times) = submitted.map_err(|e| thrown(&e))?;
        let recorded = Rc::clone(recorded);
        Ok(Self { outputs, times, watched, plan, recorded, _readback: readback, _timestamps: timestamps })
    }

    /// Waits until the inference is done, and copies what was wanted of it.
    ///
    /// # Errors
    /// What the device says of the inference's work, and `not_finite` for the first output that has a NaN or an infinity, read
    /// or not.
    pub(crate) async fn read(mut self) -> Result<RunOutcome, RemoteError> {
        let recorded = Rc::clone(&self.recorded);
        let gpu = &recorded.memory.gpu;
        let read = gpu.wait(self.copy()).await;
        match (self.watched.error().await, read) {
            (Some(error), _) => Err(gpu.cause(refused(&error, error.message())).await),
            (None, Err(error)) => Err(gpu.cause(error).await),
            (None, Ok(outcome)) => Ok(outcome),
        }
    }

    async fn copy(&mut self) -> Result<RunOutcome, RemoteError> {
        let bytes = self.outputs.bytes().await.map_err(|e| unreadable(&e))?;
        self.check(&bytes)?;
        let read = |(index, at): &(usize, usize)| {
            let port = &self.recorded.recording.outputs[*index];
            let output = (port.name.clone(), tensor(port, &bytes, *at).map_err(|e| internal(e.to_string()))?);
            if !self.plan.checked.contains(index) {
                check_finite(std::slice::from_ref(&output))?;
            }
            Ok(output)
        };
        let outputs = self.plan.outputs.iter().map(read).collect::<Result<Vec<_>, RemoteError>>()?;
        let times = match &mut self.times {
            Some(times) => Some(numbers(&times.bytes().await.map_err(|e| unreadable(&e))?)),
            None => None,
        };
        let gpu_ms = times.as_deref().and_then(whole_ms);
        Ok(RunOutcome { outputs, gpu_ms, kernels: times.map(|times| kernel_times(&self.recorded.recording, &times)) })
    }

    /// Fails for the first output in which the device found what is no number.
    fn check(&self, bytes: &ArrayBuffer) -> Result<(), RemoteError> {
        let ports = &self.recorded.recording.outputs;
        if self.plan.checked.is_empty() {
            return Ok(());
        }
        let found: Vec<Option<Found>> = found(bytes, self.plan.found_at, ports.len());
        let first = ports.iter().zip(found).find_map(|(port, found)| Some((port, found?)));
        match first {
            Some((port, found)) => Err(not_finite(&port.name, port.shape.iter().product(), found)),
            None => Ok(()),
        }
    }
}

fn submit(
    recorded: &Rc<Recorded>,
    (inputs, states): (&[&Tensor], Option<&States>),
    plan: &Reading,
    readback: &Readback,
    timestamps: Option<&Timestamps>,
) -> Result<(Mapping, Option<Mapping>), JsValue> {
    let gpu = &recorded.memory.gpu;
    recorded.write(inputs)?;
    states.map_or(Ok(()), States::write_step)?;
    let groups = states.and_then(|states| states.groups(recorded)).unwrap_or_default();
    let encoder = gpu.device.create_command_encoder();
    recorded.encode(&encoder, groups, timestamps)?;
    recorded.encode_checks(&encoder, &plan.checked, (readback, plan.found_at))?;
    for (output, at) in &plan.outputs {
        recorded.encode_read(&encoder, *output, (readback, *at))?;
    }
    gpu.queue.submit(&[encoder.finish()]);
    Ok((readback.map(), timestamps.map(|timestamps| timestamps.readback.map())))
}

fn unreadable(thrown: &JsValue) -> RemoteError {
    gpu_error(ErrorCode::Internal, format!("reading the outputs failed: {}", message_of(thrown)))
}
