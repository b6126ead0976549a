//! Inferences in flight: submitted, and yet to be read.

use std::rc::Rc;

use js_sys::ArrayBuffer;
use wasm_bindgen::JsValue;
use webnibble_common::quant::round_up;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::{Found, NO_TOKEN, Recording, Step};

use super::super::outcome::RunOutcome;
use super::super::spares::Lent;
use super::errors::{Watched, gpu_error, message_of, refused, thrown, watch};
use super::readback::{Mapping, Readback, found, numbers, tensor, token};
use super::recorded::{Recorded, copy, padded_bytes};
use super::states::{States, TOKEN_AT};
use super::timestamps::{Timestamps, kernel_times, whole_ms};
use crate::error::internal;
use crate::finite::{check_finite, no_number, not_finite};

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

/// What the device is given.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    /// In the recording's order. None where the one input is the token that was chosen last.
    pub(super) inputs: &'a [&'a Tensor],
    /// Made ready for the recording, where it has any; what chooses is made too, where a token is to be chosen.
    pub(super) states: Option<&'a States>,
    /// Whether a token is to be chosen by the first output.
    pub(super) choose: bool,
    /// Whether it is to be timed, which costs some time itself.
    pub(super) timed: bool,
}

/// What is read of an inference.
struct Reading {
    /// Outputs by their place in the recording, each with its first byte in the readback.
    outputs: Vec<(usize, usize)>,
    /// Outputs in which the device looks for NaN and infinity.
    checked: Vec<usize>,
    /// First byte of what it finds.
    found_at: usize,
    /// First byte of the step, where a token is chosen.
    step_at: Option<usize>,
    /// Bytes of the readback.
    bytes: usize,
}

impl Reading {
    fn new(recorded: &Recorded, wants: impl Fn(&str) -> bool, choose: bool) -> Self {
        let Recording { outputs: ports, checks, .. } = &recorded.recording;
        let (mut outputs, mut checked, mut at) = (Vec::new(), Vec::new(), 0);
        for (index, port) in ports.iter().enumerate() {
            let (wanted, bytes) = (wants(&port.name), padded_bytes(port));
            if wanted {
                outputs.push((index, at));
                at += bytes;
            }
            let looked_at_when_read = wanted && bytes < LOOKED_AT_ON_THE_DEVICE;
            // Who chooses by the first one looks at all of it.
            let looked_at = looked_at_when_read || (choose && index == 0);
            if !looked_at && !checks[index].is_empty() {
                checked.push(index);
            }
        }
        // There is something to be read in any case: that the inference is done.
        let found_at = at;
        at += round_up(recorded.found_bytes(), 16).max(16);
        let step_at = choose.then_some(at);
        Self { outputs, checked, found_at, step_at, bytes: at + if choose { size_of::<Step>() } else { 0 } }
    }
}

impl Pending {
    /// Submits all dispatches and the copies of what is read: the outputs that the caller `wants`, the token where one is to be
    /// chosen, and times.
    pub(super) async fn submit(
        recorded: &Rc<Recorded>,
        work: Work<'_>,
        wants: impl Fn(&str) -> bool,
    ) -> Result<Self, RemoteError> {
        let gpu = &recorded.memory.gpu;
        gpu.check_lost()?;
        let plan = Reading::new(recorded, wants, work.choose);
        recorded.make_checks(&plan.checked).await?;
        let readback = recorded.readback(plan.bytes).await?;
        let timestamps = if work.timed { Some(recorded.timestamps().await?) } else { None };
        let submit = || submit(recorded, work, &plan, &readback, timestamps.as_deref());
        let (submitted, watched) = watch(&gpu.device, submit);
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
        let token = self.plan.step_at.map(|at| self.chosen(&bytes, at)).transpose()?;
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
        let kernels = times.map(|times| kernel_times(&self.recorded.recording, &times));
        Ok(RunOutcome { outputs, token, gpu_ms, kernels })
    }

    /// The token that was chosen; the step begins at byte `at`.
    fn chosen(&self, bytes: &ArrayBuffer, at: usize) -> Result<u32, RemoteError> {
        match token(bytes, at + TOKEN_AT as usize) {
            NO_TOKEN => Err(no_number(&self.recorded.recording.outputs[0].name)),
            token => Ok(token),
        }
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
    Work { inputs, states, choose, .. }: Work<'_>,
    plan: &Reading,
    readback: &Readback,
    timestamps: Option<&Timestamps>,
) -> Result<(Mapping, Option<Mapping>), JsValue> {
    let gpu = &recorded.memory.gpu;
    recorded.write(inputs)?;
    states.map_or(Ok(()), States::write_step)?;
    let groups = states.and_then(|states| states.groups(recorded)).unwrap_or_default();
    let encoder = gpu.device.create_command_encoder();
    if let Some(states) = states.filter(|_| choose && inputs.is_empty()) {
        recorded.encode_token(&encoder, states.step(), TOKEN_AT)?;
    }
    let choice = states.filter(|_| choose).and_then(|states| states.choice(recorded));
    recorded.encode(&encoder, (groups, choice), timestamps)?;
    recorded.encode_checks(&encoder, &plan.checked, (readback, plan.found_at))?;
    for (output, at) in &plan.outputs {
        recorded.encode_read(&encoder, *output, (readback, *at))?;
    }
    if let (Some(states), Some(at)) = (states, plan.step_at) {
        copy(&encoder, states.step(), readback, at, size_of::<Step>())?;
    }
    gpu.queue.submit(&[encoder.finish()]);
    Ok((readback.map(), timestamps.map(|timestamps| timestamps.readback.map())))
}

fn unreadable(thrown: &JsValue) -> RemoteError {
    gpu_error(ErrorCode::Internal, format!("reading the outputs failed: {}", message_of(thrown)))
}
