//! The CPU backend: the `wasm` platform, and the simulation of the others.

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::options::Platform;
use webnibble_common::package::{Header, Plane};
use webnibble_common::program::Program;
use webnibble_common::quant::Bits;
use webnibble_common::record::ImplementationType;
use webnibble_common::state::StateSet;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::{Adjustment, ErrorCode, LoadOptions, RemoteError};
use webnibble_kernels::cpu::{Executor, Threads};
use webnibble_kernels::exec::{ExecError, Int8Linears};

use super::outcome::{Built, RunOutcome, RunRequest, activations_adjustment, adjusted};
use super::planes::Planes;
use super::selected::Selected;
use crate::error::error;
use crate::plane_sink::buffer;
use crate::stop::Stop;
use crate::tasks::Pacer;
use crate::threads;

/// A model whose weights lie, still quantized, in wasm memory.
pub(crate) struct Model {
    selected: Selected,
    header: Header,
    /// Planes that came, until [`Model::finish_load`] makes weights of them.
    planes: Planes,
    weights: WeightMap,
    threads: Rc<Threads>,
    /// What it says that it is.
    implementation_type: ImplementationType,
    /// Linear operators in int8, where that was asked for.
    int8: Int8Linears,
    int8_asked: Option<Int8Asked>,
    threads_asked: Option<u32>,
}

/// How linear operators were asked for in int8.
#[derive(Clone, Copy)]
enum Int8Asked {
    /// By the package's ranges: a simulation of WebNN.
    AsWebnn,
    /// By ranges of the values as they come.
    Dynamic,
}

impl Int8Asked {
    fn of(options: &LoadOptions) -> Option<Self> {
        let asked = match options.platform {
            Platform::Webnn => Self::AsWebnn,
            Platform::Wasm => Self::Dynamic,
            Platform::Webgpu | Platform::Auto => return None,
        };
        (options.settings.activation_bits == Bits::B8).then_some(asked)
    }

    /// For the record.
    fn name(self) -> &'static str {
        match self {
            Self::AsWebnn => "int8",
            Self::Dynamic => "int8_dynamic",
        }
    }
}

impl Model {
    /// A model that waits for the planes that `header` lists. Where `options` name another platform than its own, the
    /// executor simulates that.
    pub(crate) fn new(program: Program, header: &Header, options: &LoadOptions, threads: Rc<Threads>) -> Self {
        let implementation_type = match options.platform {
            Platform::Webgpu => ImplementationType::SimulatedWebgpu,
            Platform::Webnn => ImplementationType::SimulatedWebnn,
            Platform::Wasm | Platform::Auto => ImplementationType::RealWasm,
        };
        Self {
            selected: Selected::first(program),
            header: header.clone(),
            planes: Planes::default(),
            weights: WeightMap::new(),
            threads,
            implementation_type,
            int8: Int8Linears::default(),
            int8_asked: Int8Asked::of(options),
            threads_asked: options.settings.threads,
        }
    }

