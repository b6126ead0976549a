//! The seam between a loaded model and what computes it.
//!
//! Loading fills the planes of a package one by one, in file order: [`PlaneSink::begin_plane`] gives a view of exactly the
//! plane's length, the caller fills it as bytes come, [`PlaneSink::finish_plane`] takes it back; [`Model::finish_load`]
//! closes. Then, for the outputs that [`Model::want`] names and for each shape, [`Model::prepare`] once, and for each inference
//! [`Model::submit`] and [`Pending::read`].
//! Only the backends in here say which implementation type really ran.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::Bindings;
use webnibble_common::options::{ExecutionProvider, Platform};
use webnibble_common::package::{Header, Plane};
use webnibble_common::program::{DECODE, Program};
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, WebNnInfo};
use webnibble_common::wire::{Adjustment, ErrorCode, LoadOptions, RemoteError};
use webnibble_kernels::cpu::Threads;

use crate::error::{error, internal};
use crate::plane_sink::PlaneSink;
use crate::stop::Stop;
use crate::sys;
use crate::threads;

#[cfg(test)]
mod choosing;
#[cfg(test)]
mod conversations;
pub(crate) mod cpu;
mod outcome;
mod planes;
mod selected;
mod spares;
mod states;
#[cfg(test)]
mod testing;
pub(crate) mod webgpu;
pub(crate) mod webnn;

pub(crate) use outcome::{Built, RunOutcome, RunRequest, device_adjustment};
use outcome::{activations_adjustment, adjusted};
pub(crate) use states::States;

/// The devices that models run on, opened when the first model needs them.
#[derive(Default)]
pub(crate) struct Devices {
    gpu: Option<Rc<webgpu::Gpu>>,
    /// A device of core WebGPU: without features, with the limits that every adapter has.
    core_gpu: Option<Rc<webgpu::Gpu>>,
    /// By the device asked for.
    webnn: BTreeMap<Option<ExecutionProvider>, Rc<webnn::Context>>,
    /// What was asked for, and what came of it; threads end with the last model that has them.
    threads: Option<(Option<u32>, Weak<Threads>)>,
}

impl Devices {
    /// The GPU device, with all that its adapter has or with core WebGPU alone; a new one after the last was lost.
    pub(crate) async fn gpu(&mut self, core: bool) -> Result<Rc<webgpu::Gpu>, RemoteError> {
        let slot = if core { &mut self.core_gpu } else { &mut self.gpu };
        match slot.take().filter(|gpu| !gpu.is_lost()) {
            Some(gpu) => Ok(Rc::clone(slot.insert(gpu))),
            None => Ok(Rc::clone(slot.insert(Rc::new(webgpu::Gpu::open(core).await?)))),
        }
    }

    /// The WebNN context on `device`; a new one after the last was lost.
    pub(crate) async fn webnn(&mut self, device: Option<ExecutionProvider>) -> Result<Rc<webnn::Context>, RemoteError> {
        if let Some(context) = self.webnn.get(&device).filter(|context| !context.is_lost()) {
            return Ok(Rc::clone(context));
        }
        let context = Rc::new(webnn::Context::open(device).await?);
        self.webnn.insert(device, Rc::clone(&context));
        Ok(context)
    }

    /// The CPU's threads: those of the last model that asked for as many, if it is still there.
    pub(crate) async fn threads(&mut self, asked: Option<u32>) -> Rc<Threads> {
        let running = self.threads.as_ref().filter(|(before, _)| *before == asked).and_then(|(_, weak)| weak.upgrade());
        match running {
            Some(threads) => threads,
            None => {
                let threads = Rc::new(threads::start(asked, sys::hardware_concurrency().unwrap_or(1)).await);
                self.threads = Some((asked, Rc::downgrade(&threads)));
                threads
            }
        }
    }
}

/// A model in a backend.
pub(crate) enum Model {
    /// WGSL kernels on a GPU, or on the browser's software adapter.
    WebGpu(webgpu::Model),
    /// A graph of the browser's own neural network API.
    WebNn(webnn::Model),
    /// The CPU executor.
    Cpu(cpu::Model),
}

