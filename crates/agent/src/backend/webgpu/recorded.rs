//! A recording on the device: everything is made once, and encoded for each inference.

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
use webnibble_common::wire::RemoteError;
use webnibble_kernels::plan::{BufferKind, Dispatch, FOUND_WORDS, Port, Recording};
use webnibble_kernels::shaders::Kernel;

use super::super::spares::{Lent, Spares};
use super::errors::thrown;
use super::gpu::Gpu;
use super::memory::{Buffer, Memory};
use super::readback::Readback;
use super::timestamps::Timestamps;

/// An inference for one shape. Several may be in flight ([`Pending`](super::Pending)): the device does one after the other.
pub(super) struct Recorded {
    pub(super) memory: Rc<Memory>,
    /// The plan that it was made from.
    pub(super) recording: Recording,
    /// What the dispatches are bound to, in the recording's order.
    buffers: Vec<GpuBuffer>,
    uniforms: Buffer,
    /// Those of `buffers` that are not the weights.
    _own: Vec<Buffer>,
    inputs: Vec<Input>,
    steps: Vec<Step>,
    /// What looks for NaN and infinity in each output; made when it is first needed.
    checks: Vec<OnceCell<Vec<Step>>>,
    readbacks: Spares<Readback>,
    timestamps: Spares<Timestamps>,
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

impl Recorded {
    /// Makes buffers and bind groups of `recording`, over the model's `weights`; the pipelines are built. Whether the
    /// device could make them all, [`Memory::check`] tells.
    pub(super) fn new(memory: &Rc<Memory>, recording: Recording, weights: &[&GpuBuffer]) -> Result<Self, RemoteError> {
        let uniforms = uniform_buffer(memory, &recording.uniforms)?;
        let (buffers, own) = activation_buffers(memory, &recording, weights)?;
        let steps = bind(memory, &recording.dispatches, &buffers, &uniforms)?;
        let inputs = recording.inputs.iter().map(|port| Input::new(port, &buffers)).collect();
        Ok(Self {
            memory: Rc::clone(memory),
            checks: recording.checks.iter().map(|_| OnceCell::new()).collect(),
            buffers,
            uniforms,
            _own: own,
            inputs,
            steps,
            readbacks: Spares::default(),
            timestamps: Spares::default(),
            recording,
        })
    }

    /// Writes inputs, in the recording's order.
    pub(super) fn write(&self, inputs: &[&Tensor]) -> Result<(), JsValue> {
        self.inputs.iter().zip(inputs).try_for_each(|(input, tensor)| input.write(&self.memory.gpu, tensor))
    }

    /// All dispatches: in one pass or, with `timestamps`, one pass a dispatch, each with a timestamp at both ends.
    pub(super) fn encode(&self, encoder: &GpuCommandEncoder, timestamps: Option<&Timestamps>) -> Result<(), JsValue> {
        let Some(timestamps) = timestamps else {
            let pass = encoder.begin_compute_pass();
            self.steps.iter().for_each(|step| step.encode(&pass));
            pass.end();
            return Ok(());
        };
        for (index, step) in self.steps.iter().enumerate() {
            let pass = encoder.begin_compute_pass_with_descriptor(&timestamps.pass(index));
            pass.set_pipeline(&step.pipeline);
            step.dispatch(&pass);
            pass.end();
        }
        timestamps.resolve(encoder)
    }

