//! The WebGPU backend: a plan of `webnibble-kernels`, made real on a device.

mod gpu;
mod sys;

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use serde_json::json;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::package::{Header, Part, Plane};
use webnibble_common::quant::round_up;
use webnibble_common::result::ImplementationType;
use webnibble_common::tensor::{Tensor, element_count};
use webnibble_common::wire::{ErrorCode, KernelTime, LoadOptions, RemoteError};
use webnibble_kernels::plan::{BufferKind, Formats, PlanError, PlanOptions, Recording, WeightPlan, lower};

pub(crate) use gpu::Gpu;

use self::gpu::from_js;
use self::sys::{JsRecorded, Ran};
use super::RunOutcome;
use crate::error::{error, internal};
use crate::sys::now_ms;

/// Shapes that stay prepared; the one that was not used for longest goes first.
const PREPARED_SHAPES: usize = 8;

/// A model whose weights lie in GPU buffers.
pub(crate) struct Model {
    gpu: Rc<Gpu>,
    graph: Graph,
    plan: WeightPlan,
    options: PlanOptions,
    precompile: bool,
    buffers: Vec<WeightMemory>,
    /// Least recently used first.
    prepared: Vec<Prepared>,
    peak_bytes: u64,
}

/// A weight buffer, and the planes that it still waits for before it can be unmapped.
struct WeightMemory {
    buffer: Option<JsValue>,
    waiting: usize,
}

struct Prepared {
    bindings: Bindings,
    recording: Recording,
    js: JsRecorded,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.js.destroy_recorded();
    }
}

