//! A recording on the device: everything is made once, and replayed for each inference.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{
    GpuBindGroup, GpuBindGroupDescriptor, GpuBindGroupEntry, GpuBuffer, GpuBufferBinding, GpuCommandEncoder,
    GpuComputePassEncoder, GpuComputePipeline, gpu_buffer_usage,
};
use webnibble_common::quant::round_up;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::{BufferKind, Dispatch, Port, Recording};
use webnibble_kernels::shaders::Kernel;

use super::super::outcome::RunOutcome;
use super::errors::{gpu_error, message_of, refused, thrown, watch};
use super::gpu::Gpu;
use super::memory::{Buffer, Memory};
use super::readback::{Mapping, Readback, numbers, tensor};
use super::timestamps::{Timestamps, kernel_times, whole_ms};
use crate::error::internal;

/// An inference for one shape.
pub(super) struct Recorded {
    memory: Rc<Memory>,
    /// The plan that it was made from.
    pub(super) recording: Recording,
    /// What the dispatches are bound to, but for the weights.
    _own: Vec<Buffer>,
    inputs: Vec<Input>,
    steps: Vec<Step>,
    outputs: Vec<Output>,
    readback: Readback,
    /// Made for the first run that is timed.
    timestamps: OnceCell<Timestamps>,
}

/// A buffer that is written before the dispatches.
struct Input {
    buffer: GpuBuffer,
    /// Where the bytes are handed over: browsers need not take views of a shared wasm memory.
    bytes: Uint8Array,
}

/// A dispatch.
struct Step {
    pipeline: GpuComputePipeline,
    /// Whether the step before has another.
    changes_pipeline: bool,
    bind_group: GpuBindGroup,
    workgroups: [u32; 3],
}

/// A buffer that is read after the dispatches.
struct Output {
    buffer: GpuBuffer,
    /// Its place in the readback, in bytes, padded as the buffer is.
    at: usize,
    bytes: usize,
}

impl Recorded {
    /// Makes buffers and bind groups of `recording`, over the model's `weights`; the pipelines are built. Whether the
    /// device could make them all, [`Memory::check`] tells.
    pub(super) fn new(memory: &Rc<Memory>, recording: Recording, weights: &[&GpuBuffer]) -> Result<Self, RemoteError> {
        let uniforms = uniform_buffer(memory, &recording.uniforms)?;
        let (buffers, mut own) = activation_buffers(memory, &recording, weights)?;
        let steps = bind(memory, &recording, &buffers, &uniforms)?;
        let inputs = recording.inputs.iter().map(|port| Input::new(port, &buffers)).collect();
        let (outputs, readback_bytes) = outputs(&recording, &buffers);
        own.push(uniforms);
        Ok(Self {
            memory: Rc::clone(memory),
            _own: own,
            inputs,
            steps,
            outputs,
            readback: Readback::new(memory, "readback", readback_bytes)?,
            timestamps: OnceCell::new(),
            recording,
        })
    }

    /// Runs all dispatches on inputs in the recording's order, and reads the outputs.
    /// With `timed`, each dispatch is timed, which costs some time itself.
    pub(super) async fn run(&self, inputs: &[&Tensor], timed: bool) -> Result<RunOutcome, RemoteError> {
        let gpu = &self.memory.gpu;
        gpu.check_lost()?;
        let timestamps = if timed { Some(self.timestamps().await?) } else { None };
        let (submitted, watched) = watch(&gpu.device, || self.submit(inputs, timestamps));
        let (mut outputs, mut times) = submitted.map_err(|e| thrown(&e))?;
        let read = gpu.wait(self.read(&mut outputs, times.as_mut())).await;
        match (watched.error().await, read) {
            (Some(error), _) => Err(gpu.cause(refused(&error, error.message())).await),
            (None, Err(error)) => Err(gpu.cause(error).await),
            (None, Ok(outcome)) => Ok(outcome),
        }
    }