    /// A JavaScript buffer of the plane's length.
    pub(crate) fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        buffer(plane)
    }

    /// Copies the plane into wasm memory.
    pub(crate) fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        self.planes.take(plane, view);
        Ok(())
    }

    /// Makes weights of the planes. Nothing is compiled.
    pub(crate) async fn finish_load(&mut self) -> Result<Built, RemoteError> {
        self.weights = self.planes.weights(self.selected.last(), &self.header)?;
        let (graph, activations) = (self.selected.last(), self.header.meta.activations.as_ref());
        self.int8 = match (self.int8_asked, activations) {
            (Some(Int8Asked::AsWebnn), Some(activations)) => {
                Int8Linears::new(graph, &self.weights, activations).map_err(|e| failed(&e))?
            }
            (Some(Int8Asked::Dynamic), _) => Int8Linears::dynamic(graph, &self.weights),
            _ => Int8Linears::default(),
        };
        Ok(Built::default())
    }

    /// What it computes: the graph as far as the outputs need it that are wanted.
    pub(crate) fn wanted(&self) -> &Graph {
        self.selected.wanted()
    }

    /// Has later runs be of that graph, and give these outputs alone.
    pub(crate) fn want(&mut self, graph: &str, outputs: &[String]) -> Result<(), RemoteError> {
        self.selected.want(graph, outputs)
    }

    /// Nothing depends on the shape.
    pub(crate) async fn prepare(&mut self, _bindings: &Bindings) -> Result<f64, RemoteError> {
        Ok(0.0)
    }

    /// An empty conversation of `batch` items, in wasm memory.
    pub(crate) fn new_states(&self, batch: usize) -> Result<StateSet, RemoteError> {
        let states = StateSet::new(&self.selected.last().states, batch, &Bindings::new([("batch", batch)]));
        states.map_err(|e| failed(&e.into()))
    }

    /// Runs the graph, operator by operator, each checked to be finite; gives way to events in between, so that `stop` can be
    /// told. There is nothing left to wait for then. A conversation that is stopped is what it was.
    pub(crate) async fn run(
        &mut self,
        request: &RunRequest<'_>,
        states: Option<&mut StateSet>,
        stop: &Stop,
    ) -> Result<RunOutcome, RemoteError> {
        let mut pacer = Pacer::new();
        let executor = Executor::new(self.selected.wanted(), &self.weights, request.inputs).map_err(|e| failed(&e))?;
        let mut executor = executor.on(&self.threads).with_activations(&self.int8);
        if let Some(states) = states {
            executor = executor.with_states(states).map_err(|e| failed(&e))?;
        }
        while executor.step().map_err(|e| failed(&e))? {
            pacer.pause().await;
            stop.check()?;
        }
        let mut outputs = executor.outputs().map_err(|e| failed(&e))?;
        outputs.retain(|(name, _)| request.wants(name));
        Ok(RunOutcome { outputs, token: None, gpu_ms: None, kernels: None })
    }

    /// The CPU executor, asked for as such or in another's place.
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        self.implementation_type
    }

    /// 8 where linear operators are computed in int8.
    pub(crate) fn activation_bits(&self) -> Bits {
        if self.int8.is_empty() { Bits::B32 } else { Bits::B8 }
    }

    /// Bytes of the weights as they are held.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.weights.values().map(WeightData::bytes).sum()
    }

    /// There is no GPU.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        None
    }

    /// There are no dispatches.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        None
    }

    /// What this binary's products are made of, the threads that compute them, and how many of the linear operators
    /// that run are in int8.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        let threads = self.threads.count().to_string();
        let known = [("product", threads::product().to_owned()), ("threads", threads)];
        let mut variants = BTreeMap::from(known.map(|(k, v)| (k.to_owned(), v)));
        if let (Some(asked), false) = (self.int8_asked, self.int8.is_empty()) {
            variants.insert("linear".to_owned(), format!("{}: {}", asked.name(), self.int8.count_in(self.wanted())));
        }
        variants
    }

    /// Options that were set otherwise than asked for.
    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        let mut adjustments = Vec::new();
        if let (Some(asked), true) = (self.int8_asked, self.int8.is_empty()) {
            let reason = match (asked, &self.header.meta.activations) {
                (Int8Asked::AsWebnn, None) => "the package has no ranges of activations: it was not calibrated",
                _ => "no linear operator has weights of 8 bits, symmetric, with one scale a channel or tensor",
            };
            adjustments.push(activations_adjustment(Bits::B32, reason));
        }
        let count = self.threads.count();
        if let Some(asked) = self.threads_asked.filter(|asked| *asked as usize != count) {
            let reason = format!("the page can have {count} threads, {asked} were asked for");
            adjustments.push(adjusted("threads", count.into(), &reason));
        }
        adjustments
    }

    /// There is no adapter.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        None
    }

    /// Gives the weights' memory back to wasm's allocator.
    pub(crate) fn dispose(&mut self) {
        self.weights.clear();
    }
}

fn failed(problem: &ExecError) -> RemoteError {
    let (code, hint) = match problem {
        _ if problem.is_bad_input() => (ErrorCode::BadInput, ""),
        ExecError::NonFinite { .. } => (ErrorCode::NotFinite, "use more bits"),
        ExecError::Weight { .. } | ExecError::NoLinear { .. } | ExecError::Int8 { .. } => {
            (ErrorCode::BadPackage, "quantize the model again")
        }
        _ => (ErrorCode::Internal, ""),
    };
    error(code, problem.to_string(), hint)
}

#[cfg(test)]
#[path = "cpu_tests.rs"]
mod tests;