impl Model {
    /// A model with the buffers that `header`'s tensors need; they are made as their planes come.
    pub(crate) fn new(
        gpu: &Rc<Gpu>,
        graph: Graph,
        header: &Header,
        options: &LoadOptions,
    ) -> Result<Self, RemoteError> {
        let formats = header.meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format)).collect();
        let plan_options = PlanOptions { portable: options.portable_kernels, ..PlanOptions::default() };
        Self::with_formats(gpu, graph, &formats, plan_options, options.shader_precompilation)
    }

    /// A model of matrices in `formats`.
    pub(crate) fn with_formats(
        gpu: &Rc<Gpu>,
        graph: Graph,
        formats: &Formats,
        options: PlanOptions,
        precompile: bool,
    ) -> Result<Self, RemoteError> {
        let plan = WeightPlan::new(&graph, formats, gpu.caps.storage_binding_bytes).map_err(|e| from_plan(&e))?;
        let buffers = (0..plan.buffers.len())
            .map(|index| WeightMemory { buffer: None, waiting: plan.planes().filter(|s| s.buffer == index).count() })
            .collect();
        let peak_bytes = plan.total_bytes() as u64;
        Ok(Self { gpu: Rc::clone(gpu), graph, plan, options, precompile, buffers, prepared: Vec::new(), peak_bytes })
    }

    /// Mapped GPU memory of exactly the plane's length.
    pub(crate) fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        self.map_plane(&plane.tensor, plane.part, (plane.end - plane.begin) as usize)
    }

    /// Unmaps the buffer once all its planes came.
    pub(crate) fn finish_plane(&mut self, plane: &Plane, _view: &Uint8Array) -> Result<(), RemoteError> {
        self.seal_plane(&plane.tensor, plane.part)
    }

    pub(super) fn map_plane(&mut self, tensor: &str, part: Part, bytes: usize) -> Result<Uint8Array, RemoteError> {
        let slot = self.plan.plane_of(&self.graph, tensor, part).ok_or_else(|| unknown_plane(tensor, part))?;
        if slot.bytes != bytes {
            let message = format!("plane {part:?} of `{tensor}` should have {} bytes, found {bytes}", slot.bytes);
            return Err(error(ErrorCode::BadPackage, message, "quantize the model again"));
        }
        let memory = &mut self.buffers[slot.buffer];
        let buffer = match &memory.buffer {
            Some(buffer) => buffer.clone(),
            None => {
                let wanted = &self.plan.buffers[slot.buffer];
                let made = self.gpu.js.weight_buffer(&wanted.label, wanted.bytes as f64).map_err(|e| from_js(&e))?;
                memory.buffer.insert(made).clone()
            }
        };
        sys::mapped_range(&buffer, slot.offset as f64, slot.bytes as f64).map_err(|e| from_js(&e))
    }

    pub(super) fn seal_plane(&mut self, tensor: &str, part: Part) -> Result<(), RemoteError> {
        let slot = self.plan.plane_of(&self.graph, tensor, part).ok_or_else(|| unknown_plane(tensor, part))?;
        let memory = &mut self.buffers[slot.buffer];
        memory.waiting = memory.waiting.saturating_sub(1);
        if let (0, Some(buffer)) = (memory.waiting, &memory.buffer) {
            sys::unmap(buffer);
        }
        Ok(())
    }

    /// Checks that every plane came and every allocation held; builds the pipelines where that was asked.
    pub(crate) async fn finish_load(&mut self) -> Result<(), RemoteError> {
        if let Some(index) = self.buffers.iter().position(|b| b.waiting > 0) {
            let message = format!("the package has not every plane of `{}`", self.plan.buffers[index].label);
            return Err(error(ErrorCode::BadPackage, message, "quantize the model again"));
        }
        JsFuture::from(self.gpu.js.check_allocations()).await.map_err(|e| from_js(&e))?;
        if self.precompile {
            self.precompile().await?;
        }
        Ok(())
    }

    /// Builds the pipelines of a short and of a usual length: kernels depend on shapes only through their tiles.
    async fn precompile(&self) -> Result<(), RemoteError> {
        for seq in [1, 8, 128] {
            let bindings = Bindings::new([("batch", 1), ("seq", seq)]);
            // A shape that does not fit, or a kernel that does not build, is told when it is wanted.
            let _ = self.build(&bindings).await;
        }
        Ok(())
    }

    /// Makes buffers, bind groups and missing pipelines for a shape; gives the time it took in ms, 0 when cached.
    pub(crate) async fn prepare(&mut self, bindings: &Bindings) -> Result<f64, RemoteError> {
        if let Some(index) = self.prepared.iter().position(|p| p.bindings == *bindings) {
            let used = self.prepared.remove(index);
            self.prepared.push(used);
            return Ok(0.0);
        }
        let start = now_ms();
        let recording = match self.build(bindings).await {
            // A driver may refuse what its adapter claims to have; core WebGPU is left.
            Err(failed) if failed.code == ErrorCode::Validation && !self.options.portable => {
                sys::warn(&format!("taking portable kernels: {}", failed.message));
                self.options.portable = true;
                self.prepared.clear();
                self.build(bindings).await?
            }
            built => built?,
        };
        let prepared = self.record(bindings, recording).await?;
        if self.prepared.len() == PREPARED_SHAPES {
            self.prepared.remove(0);
        }
        self.prepared.push(prepared);
        let held: usize = self.prepared.iter().map(|p| p.recording.activation_bytes()).sum();
        self.peak_bytes = self.peak_bytes.max((self.plan.total_bytes() + held) as u64);
        Ok(now_ms() - start)
    }

    /// Plans for a shape, and builds the pipelines that are missing.
    async fn build(&self, bindings: &Bindings) -> Result<Recording, RemoteError> {
        let recording = self.lower(bindings)?;
        self.gpu.build_all(recording.dispatches.iter().map(|d| &d.kernel)).await?;
        Ok(recording)
    }

    fn lower(&self, bindings: &Bindings) -> Result<Recording, RemoteError> {
        lower(&self.graph, &self.plan, bindings, &self.gpu.caps, &self.options).map_err(|e| from_plan(&e))
    }

    async fn record(&self, bindings: &Bindings, recording: Recording) -> Result<Prepared, RemoteError> {
        let (pipelines, weights) = (Array::new(), Array::new());
        for buffer in &self.buffers {
            weights.push(buffer.buffer.as_ref().ok_or_else(|| internal("a weight buffer was never made"))?);
        }
        let mut kernels: Vec<_> = recording.dispatches.iter().map(|d| d.kernel.clone()).collect();
        kernels.sort();
        kernels.dedup();
        for kernel in &kernels {
            pipelines.push(&self.gpu.pipeline(kernel).await?);
        }
        let uniforms = Uint8Array::from(&recording.uniforms[..]);
        let js = self.gpu.js.record(&spec(&recording, &kernels), uniforms, &weights, &pipelines);
        let js = js.map_err(|e| from_js(&e))?;
        JsFuture::from(self.gpu.js.check_allocations()).await.map_err(|e| from_js(&e))?;
        Ok(Prepared { bindings: bindings.clone(), recording, js })
    }

    /// Runs the model once; the shape is prepared where it is not yet.
    pub(crate) async fn run(&mut self, inputs: &[(String, Tensor)], profile: bool) -> Result<RunOutcome, RemoteError> {
        let given: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.shape())).collect();
        let bindings = self.graph.bind(&given).map_err(|e| error(ErrorCode::BadInput, e.to_string(), ""))?;
        self.prepare(&bindings).await?;
        let prepared = self.prepared.last().ok_or_else(|| internal("no shape is prepared"))?;
        let bytes = Array::new();
        for port in &prepared.recording.inputs {
            let tensor = inputs.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| tensor);
            let tensor = tensor.ok_or_else(|| internal(format!("input `{}` is missing", port.name)))?;
            bytes.push(&Uint8Array::from(&tensor.to_le_bytes()[..]));
        }
        let timed = profile && self.gpu.has_timestamps();
        let ran: Ran = JsFuture::from(prepared.js.run(&bytes, timed)).await.map_err(|e| from_js(&e))?.unchecked_into();
        outcome(&prepared.recording, &ran)
    }

    /// WGSL kernels ran, on the adapter that [`Model::adapter`] names.
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        ImplementationType::RealWebgpu
    }

    /// Bytes of the weight buffers.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.plan.total_bytes() as u64
    }

    /// Most bytes of this model's buffers at once.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        Some(self.peak_bytes)
    }

    /// Dispatches of the last prepared shape.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        self.prepared.last().map(|p| p.recording.dispatches.len() as u32)
    }

    /// Kernels of the last prepared shape, by operator.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        let mut variants: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dispatch in self.prepared.iter().rev().take(1).flat_map(|p| &p.recording.dispatches) {
            let kernel = dispatch.kernel.to_string();
            let kernels = variants.entry(dispatch.kernel.file.to_owned()).or_default();
            if !kernels.contains(&kernel) {
                kernels.push(kernel);
            }
        }
        variants.into_iter().map(|(file, kernels)| (file, kernels.join("; "))).collect()
    }

    /// The adapter of the device.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        Some(self.gpu.adapter.clone())
    }

    /// Destroys the buffers.
    pub(crate) fn dispose(&mut self) {
        self.prepared.clear();
        for memory in &mut self.buffers {
            if let Some(buffer) = memory.buffer.take() {
                sys::destroy_buffer(&buffer);
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.dispose();
    }
}

/// The recording as `js/gpu.js` reads it.
fn spec(recording: &Recording, kernels: &[webnibble_kernels::shaders::Kernel]) -> String {
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

fn outcome(recording: &Recording, ran: &Ran) -> Result<RunOutcome, RemoteError> {
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

fn unknown_plane(tensor: &str, part: Part) -> RemoteError {
    let message = format!("plane {part:?} of `{tensor}` is not one that the model's graph has");
    error(ErrorCode::BadPackage, message, "quantize the model again with this version")
}

fn from_plan(plan: &PlanError) -> RemoteError {
    let (code, hint) = match plan {
        PlanError::MissingWeight(_) => (ErrorCode::BadPackage, "quantize the model again"),
        PlanError::BindingTooLarge { .. } => {
            (ErrorCode::Unsupported, "use fewer bits, a smaller batch or shorter texts")
        }
        PlanError::TooManyWorkgroups { .. } => (ErrorCode::Unsupported, "use a smaller batch or shorter texts"),
        PlanError::Graph(_) | PlanError::Empty(_) => (ErrorCode::BadInput, ""),
        _ => (ErrorCode::Internal, ""),
    };
    error(code, plan.to_string(), hint)
}

#[cfg(all(test, feature = "measure"))]
mod measure;
#[cfg(test)]
mod tests;