    /// Writes the inputs, and submits all dispatches and the copies of what is read: outputs, and times if there are.
    fn submit<'a>(
        &'a self,
        inputs: &[&Tensor],
        timestamps: Option<&'a Timestamps>,
    ) -> Result<(Mapping<'a>, Option<Mapping<'a>>), JsValue> {
        let gpu = &self.memory.gpu;
        for (input, tensor) in self.inputs.iter().zip(inputs) {
            input.write(gpu, tensor)?;
        }
        let encoder = gpu.device.create_command_encoder();
        match timestamps {
            Some(timestamps) => self.encode_timed(&encoder, timestamps)?,
            None => self.encode(&encoder),
        }
        for output in &self.outputs {
            encoder.copy_buffer_to_buffer_with_u32_and_f64_and_f64(
                &output.buffer,
                0,
                &self.readback.0,
                output.at as f64,
                output.bytes as f64,
            )?;
        }
        gpu.queue.submit(&[encoder.finish()]);
        Ok((self.readback.map(), timestamps.map(|timestamps| timestamps.readback.map())))
    }

    /// All dispatches in one pass.
    fn encode(&self, encoder: &GpuCommandEncoder) {
        let pass = encoder.begin_compute_pass();
        for step in &self.steps {
            if step.changes_pipeline {
                pass.set_pipeline(&step.pipeline);
            }
            step.dispatch(&pass);
        }
        pass.end();
    }

    /// One pass a dispatch, each with a timestamp at both ends.
    fn encode_timed(&self, encoder: &GpuCommandEncoder, timestamps: &Timestamps) -> Result<(), JsValue> {
        for (index, step) in self.steps.iter().enumerate() {
            let pass = encoder.begin_compute_pass_with_descriptor(&timestamps.pass(index));
            pass.set_pipeline(&step.pipeline);
            step.dispatch(&pass);
            pass.end();
        }
        timestamps.resolve(encoder)
    }

    /// Waits until what was submitted can be read, and copies it.
    async fn read(
        &self,
        outputs: &mut Mapping<'_>,
        times: Option<&mut Mapping<'_>>,
    ) -> Result<RunOutcome, RemoteError> {
        let unreadable =
            |e: JsValue| gpu_error(ErrorCode::Internal, format!("reading the outputs failed: {}", message_of(&e)));
        let bytes = outputs.bytes().await.map_err(unreadable)?;
        let read = |(port, output): (&Port, &Output)| {
            let tensor = tensor(port, &bytes, output.at).map_err(|e| internal(e.to_string()))?;
            Ok((port.name.clone(), tensor))
        };
        let outputs = self.recording.outputs.iter().zip(&self.outputs).map(read).collect::<Result<_, RemoteError>>()?;
        let times = match times {
            Some(times) => Some(numbers(&times.bytes().await.map_err(unreadable)?)),
            None => None,
        };
        let gpu_ms = times.as_deref().and_then(whole_ms);
        Ok(RunOutcome { outputs, gpu_ms, kernels: times.map(|times| kernel_times(&self.recording, &times)) })
    }

    async fn timestamps(&self) -> Result<&Timestamps, RemoteError> {
        if let Some(timestamps) = self.timestamps.get() {
            return Ok(timestamps);
        }
        let timestamps = Timestamps::new(&self.memory, self.steps.len())?;
        self.memory.check().await?;
        Ok(self.timestamps.get_or_init(|| timestamps))
    }
}

impl Input {
    fn new(port: &Port, buffers: &[GpuBuffer]) -> Self {
        let bytes = element_count(&port.shape) * port.dtype.size_bytes();
        Self { buffer: buffers[port.buffer.0].clone(), bytes: Uint8Array::new_with_length(bytes as u32) }
    }

    fn write(&self, gpu: &Gpu, tensor: &Tensor) -> Result<(), JsValue> {
        // WebAssembly's order of bytes is the device's.
        let elements = tensor.as_f32().map(bytemuck::cast_slice).or_else(|_| tensor.as_u32().map(bytemuck::cast_slice));
        self.bytes.copy_from(elements.map_err(|e| JsValue::from(e.to_string()))?);
        gpu.queue.write_buffer_with_u32_and_u8_array(&self.buffer, 0, &self.bytes)
    }
}