macro_rules! dispatch {
    ($self:ident, $model:ident => $call:expr) => {
        match $self {
            Model::WebGpu($model) => $call,
            Model::WebNn($model) => $call,
            Model::Cpu($model) => $call,
        }
    };
}

impl Model {
    /// A model without weights yet, on the platform that `options` names.
    pub(crate) async fn new(
        devices: &mut Devices,
        program: impl Into<Program>,
        header: &Header,
        options: &LoadOptions,
    ) -> Result<Self, RemoteError> {
        let program = program.into();
        match options.platform {
            Platform::Wasm => Ok(Self::cpu(devices, program, header, options).await),
            Platform::Webgpu | Platform::Webnn if options.simulate => {
                Ok(Self::cpu(devices, program, header, options).await)
            }
            Platform::Webgpu => {
                let gpu = devices.gpu(options.settings.portable_kernels == Some(true)).await?;
                webgpu::Model::new(&gpu, program, header, options).map(Model::WebGpu)
            }
            Platform::Webnn => Self::webnn_on_device(devices, program, header, options).await.map(Model::WebNn),
            Platform::Auto => Err(error(
                ErrorCode::Unsupported,
                "platform should be webgpu, webnn or wasm, found auto",
                "ask for one of them; which is best is found by asking for each",
            )),
        }
    }

    /// On the device that was asked for; where that is no more than preferred, on any that takes the model.
    async fn webnn_on_device(
        devices: &mut Devices,
        program: Program,
        header: &Header,
        options: &LoadOptions,
    ) -> Result<webnn::Model, RemoteError> {
        // Conversations do not run there: what continues them is never asked for.
        let graph = program.first().map_err(|e| internal(e.to_string()))?.clone();
        let device = options.settings.execution_provider;
        let model = match devices.webnn(device).await {
            Ok(context) => webnn::Model::new(&context, graph.clone(), header, options),
            Err(refused) => Err(refused),
        };
        match model {
            Err(refused) if options.prefer_device && device.is_some() => {
                let mut model = webnn::Model::new(&devices.webnn(None).await?, graph, header, options)?;
                model.adjust(device_adjustment(&refused));
                Ok(model)
            }
            model => model,
        }
    }

    async fn cpu(devices: &mut Devices, program: Program, header: &Header, options: &LoadOptions) -> Self {
        Model::Cpu(cpu::Model::new(program, header, options, devices.threads(options.settings.threads).await))
    }

    /// Closes loading once every plane came: checks for failed allocations, and builds pipelines where that was asked.
    /// What it took comes back.
    pub(crate) async fn finish_load(&mut self) -> Result<Built, RemoteError> {
        dispatch!(self, model => model.finish_load().await)
    }

    /// Has later runs be of the program's graph of that name, and give these outputs alone: what they do not need is not
    /// computed. Before that, runs are of the first graph and give all.
    ///
    /// # Errors
    /// `unsupported` for a graph that continues conversations on WebNN, `internal` for one that the program has not.
    pub(crate) fn want(&mut self, graph: &str, outputs: &[String]) -> Result<(), RemoteError> {
        match self {
            Model::WebGpu(model) => model.want(graph, outputs),
            Model::Cpu(model) => model.want(graph, outputs),
            Model::WebNn(_) if graph == DECODE => Err(no_conversations()),
            Model::WebNn(model) => {
                model.want(outputs);
                Ok(())
            }
        }
    }

    /// Makes ready for a shape; gives the time it took in ms, 0 when the shape was prepared already.
    pub(crate) async fn prepare(&mut self, bindings: &Bindings) -> Result<f64, RemoteError> {
        dispatch!(self, model => model.prepare(bindings).await)
    }

    /// An empty conversation of `batch` items. It outlives no model: what it has on a device is of no use without.
    ///
    /// # Errors
    /// `unsupported` on WebNN, and what the backend says.
    pub(crate) fn new_states(&self, batch: usize) -> Result<States, RemoteError> {
        match self {
            Model::WebGpu(model) => model.new_states(batch).map(States::WebGpu),
            Model::Cpu(model) => model.new_states(batch).map(States::Cpu),
            Model::WebNn(_) => Err(no_conversations()),
        }
    }

