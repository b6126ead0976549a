//! The WebGPU backend: a plan of `webnibble-kernels`, made real on a device.

mod adapter;
mod awake;
mod dispatches;
mod errors;
mod gpu;
mod held;
mod memory;
mod pending;
mod readback;
mod recorded;
mod states;
mod timestamps;
mod upload;

use std::collections::BTreeMap;
use std::rc::Rc;

use web_sys::console;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph, ValueId};
use webnibble_common::package::Header;
use webnibble_common::program::Program;
use webnibble_common::record::ImplementationType;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{Adjustment, ErrorCode, LoadOptions, RemoteError};
use webnibble_kernels::plan::{
    Chunking, Formats, PlanError, PlanOptions, Recording, WeightPlan, check_workgroup, kernels, longest_input, lower,
};

pub(crate) use gpu::Gpu;
pub(crate) use pending::Pending;
pub(crate) use states::States;

use self::held::Held;
use self::memory::{Memory, WeightMemory};
use self::pending::Work;
use self::recorded::Recorded;
#[cfg(test)]
use super::outcome::RunOutcome;
use super::outcome::{Built, RunRequest};
use super::selected::Selected;
use crate::error::{error, internal};
use crate::sys::now_ms;

/// Shapes that stay prepared; the one that was not used for longest goes first.
const PREPARED_SHAPES: usize = 8;

/// A model whose weights lie in GPU buffers.
pub(crate) struct Model {
    gpu: Rc<Gpu>,
    /// Its buffers, whose failures are its own: other models share the device.
    memory: Rc<Memory>,
    selected: Selected,
    plan: WeightPlan,
    options: PlanOptions,
    /// Whether portable kernels may be taken where others fail to build.
    retry_portable: bool,
    /// Whether it is yet to be told that operators were cut though nobody asked for it.
    chunks_unasked: bool,
    precompile: bool,
    adjustments: Vec<Adjustment>,
    buffers: Vec<WeightMemory>,
    /// Least recently used first.
    prepared: Vec<Prepared>,
    held: Rc<Held>,
}

/// Tokens of the inference that warms up.
const WARM_UP_TOKENS: usize = 8;

struct Prepared {
    bindings: Bindings,
    /// Of which graph.
    graph: String,
    /// What it gives.
    outputs: Vec<ValueId>,
    recorded: Rc<Recorded>,
}

