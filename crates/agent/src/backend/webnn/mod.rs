//! The WebNN backend: programs of `webnibble-kernels`, built on a context.
//!
//! Graphs cannot share constants, so each bucket of shapes holds all weights once more, and each part that is computed side
//! by side with others does too; the package's weights stay in
//! wasm memory, in their own format, to build the next one of. Few graphs are kept.

mod choose;
mod context;
mod executable;
mod graph;
mod memory;
mod pending;
pub(crate) mod sys;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph, ValueId};
use webnibble_common::options::Platform;
use webnibble_common::package::{Header, Plane};
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, WebNnInfo};
#[cfg(test)]
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::{Adjustment, ErrorCode, LoadOptions, RemoteError};
use webnibble_kernels::exec::check_inputs;
use webnibble_kernels::plan::Formats;
use webnibble_kernels::webnn::{
    Bucket, Candidate, Lowering, Ranges, Request, Target, bucket_of, candidates, lower_parts,
};

pub(crate) use context::{Context, check_devices};
pub(crate) use pending::Pending;

use self::context::from_webnn;
use self::executable::Executable;
use self::memory::MOST_PARTS;
use self::pending::Made;
#[cfg(test)]
use super::RunOutcome;
use super::planes::Planes;
use super::{Built, RunRequest, activations_adjustment, adjusted, device_adjustment};
use crate::error::{error, internal};
use crate::plane_sink::buffer;
use crate::sys::now_ms;

/// Graphs that are kept beside the one in use: as many as stay under this together.
const KEPT_CONSTANT_BYTES: u64 = 512 << 20;

/// A model on a context.
pub(crate) struct Model {
    context: Rc<Context>,
    graph: Graph,
    /// What runs: the graph as far as the outputs need it that are wanted.
    wanted: Graph,
    formats: Formats,
    ranges: Ranges,
    /// To choose from; one is left once it is chosen.
    candidates: Vec<Candidate>,
    /// Parts of the input to compute side by side, where the caller said.
    asked_parts: Option<usize>,
    /// As many as graphs are built for.
    parts: usize,
    /// How both were chosen: `measured` or `remembered`; nothing where the caller left no choice.
    chosen: Option<&'static str>,
    /// What the caller chose, to say what came of it.
    asked: LoadOptions,
    header: Option<Header>,
    /// Planes that came, until [`Model::finish_load`] makes weights of them.
    planes: Planes,
    weights: WeightMap,
    /// Least recently used first.
    built: Vec<Rc<Executable>>,
    adjustments: Vec<Adjustment>,
    /// Time of building graphs, and of running them to choose.
    took: Cell<Built>,
}