impl Step {
    fn new(
        gpu: &Gpu,
        dispatch: &Dispatch,
        before: Option<&Kernel>,
        entries: &[GpuBindGroupEntry],
    ) -> Result<Self, RemoteError> {
        let pipeline = gpu.pipeline(&dispatch.kernel)?;
        let descriptor = GpuBindGroupDescriptor::new(entries, &pipeline.get_bind_group_layout(0));
        descriptor.set_label(&dispatch.operator);
        let bind_group = gpu.device.create_bind_group(&descriptor);
        let changes_pipeline = before != Some(&dispatch.kernel);
        Ok(Self { pipeline, changes_pipeline, bind_group, workgroups: dispatch.workgroups })
    }

    fn dispatch(&self, pass: &GpuComputePassEncoder) {
        let [x, y, z] = self.workgroups;
        pass.set_bind_group(0, Some(&self.bind_group));
        pass.dispatch_workgroups_with_workgroup_count_y_and_workgroup_count_z(x, y, z);
    }
}

fn uniform_buffer(memory: &Memory, uniforms: &[u8]) -> Result<Buffer, RemoteError> {
    let usage = gpu_buffer_usage::UNIFORM | gpu_buffer_usage::COPY_DST;
    let buffer = memory.buffer("uniforms", uniforms.len(), usage)?;
    let bytes = Uint8Array::from(uniforms);
    let write = || memory.gpu.queue.write_buffer_with_u32_and_u8_array(&buffer, 0, &bytes);
    memory.request("uniforms".to_owned(), write).map_err(|e| thrown(&e))?;
    Ok(buffer)
}

/// Every buffer of the recording in its order, and those among them that belong to it.
fn activation_buffers(
    memory: &Memory,
    recording: &Recording,
    weights: &[&GpuBuffer],
) -> Result<(Vec<GpuBuffer>, Vec<Buffer>), RemoteError> {
    let usage = gpu_buffer_usage::STORAGE | gpu_buffer_usage::COPY_DST | gpu_buffer_usage::COPY_SRC;
    let (mut all, mut own) = (Vec::new(), Vec::new());
    for buffer in &recording.buffers {
        match buffer.kind {
            BufferKind::Weights(index) => all.push(weights[index].clone()),
            BufferKind::Input | BufferKind::Scratch | BufferKind::Output => {
                let made = memory.buffer(&buffer.label, buffer.bytes, usage)?;
                all.push(made.clone());
                own.push(made);
            }
        }
    }
    Ok((all, own))
}

/// The dispatches of the recording, each bound to its buffers.
fn bind(
    memory: &Memory,
    recording: &Recording,
    buffers: &[GpuBuffer],
    uniforms: &GpuBuffer,
) -> Result<Vec<Step>, RemoteError> {
    let before = std::iter::once(None).chain(recording.dispatches.iter().map(|d| Some(&d.kernel)));
    let steps = recording.dispatches.iter().zip(before).map(|(dispatch, before)| {
        let entries: Vec<GpuBindGroupEntry> = dispatch
            .bindings
            .iter()
            .map(|binding| {
                let range = GpuBufferBinding::new(binding.buffer.map_or(uniforms, |id| &buffers[id.0]));
                range.set_offset_f64(binding.offset as f64);
                range.set_size_f64(binding.bytes as f64);
                GpuBindGroupEntry::new_with_gpu_buffer_binding(binding.number, &range)
            })
            .collect();
        Step::new(&memory.gpu, dispatch, before, &entries)
    });
    memory.request("bind groups".to_owned(), || steps.collect())
}

/// Where the outputs lie in the readback, one after the other, and its size in bytes.
fn outputs(recording: &Recording, buffers: &[GpuBuffer]) -> (Vec<Output>, usize) {
    let mut at = 0;
    let mut place = |port: &Port| {
        let bytes = round_up(element_count(&port.shape) * port.dtype.size_bytes(), 16);
        let output = Output { buffer: buffers[port.buffer.0].clone(), at, bytes };
        at += bytes;
        output
    };
    let outputs = recording.outputs.iter().map(&mut place).collect();
    (outputs, at)
}