impl Model {
    /// A model with the buffers that `header`'s tensors need; they are made as their planes come.
    pub(crate) fn new(
        gpu: &Rc<Gpu>,
        program: Program,
        header: &Header,
        options: &LoadOptions,
    ) -> Result<Self, RemoteError> {
        let formats = header.meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format)).collect();
        let mut model =
            Self::with_formats(gpu, program, &formats, plan_options(options), options.settings.shader_precompilation)?;
        model.retry_portable = options.settings.portable_kernels != Some(false);
        if options.settings.half_tiles && (model.options.portable || !gpu.caps.f16) {
            let reason = match model.options.portable {
                true => "portable kernels have no f16",
                false => "the adapter has no shader-f16",
            };
            model.adjust("half_tiles", false, Some(ErrorCode::Unsupported), reason);
        }
        model.chunks_unasked = options.settings.chunked_operations.is_none();
        Ok(model)
    }

    fn adjust(&mut self, option: &str, value: bool, code: Option<ErrorCode>, reason: &str) {
        let (option, value, reason) = (option.to_owned(), value.into(), reason.to_owned());
        self.adjustments.push(Adjustment { option, value, code, reason });
    }

    /// A model of matrices in `formats`.
    pub(crate) fn with_formats(
        gpu: &Rc<Gpu>,
        program: impl Into<Program>,
        formats: &Formats,
        options: PlanOptions,
        precompile: bool,
    ) -> Result<Self, RemoteError> {
        check_workgroup(&gpu.caps, &options).map_err(|e| from_plan(&e))?;
        let selected = Selected::first(program.into());
        let plan = WeightPlan::new(selected.last(), formats, &gpu.caps, &options).map_err(|e| from_plan(&e))?;
        let buffers = (0..plan.buffers.len())
            .map(|index| WeightMemory { buffer: None, waiting: plan.planes().filter(|s| s.buffer == index).count() })
            .collect();
        let held = Rc::new(Held::new(plan.total_bytes() as u64));
        Ok(Self {
            gpu: Rc::clone(gpu),
            memory: Rc::new(Memory::new(gpu)),
            selected,
            plan,
            options,
            retry_portable: true,
            chunks_unasked: false,
            precompile,
            adjustments: Vec::new(),
            buffers,
            prepared: Vec::new(),
            held,
        })
    }

    /// Checks that every plane came and every allocation held; builds the pipelines where that was asked.
    pub(crate) async fn finish_load(&mut self) -> Result<Built, RemoteError> {
        if let Some(index) = self.buffers.iter().position(|b| b.waiting > 0) {
            let message = format!("the package has not every plane of `{}`", self.plan.buffers[index].label);
            return Err(error(ErrorCode::BadPackage, message, "quantize the model again"));
        }
        self.memory.check().await?;
        let start = now_ms();
        if self.precompile {
            self.precompile().await?;
        }
        Ok(Built { compile_ms: self.precompile.then(|| now_ms() - start), choosing_ms: None })
    }

    /// Builds the pipelines that any shape takes, and runs once: drivers leave work to the first dispatch.
    async fn precompile(&mut self) -> Result<(), RemoteError> {
        if let Err(failed) = self.build_every_kernel().await {
            self.take_portable(failed)?;
            self.build_every_kernel().await?;
        }
        let graph = self.wanted();
        let keeps = !graph.states.is_empty();
        let mut states = keeps.then(|| self.new_states(1)).transpose()?;
        let room = states.as_ref().and_then(States::capacity).unwrap_or(usize::MAX);
        let seq = WARM_UP_TOKENS.min(longest_input(graph)).min(room);
        let inputs = zeros(graph, &Bindings::new([("batch", 1), ("seq", seq)]))?;
        self.submit(&RunRequest::all_of(&inputs), states.as_mut()).await?.read().await.map(drop)
    }

    /// An empty conversation of `batch` items, over buffers of its own.
    pub(crate) fn new_states(&self, batch: usize) -> Result<States, RemoteError> {
        States::new(&self.memory, &self.held, self.selected.last(), batch)
    }

    async fn build_every_kernel(&self) -> Result<(), RemoteError> {
        let every = kernels(self.wanted(), &self.plan, &self.gpu.caps, &self.options);
        self.gpu.build_all(every.iter()).await
    }

    /// After kernels failed to build: portable ones from now on, unless these are what failed, or they are not wanted. A
    /// driver may refuse what its adapter claims to have; core WebGPU is left.
    fn take_portable(&mut self, failed: RemoteError) -> Result<(), RemoteError> {
        if failed.code != ErrorCode::Validation || self.options.portable || !self.retry_portable {
            return Err(failed);
        }
        console::warn_1(&format!("taking portable kernels: {}", failed.message).into());
        self.adjust("portable_kernels", true, Some(failed.code), &failed.message);
        self.options.portable = true;
        self.prepared.clear();
        Ok(())
    }

    /// Has later runs be of that graph, and give these outputs alone.
    pub(crate) fn want(&mut self, graph: &str, outputs: &[String]) -> Result<(), RemoteError> {
        self.selected.want(graph, outputs)
    }

    /// Makes buffers, bind groups and missing pipelines for a shape; gives the time it took in ms, 0 when cached.
    pub(crate) async fn prepare(&mut self, bindings: &Bindings) -> Result<f64, RemoteError> {
        let (name, outputs) = (self.selected.name(), &self.wanted().outputs);
        let is_it = |p: &Prepared| p.bindings == *bindings && p.graph == name && p.outputs == *outputs;
        if let Some(index) = self.prepared.iter().position(is_it) {
            let used = self.prepared.remove(index);
            self.prepared.push(used);
            return Ok(0.0);
        }
        let start = now_ms();
        let recording = match self.build(bindings).await {
            Ok(built) => built,
            Err(failed) => {
                self.take_portable(failed)?;
                self.build(bindings).await?
            }
        };
        if self.chunks_unasked && recording.dispatches.len() > whole_dispatches(self.wanted()) {
            let reason = format!("the adapter binds at most {} bytes", self.gpu.caps.storage_binding_bytes);
            self.adjust("chunked_operations", true, None, &reason);
            self.chunks_unasked = false;
        }
        let prepared = self.record(bindings, recording).await?;
        if self.prepared.len() == PREPARED_SHAPES {
            self.prepared.remove(0);
        }
        self.prepared.push(prepared);
        let held: usize = self.prepared.iter().map(|p| p.recorded.recording.activation_bytes()).sum();
        self.held.set_shapes(held as u64);
        Ok(now_ms() - start)
    }

    /// Plans for a shape, and builds the pipelines that are missing.
    async fn build(&self, bindings: &Bindings) -> Result<Recording, RemoteError> {
        let recording = self.lower(bindings)?;
        self.gpu.build_all(recording.dispatches.iter().map(|d| &d.kernel)).await?;
        Ok(recording)
    }

    fn lower(&self, bindings: &Bindings) -> Result<Recording, RemoteError> {
        lower(self.wanted(), &self.plan, bindings, &self.gpu.caps, &self.options).map_err(|e| from_plan(&e))
    }

    async fn record(&self, bindings: &Bindings, recording: Recording) -> Result<Prepared, RemoteError> {
        let mut weights = Vec::new();
        for memory in &self.buffers {
            weights.push(memory.buffer.as_deref().ok_or_else(|| internal("a weight buffer was never made"))?);
        }
        let recorded = Rc::new(Recorded::new(&self.memory, recording, &weights)?);
        self.memory.check().await?;
        let (graph, outputs) = (self.selected.name().to_owned(), self.wanted().outputs.clone());
        Ok(Prepared { bindings: bindings.clone(), graph, outputs, recorded })
    }

    /// What it computes: the graph as far as the outputs need it that are wanted.
    pub(crate) fn wanted(&self) -> &Graph {
        self.selected.wanted()
    }

    /// Gives the device an inference; the shape is prepared where it is not yet. A model with states takes them from the
    /// conversation that it is of, which has the run's positions then.
    pub(crate) async fn submit(
        &mut self,
        request: &RunRequest<'_>,
        states: Option<&mut States>,
    ) -> Result<Pending, RemoteError> {
        let bindings = self.bindings(request)?;
        self.prepare(&bindings).await?;
        let prepared = self.prepared.last().ok_or_else(|| internal("no shape is prepared"))?;
        let given = |name: &str| {
            let tensor = request.inputs.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
            tensor.ok_or_else(|| internal(format!("input `{name}` is missing")))
        };
        let ports = if request.continues() { &[][..] } else { &prepared.recorded.recording.inputs };
        let inputs = ports.iter().map(|port| given(&port.name)).collect::<Result<Vec<_>, _>>()?;
        let work = Work {
            inputs: &inputs,
            states: None,
            choose: request.choose,
            timed: request.profile && self.gpu.has_timestamps(),
        };
        let wants = |output: &str| request.wants(output);
        let Some(written) = self.wanted().written(&bindings).map_err(|e| internal(e.to_string()))? else {
            return Pending::submit(&prepared.recorded, work, wants).await;
        };
        let states = states.filter(|states| states.are_of(&self.memory)).ok_or_else(no_states)?;
        states.make_ready(&prepared.recorded, written).await?;
        if request.choose {
            states.make_choice(&prepared.recorded).await?;
        }
        let pending = Pending::submit(&prepared.recorded, Work { states: Some(states), ..work }, wants).await?;
        states.advance(written.positions, request.choose);
        Ok(pending)
    }

    /// The shape of a run: that of its inputs, or of one token that was chosen before.
    fn bindings(&self, request: &RunRequest<'_>) -> Result<Bindings, RemoteError> {
        if request.continues() {
            return Ok(Bindings::new([("batch", 1), ("seq", 1)]));
        }
        let given: Vec<_> = request.inputs.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.shape())).collect();
        self.wanted().bind(&given).map_err(|e| error(ErrorCode::BadInput, e.to_string(), ""))
    }

    /// Runs the model once, and reads everything. For tests.
    #[cfg(test)]
    pub(crate) async fn run(&mut self, inputs: &[(String, Tensor)], profile: bool) -> Result<RunOutcome, RemoteError> {
        self.submit(&RunRequest { profile, ..RunRequest::all_of(inputs) }, None).await?.read().await
    }

    /// WGSL kernels ran, on the adapter that [`Model::adapter`] names.
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        ImplementationType::RealWebgpu
    }

    /// Bytes of the weight buffers.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.plan.total_bytes() as u64
    }

    /// Most bytes of this model's buffers at once, those of its conversations among them.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        Some(self.held.peak())
    }

    /// Bytes that its conversations have now. For tests.
    #[cfg(test)]
    pub(crate) fn state_bytes(&self) -> u64 {
        self.held.states()
    }

    /// Dispatches of the last prepared shape.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        self.prepared.last().map(|p| p.recorded.recording.dispatches.len() as u32)
    }

    /// Kernels of the last prepared shape, by operator.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        let mut variants: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dispatch in self.prepared.iter().rev().take(1).flat_map(|p| &p.recorded.recording.dispatches) {
            let kernel = dispatch.kernel.to_string();
            let kernels = variants.entry(dispatch.kernel.file.to_owned()).or_default();
            if !kernels.contains(&kernel) {
                kernels.push(kernel);
            }
        }
        variants.into_iter().map(|(file, kernels)| (file, kernels.join("; "))).collect()
    }

    /// Options that were set otherwise than asked for.
    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        self.adjustments.clone()
    }

    /// The adapter of the device.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        Some(self.gpu.adapter.clone())
    }

    /// Destroys the buffers.
    pub(crate) fn dispose(&mut self) {
        self.prepared.clear();
        for memory in &mut self.buffers {
            memory.buffer = None;
        }
    }
}