impl Model {
    /// A model that waits for the planes that `header` lists.
    ///
    /// # Errors
    /// `unsupported` for formats that WebNN does not take and lowerings that do not suit the model.
    pub(crate) fn new(
        context: &Rc<Context>,
        graph: Graph,
        header: &Header,
        options: &LoadOptions,
    ) -> Result<Self, RemoteError> {
        let formats = header.meta.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.format)).collect();
        let ranges = header.meta.activations.as_ref().map(|found| found.linears.clone()).unwrap_or_default();
        let lowering = options.settings.lowering.as_deref().map(str::parse).transpose().map_err(|e| from_webnn(&e))?;
        let request = Request {
            lowering,
            experimental: options.settings.experimental_precision,
            int8_activations: options.settings.activation_bits == Bits::B8,
        };
        let candidates = candidates(&graph, &formats, &ranges, &context.limits, request).map_err(|e| from_webnn(&e))?;
        let mut model = Self::with_candidates(context, graph, formats, ranges, candidates);
        model.header = Some(header.clone());
        model.asked = options.clone();
        if let Some(asked) = options.settings.threads {
            model.ask_for_parts(asked as usize);
        }
        Ok(model)
    }

    /// A model whose lowering is one of `candidates`.
    pub(crate) fn with_candidates(
        context: &Rc<Context>,
        graph: Graph,
        formats: Formats,
        ranges: Ranges,
        candidates: Vec<Candidate>,
    ) -> Self {
        Self {
            context: Rc::clone(context),
            wanted: graph.clone(),
            graph,
            formats,
            ranges,
            candidates,
            asked_parts: None,
            parts: 1,
            chosen: None,
            asked: LoadOptions::on(Platform::Webnn),
            header: None,
            planes: Planes::default(),
            weights: WeightMap::new(),
            built: Vec::new(),
            adjustments: Vec::new(),
            took: Cell::default(),
        }
    }

    /// Notes what was set otherwise than asked for.
    pub(crate) fn adjust(&mut self, adjustment: Adjustment) {
        self.adjustments.push(adjustment);
    }

    /// Computes that many parts side by side, whatever would be measured.
    pub(crate) fn ask_for_parts(&mut self, parts: usize) {
        self.parts = parts.clamp(1, MOST_PARTS);
        self.asked_parts = Some(self.parts);
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

    /// Makes weights of the planes, chooses the lowering by measuring, and builds the graph of a usual shape.
    pub(crate) async fn finish_load(&mut self) -> Result<Built, RemoteError> {
        if let Some(header) = self.header.take() {
            self.weights = self.planes.weights(&self.graph, &header)?;
        }
        self.took.take();
        self.choose().await?;
        Ok(self.took.take())
    }

    /// What it computes: the graph as far as the outputs need it that are wanted.
    pub(crate) fn wanted(&self) -> &Graph {
        &self.wanted
    }

    /// Has later runs give these outputs alone.
    pub(crate) fn want(&mut self, outputs: &[String]) {
        self.wanted = self.graph.only(outputs);
    }

    /// Builds the graph of the bucket that a shape falls into; gives the time it took in ms, 0 when it is there already.
    pub(crate) async fn prepare(&mut self, bindings: &Bindings) -> Result<f64, RemoteError> {
        let bucket = bucket_of(&self.graph, bindings);
        let is_it =
            |executable: &Rc<Executable>| executable.bucket == bucket && executable.gives_those_of(&self.wanted);
        if let Some(index) = self.built.iter().position(is_it) {
            let used = self.built.remove(index);
            self.built.push(used);
            return Ok(0.0);
        }
        let start = now_ms();
        let lowering = self.lowering()?;
        let executable = match self.build(lowering, self.parts, bucket.clone()).await {
            // Graphs of other shapes, or parts that have all weights each, may be what takes the memory.
            Err(failed) if failed.code == ErrorCode::OutOfMemory && (self.parts > 1 || !self.built.is_empty()) => {
                self.built.clear();
                self.parts = 1;
                self.build(lowering, self.parts, bucket).await?
            }
            built => built?,
        };
        self.keep(executable);
        Ok(now_ms() - start)
    }

    async fn build(&self, lowering: Lowering, parts: usize, bucket: Bucket) -> Result<Executable, RemoteError> {
        let start = now_ms();
        let target = Target { limits: &self.context.limits, lowering, ranges: &self.ranges };
        let schedule = lower_parts(&self.wanted, &self.formats, &bucket.bindings, &target, parts);
        let schedule = schedule.map_err(|e| from_webnn(&e))?;
        let built = Executable::build(&self.context, schedule, (lowering, bucket), (&self.weights, &self.ranges)).await;
        let took = self.took.get();
        self.took.set(Built { compile_ms: Some(took.compile_ms.unwrap_or(0.0) + now_ms() - start), ..took });
        let built = built?;
        if !self.asked.prefer_device {
            check_devices(self.context.requested, built.devices.as_deref())?;
        }
        Ok(built)
    }

    /// Makes `executable` the one used last, and lets go of those that are too much.
    fn keep(&mut self, executable: Executable) {
        self.built.push(Rc::new(executable));
        while self.built.len() > 1 && self.weights_bytes() > KEPT_CONSTANT_BYTES {
            self.built.remove(0);
        }
    }

    fn lowering(&self) -> Result<Lowering, RemoteError> {
        let first = self.candidates.first().ok_or_else(|| internal("a model has no lowering"))?;
        Ok(first.lowering)
    }

    /// Gives the context an inference; the shape's bucket is built where it is not yet.
    pub(crate) async fn submit(&mut self, request: &RunRequest<'_>) -> Result<Pending, RemoteError> {
        let bindings = check_inputs(&self.graph, request.inputs);
        let bindings = bindings.map_err(|e| error(ErrorCode::BadInput, e.to_string(), ""))?;
        self.prepare(&bindings).await?;
        let executable = self.built.last().ok_or_else(|| internal("no graph is built"))?;
        let made = |id: &ValueId| {
            let (name, shape) = (&self.wanted.value_of(*id).name, self.wanted.shape(*id, &bindings));
            let shape = shape.map_err(|e| internal(e.to_string()))?;
            Ok(Made { name: name.clone(), shape, wanted: request.wants(name) })
        };
        let outputs = self.wanted.outputs.iter().map(made).collect::<Result<_, RemoteError>>()?;
        Pending::submit(executable, request.inputs, outputs).await
    }

    /// Runs the model once, and reads everything. For tests.
    #[cfg(test)]
    pub(crate) async fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<RunOutcome, RemoteError> {
        self.submit(&RunRequest::all_of(inputs)).await?.read().await
    }

    /// A WebNN graph ran, wherever the browser put it ([`Model::webnn`]).
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        ImplementationType::RealWebnn
    }

    /// Bytes of the constants of all graphs that are built.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.built.iter().map(|executable| executable.constant_bytes).sum()
    }

    /// WebNN tells nothing of its memory.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        None
    }

    /// A graph is dispatched as one.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        None
    }

    /// How the linear operators of the graph that was used last get their weights, and in how many parts it runs.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        let Some(last) = self.built.last() else { return BTreeMap::new() };
        let mut variants = BTreeMap::from([("parts".to_owned(), last.parts.to_string())]);
        let counts: Vec<String> = last.linears.iter().map(|(how, count)| format!("{how}: {count}")).collect();
        if !counts.is_empty() {
            variants.insert("linear".to_owned(), counts.join("; "));
        }
        variants
    }

    /// There is no adapter.
    pub(crate) fn adapter(&self) -> Option<Adapter> {
        None
    }

    /// The graph that was used last.
    pub(crate) fn webnn(&self) -> Option<WebNnInfo> {
        let info = self.built.last().map(|executable| executable.info(self.context.requested_name()));
        info.map(|info| WebNnInfo { choice: self.chosen.map(str::to_owned), ..info })
    }

    /// Options that were set otherwise than asked for.
    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        let mut adjustments = self.adjustments.clone();
        let Some(last) = self.built.last() else { return adjustments };
        let elsewhere = check_devices(self.context.requested, last.devices.as_deref()).err();
        adjustments.extend(elsewhere.as_ref().map(device_adjustment));
        let bits = self.activation_bits();
        if self.asked.settings.activation_bits == Bits::B8 && bits != Bits::B8 {
            adjustments.push(activations_adjustment(bits, &self.why_no_int8()));
        }
        if let Some(asked) = self.asked.settings.threads.filter(|asked| *asked as usize != last.parts) {
            let reason = format!("inputs of this shape are computed in {} parts, {asked} were asked for", last.parts);
            adjustments.push(adjusted("threads", last.parts.into(), &reason));
        }
        adjustments
    }

    /// Why linear operators that were to be in int8 are not.
    fn why_no_int8(&self) -> String {
        match &self.asked.settings.lowering {
            Some(lowering) => format!("the lowering {lowering} was asked for, which computes in floats"),
            None if self.ranges.is_empty() => "the package has no ranges of activations: it was not calibrated".into(),
            None => {
                "no linear operator has weights that this context takes for int8: 8 bits, symmetric, with one scale \
                     a channel or tensor"
                    .into()
            }
        }
    }

    /// 8 where linear operators are computed in int8.
    pub(crate) fn activation_bits(&self) -> Bits {
        match self.candidates.first().map(|candidate| candidate.lowering) {
            Some(Lowering::Int8) => Bits::B8,
            Some(Lowering::HalfCompute) => Bits::B16,
            _ => Bits::B32,
        }
    }

    /// Destroys the graphs.
    pub(crate) fn dispose(&mut self) {
        self.built.clear();
        self.weights.clear();
    }
}

#[cfg(test)]
mod tests;