    /// Makes what looks for NaN and infinity in those outputs.
    pub(super) async fn make_checks(&self, outputs: &[usize]) -> Result<(), RemoteError> {
        let missing: Vec<usize> = outputs.iter().copied().filter(|index| self.checks[*index].get().is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let dispatches = missing.iter().flat_map(|index| &self.recording.checks[*index]);
        self.memory.gpu.build_all(dispatches.map(|dispatch| &dispatch.kernel)).await?;
        for index in missing {
            let steps = bind(&self.memory, &self.recording.checks[index], &self.buffers, &self.uniforms)?;
            // Another inference may have made them meanwhile: its are as good.
            let _ = self.checks[index].set(steps);
        }
        self.memory.check().await
    }

    /// Looks for NaN and infinity in those outputs, whose checks are made, and copies what it finds to `at` of `readback`.
    pub(super) fn encode_checks(
        &self,
        encoder: &GpuCommandEncoder,
        outputs: &[usize],
        (readback, at): (&Readback, usize),
    ) -> Result<(), JsValue> {
        let found = self.recording.buffers.iter().position(|buffer| buffer.kind == BufferKind::Found);
        let Some(found) = found.filter(|_| !outputs.is_empty()) else { return Ok(()) };
        let (bytes, found) = (self.found_bytes(), &self.buffers[found]);
        encoder.clear_buffer(found);
        let pass = encoder.begin_compute_pass();
        let checks = outputs.iter().filter_map(|index| self.checks[*index].get());
        checks.flatten().for_each(|step| step.encode(&pass));
        pass.end();
        copy(encoder, found, readback, at, bytes)
    }

    /// Bytes of what the checks find.
    pub(super) fn found_bytes(&self) -> usize {
        self.recording.outputs.len() * FOUND_WORDS * 4
    }

    /// Copies an output to `at` of `readback`.
    pub(super) fn encode_read(
        &self,
        encoder: &GpuCommandEncoder,
        output: usize,
        (readback, at): (&Readback, usize),
    ) -> Result<(), JsValue> {
        let port = &self.recording.outputs[output];
        copy(encoder, &self.buffers[port.buffer.0], readback, at, padded_bytes(port))
    }

    /// Memory to read at least so many bytes with.
    pub(super) async fn readback(&self, bytes: usize) -> Result<Lent<Readback>, RemoteError> {
        if let Some(readback) = self.readbacks.take(|spare| spare.bytes >= bytes) {
            return Ok(readback);
        }
        let readback = self.readbacks.lend(Readback::new(&self.memory, "readback", bytes)?);
        self.memory.check().await?;
        Ok(readback)
    }

    /// What times the dispatches.
    pub(super) async fn timestamps(&self) -> Result<Lent<Timestamps>, RemoteError> {
        if let Some(timestamps) = self.timestamps.take(|_| true) {
            return Ok(timestamps);
        }
        let timestamps = self.timestamps.lend(Timestamps::new(&self.memory, self.steps.len())?);
        self.memory.check().await?;
        Ok(timestamps)
    }

    /// Readbacks that nobody uses. For tests.
    #[cfg(test)]
    pub(super) fn spare_readbacks(&self) -> usize {
        self.readbacks.count()
    }
}

/// Bytes of an output as it is copied.
pub(super) fn padded_bytes(port: &Port) -> usize {
    round_up(element_count(&port.shape) * port.dtype.size_bytes(), 16)
}

fn copy(encoder: &GpuCommandEncoder, from: &GpuBuffer, to: &Readback, at: usize, bytes: usize) -> Result<(), JsValue> {
    encoder.copy_buffer_to_buffer_with_u32_and_f64_and_f64(from, 0, &to.buffer, at as f64, bytes as f64)
}

impl Input {
    fn new(port: &Port, buffers: &[GpuBuffer]) -> Self {
        let bytes = element_count(&port.shape) * port.dtype.size_bytes();
        Self { buffer: buffers[port.buffer.0].clone(), bytes: Uint8Array::new_with_length(bytes as u32) }
    }

    fn write(&self, gpu: &Gpu, tensor: &Tensor) -> Result<(), JsValue> {
        self.bytes.copy_from(tensor.bytes());
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

    /// In a pass that the step before is in.
    fn encode(&self, pass: &GpuComputePassEncoder) {
        if self.changes_pipeline {
            pass.set_pipeline(&self.pipeline);
        }
        self.dispatch(pass);
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
            _ => {
                let made = memory.buffer(&buffer.label, buffer.bytes, usage)?;
                all.push(made.clone());
                own.push(made);
            }
        }
    }
    Ok((all, own))
}

/// Dispatches that follow one another, each bound to its buffers.
fn bind(
    memory: &Memory,
    dispatches: &[Dispatch],
    buffers: &[GpuBuffer],
    uniforms: &GpuBuffer,
) -> Result<Vec<Step>, RemoteError> {
    let before = std::iter::once(None).chain(dispatches.iter().map(|d| Some(&d.kernel)));
    let steps = dispatches.iter().zip(before).map(|(dispatch, before)| {
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