/// Dispatches of a graph whose operators are not cut: one each, and one that writes its states where it has some.
fn whole_dispatches(graph: &Graph) -> usize {
    graph.nodes.len() + graph.nodes.iter().filter(|node| !node.op.operator().states().is_empty()).count()
}

fn no_states() -> RemoteError {
    error(ErrorCode::BadInput, "the model keeps states, and this run is in none of its conversations", "")
}

/// What the plan is to keep to.
fn plan_options(options: &LoadOptions) -> PlanOptions {
    PlanOptions {
        portable: options.settings.portable_kernels == Some(true),
        half_tiles: options.settings.half_tiles,
        workgroup_size: options.settings.workgroup_size.map(|size| size.iter().product()),
        chunking: match options.settings.chunked_operations {
            Some(true) => Some(Chunking::CAREFUL),
            Some(false) => None,
            None => Some(Chunking::BY_ADAPTER),
        },
        ..PlanOptions::default()
    }
}

/// Inputs of a shape that every graph takes.
fn zeros(graph: &Graph, bindings: &Bindings) -> Result<Vec<(String, Tensor)>, RemoteError> {
    let zero = |id: &ValueId| {
        let (value, shape) = (graph.value_of(*id), graph.shape(*id, bindings).map_err(|e| internal(e.to_string()))?);
        Ok((value.name.clone(), Tensor::zeros(value.dtype, shape)))
    };
    graph.inputs.iter().map(zero).collect()
}

fn from_plan(plan: &PlanError) -> RemoteError {
    let (code, hint) = match plan {
        PlanError::MissingWeight(_) => (ErrorCode::BadPackage, "quantize the model again"),
        PlanError::BindingTooLarge { .. } => (
            ErrorCode::Unsupported,
            "leave out --no-chunked-operations, or use fewer bits, a smaller batch or shorter texts",
        ),
        PlanError::BufferTooLarge { .. } => (
            ErrorCode::Unsupported,
            "leave out --no-chunked-operations and --portable-kernels, or use fewer bits, a smaller batch or shorter texts",
        ),
        PlanError::WorkgroupTooLarge { .. } => (ErrorCode::BadOption, "ask for a smaller --workgroup-size"),
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
