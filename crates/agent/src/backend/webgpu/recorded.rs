//! A recording on the device: everything is made once, and encoded for each inference.

use std::cell::OnceCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{GpuBindGroup, GpuBuffer, GpuBufferBinding, GpuCommandEncoder, gpu_buffer_usage};
use webnibble_common::quant::round_up;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::wire::RemoteError;
use webnibble_kernels::plan::{Binding, BufferId, BufferKind, Dispatch, FOUND_WORDS, Port, Recording};

use super::super::spares::{Lent, Spares};
use super::dispatches::{Dispatched, bind_group};
use super::gpu::Gpu;
use super::memory::{Buffer, Memory};
use super::readback::Readback;
use super::timestamps::Timestamps;
use crate::error::internal;

/// An inference for one shape. Several may be in flight ([`Pending`](super::Pending)): the device does one after the other.
pub(super) struct Recorded {
    pub(super) memory: Rc<Memory>,
    /// The plan that it was made from.
    pub(super) recording: Recording,
    buffers: Buffers,
    /// Those of `buffers` that are not the weights.
    _own: Vec<Buffer>,
    inputs: Vec<Input>,
    dispatches: Vec<Dispatched>,
    /// What looks for NaN and infinity in each output; made when it is first needed.
    checks: Vec<OnceCell<Vec<Dispatched>>>,
    readbacks: Spares<Readback>,
    timestamps: Spares<Timestamps>,
}

/// A buffer that is written before the dispatches.
struct Input {
    buffer: GpuBuffer,
    /// Where the bytes are handed over: browsers need not take views of a shared wasm memory.
    bytes: Uint8Array,
}

/// What dispatches are bound to.
struct Buffers {
    /// In the recording's order; `None` for those of conversations.
    all: Vec<Option<GpuBuffer>>,
    uniforms: Buffer,
}

impl Recorded {
    /// Makes buffers and bind groups of `recording`, over the model's `weights`; the pipelines are built. Whether the
    /// device could make them all, [`Memory::check`] tells.
    pub(super) fn new(memory: &Rc<Memory>, recording: Recording, weights: &[&GpuBuffer]) -> Result<Self, RemoteError> {
        let uniforms = memory.filled("uniforms", &recording.uniforms, gpu_buffer_usage::UNIFORM)?;
        let (all, own) = activation_buffers(memory, &recording, weights)?;
        let buffers = Buffers { all, uniforms };
        let dispatches = bind(memory, &recording, &recording.dispatches, &buffers)?;
        let inputs = recording.inputs.iter().map(|port| Input::new(port, &buffers)).collect();
        Ok(Self {
            memory: Rc::clone(memory),
            checks: recording.checks.iter().map(|_| OnceCell::new()).collect(),
            buffers,
            _own: own,
            inputs,
            dispatches,
            readbacks: Spares::default(),
            timestamps: Spares::default(),
            recording,
        })
    }

    /// Writes inputs, in the recording's order.
    pub(super) fn write(&self, inputs: &[&Tensor]) -> Result<(), JsValue> {
        self.inputs.iter().zip(inputs).try_for_each(|(input, tensor)| input.write(&self.memory.gpu, tensor))
    }