    /// Begins an inference; several may be in flight, and are read in any order. The CPU has computed it when this returns, and
    /// leaves early when `stop` says so. A model that keeps states needs those of a conversation, in which the run's positions
    /// count from then on.
    ///
    /// # Errors
    /// `bad_input` for outputs that the model has not and for states that are not its own or have no room, and what the
    /// backend says. The conversation is what it was then.
    pub(crate) async fn submit(
        &mut self,
        request: &RunRequest<'_>,
        states: Option<&mut States>,
        stop: &Stop,
    ) -> Result<Pending, RemoteError> {
        request.check(dispatch!(self, model => model.wanted()))?;
        match (self, states) {
            (Model::WebGpu(model), None) => model.submit(request, None).await.map(Pending::WebGpu),
            (Model::WebGpu(model), Some(States::WebGpu(states))) => {
                model.submit(request, Some(states)).await.map(Pending::WebGpu)
            }
            (Model::WebNn(model), None) => model.submit(request).await.map(Pending::WebNn),
            (Model::Cpu(model), None) => model.run(request, None, stop).await.map(Pending::Done),
            (Model::Cpu(model), Some(States::Cpu(states))) => {
                model.run(request, Some(states), stop).await.map(Pending::Done)
            }
            (_, Some(_)) => Err(error(ErrorCode::BadInput, "the states are those of a model on another platform", "")),
        }
    }

    /// What really runs.
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        dispatch!(self, model => model.implementation_type())
    }

    /// Bytes of weights in the backend's memory.
    pub(crate) fn weights_bytes(&self) -> u64 {
        dispatch!(self, model => model.weights_bytes())
    }

    /// Most bytes of GPU buffers at once, weights included.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        dispatch!(self, model => model.gpu_peak_bytes())
    }

    /// Dispatches of one inference.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        dispatch!(self, model => model.dispatches())
    }

    /// Kernel variant chosen for each kind of operator.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        dispatch!(self, model => model.variants())
    }

    /// Options that were set otherwise than asked for.
    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        match self {
            Model::WebGpu(model) => model.adjustments(),
            Model::WebNn(model) => model.adjustments(),
            Model::Cpu(model) => model.adjustments(),
        }
    }

    /// The adapter, for WebGPU.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        dispatch!(self, model => model.adapter())
    }

    /// The context and the graph, for WebNN.
    pub(crate) fn webnn(&self) -> Option<WebNnInfo> {
        match self {
            Model::WebNn(model) => model.webnn(),
            Model::WebGpu(_) | Model::Cpu(_) => None,
        }
    }

    /// Bits that activations have between operators: 8 where linear operators are computed in int8.
    pub(crate) fn activation_bits(&self) -> Bits {
        match self {
            Model::WebNn(model) => model.activation_bits(),
            Model::Cpu(model) => model.activation_bits(),
            Model::WebGpu(_) => Bits::B32,
        }
    }

    /// Frees what the model holds outside wasm memory.
    pub(crate) fn dispose(&mut self) {
        dispatch!(self, model => model.dispose());
    }
}

fn no_conversations() -> RemoteError {
    let message = "models that keep states of a conversation do not run on WebNN yet";
    error(ErrorCode::Unsupported, message, "ask for --platform webgpu or wasm")
}

/// An inference that was begun. Dropped unread, it gives back what it holds.
pub(crate) enum Pending {
    WebGpu(webgpu::Pending),
    WebNn(webnn::Pending),
    /// Computed already.
    Done(RunOutcome),
}

impl Pending {
    /// Waits until it is done, and gives what was wanted of it.
    ///
    /// # Errors
    /// `not_finite` for the first output that has a NaN or an infinity, read or not, and what the backend says.
    pub(crate) async fn read(self) -> Result<RunOutcome, RemoteError> {
        match self {
            Pending::WebGpu(pending) => pending.read().await,
            Pending::WebNn(pending) => pending.read().await,
            Pending::Done(outcome) => Ok(outcome),
        }
    }
}

impl PlaneSink for Model {
    /// Mapped GPU memory, or a JavaScript buffer.
    fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        dispatch!(self, model => model.begin_plane(plane))
    }

    fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        dispatch!(self, model => model.finish_plane(plane, view))
    }
}