    /// Bind groups of the dispatches that touch what belongs to a conversation; `buffer` gives its buffers.
    pub(super) fn bind_conversation<'a>(
        &self,
        buffer: impl Fn(BufferKind) -> Option<&'a GpuBuffer>,
    ) -> Result<Vec<GpuBindGroup>, RemoteError> {
        let resource = |binding: &Binding| self.part_of(binding, &buffer);
        let theirs = self.recording.dispatches.iter().filter(|dispatch| self.recording.is_of_conversation(dispatch));
        let groups = || theirs.map(|dispatch| bind_group(&self.memory.gpu, dispatch, resource)).collect();
        self.memory.request("bind groups".to_owned(), groups)
    }

    /// What chooses a token by the first output, for a conversation whose buffers `buffer` gives.
    pub(super) async fn bind_choice<'a>(
        &self,
        draws: bool,
        buffer: impl Fn(BufferKind) -> Option<&'a GpuBuffer>,
    ) -> Result<Dispatched, RemoteError> {
        let choice = self.recording.choice.as_ref().ok_or_else(|| internal("nothing here scores what comes next"))?;
        let dispatch = if draws { &choice.drawn } else { &choice.likeliest };
        self.memory.gpu.build_all(std::iter::once(&dispatch.kernel)).await?;
        let group = || bind_group(&self.memory.gpu, dispatch, |binding| self.part_of(binding, &buffer));
        let group = self.memory.request("bind group of the choice".to_owned(), group)?;
        Dispatched::new(&self.memory.gpu, dispatch, None, Some(group))
    }

    /// What is bound; a conversation's buffers whole, which `buffer` gives.
    fn part_of<'a>(&self, binding: &Binding, buffer: impl Fn(BufferKind) -> Option<&'a GpuBuffer>) -> GpuBufferBinding {
        let whole = binding.buffer.and_then(|id| buffer(self.recording.buffers[id.0].kind));
        whole.map_or_else(|| self.buffers.part(binding), GpuBufferBinding::new)
    }

    /// Has the one input, of ids, be the token that was chosen last, which lies at byte `at` of `step`.
    pub(super) fn encode_token(&self, encoder: &GpuCommandEncoder, step: &GpuBuffer, at: u32) -> Result<(), JsValue> {
        let Some(ids) = self.inputs.first() else { return Ok(()) };
        encoder.copy_buffer_to_buffer_with_u32_and_u32_and_u32(step, at, &ids.buffer, 0, 4)
    }

    /// All dispatches: in one pass or, with `timestamps`, one pass a dispatch, each with a timestamp at both ends. `groups` are
    /// those of [`Recorded::bind_conversation`]; behind them comes what chooses a token, where that is asked for.
    pub(super) fn encode(
        &self,
        encoder: &GpuCommandEncoder,
        (groups, choice): (&[GpuBindGroup], Option<&Dispatched>),
        timestamps: Option<&Timestamps>,
    ) -> Result<(), JsValue> {
        let mut groups = groups.iter();
        let Some(timestamps) = timestamps else {
            let pass = encoder.begin_compute_pass();
            self.dispatches.iter().chain(choice).for_each(|dispatch| dispatch.encode(&pass, &mut groups));
            pass.end();
            return Ok(());
        };
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let pass = encoder.begin_compute_pass_with_descriptor(&timestamps.pass(index));
            pass.set_pipeline(&dispatch.pipeline);
            dispatch.dispatch(&pass, &mut groups);
            pass.end();
        }
        if let Some(choice) = choice {
            let pass = encoder.begin_compute_pass();
            choice.encode(&pass, &mut groups);
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
            let made = bind(&self.memory, &self.recording, &self.recording.checks[index], &self.buffers)?;
            // Another inference may have made them meanwhile: its are as good.
            let _ = self.checks[index].set(made);
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
        let (bytes, found) = (self.found_bytes(), self.buffers.get(BufferId(found)));
        encoder.clear_buffer(found);
        let pass = encoder.begin_compute_pass();
        let checks = outputs.iter().filter_map(|index| self.checks[*index].get());
        checks.flatten().for_each(|dispatch| dispatch.encode(&pass, &mut [].iter()));
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
        copy(encoder, self.buffers.get(port.buffer), readback, at, padded_bytes(port))
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
        let timestamps = self.timestamps.lend(Timestamps::new(&self.memory, self.dispatches.len())?);
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

/// Copies so many bytes from the beginning of a buffer to byte `at` of what is read.
pub(super) fn copy(
    encoder: &GpuCommandEncoder,
    from: &GpuBuffer,
    to: &Readback,
    at: usize,
    bytes: usize,
) -> Result<(), JsValue> {
    encoder.copy_buffer_to_buffer_with_u32_and_f64_and_f64(from, 0, &to.buffer, at as f64, bytes as f64)
}

impl Buffers {
    /// A buffer that belongs to no conversation.
    fn get(&self, id: BufferId) -> &GpuBuffer {
        self.all[id.0].as_ref().expect("a conversation's buffers are bound by it alone")
    }

    /// What is bound, of a buffer that belongs to no conversation.
    fn part(&self, binding: &Binding) -> GpuBufferBinding {
        let buffer = binding.buffer.map_or(&*self.uniforms, |id| self.get(id));
        let range = GpuBufferBinding::new(buffer);
        range.set_offset_f64(binding.offset as f64);
        range.set_size_f64(binding.bytes as f64);
        range
    }
}

impl Input {
    fn new(port: &Port, buffers: &Buffers) -> Self {
        let bytes = element_count(&port.shape) * port.dtype.size_bytes();
        Self { buffer: buffers.get(port.buffer).clone(), bytes: Uint8Array::new_with_length(bytes as u32) }
    }

    fn write(&self, gpu: &Gpu, tensor: &Tensor) -> Result<(), JsValue> {
        self.bytes.copy_from(tensor.bytes());
        gpu.queue.write_buffer_with_u32_and_u8_array(&self.buffer, 0, &self.bytes)
    }
}

/// Every buffer of the recording in its order but those of conversations, and those among them that belong to it.
fn activation_buffers(
    memory: &Memory,
    recording: &Recording,
    weights: &[&GpuBuffer],
) -> Result<(Vec<Option<GpuBuffer>>, Vec<Buffer>), RemoteError> {
    let usage = gpu_buffer_usage::STORAGE | gpu_buffer_usage::COPY_DST | gpu_buffer_usage::COPY_SRC;
    let (mut all, mut own) = (Vec::new(), Vec::new());
    for buffer in &recording.buffers {
        match buffer.kind {
            BufferKind::Weights(index) => all.push(Some(weights[index].clone())),
            kind if kind.is_of_conversation() => all.push(None),
            _ => {
                let made = memory.buffer(&buffer.label, buffer.bytes, usage)?;
                all.push(Some(made.clone()));
                own.push(made);
            }
        }
    }
    Ok((all, own))
}

/// Dispatches of a recording that follow one another, each bound to its buffers unless a conversation has some of them.
fn bind(
    memory: &Memory,
    recording: &Recording,
    dispatches: &[Dispatch],
    buffers: &Buffers,
) -> Result<Vec<Dispatched>, RemoteError> {
    let gpu = &memory.gpu;
    let before = std::iter::once(None).chain(dispatches.iter().map(|d| Some(&d.kernel)));
    let bound = dispatches.iter().zip(before).map(|(dispatch, before)| {
        let group = match recording.is_of_conversation(dispatch) {
            true => None,
            false => Some(bind_group(gpu, dispatch, |binding| buffers.part(binding))?),
        };
        Dispatched::new(gpu, dispatch, before, group)
    });
    memory.request("bind groups".to_owned(), || bound.collect())
}
