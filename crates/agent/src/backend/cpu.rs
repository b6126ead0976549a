//! The CPU backend: the `wasm` platform.

use std::collections::BTreeMap;

use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::package::{Header, Part, Plane};
use webnibble_common::result::ImplementationType;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::cpu::Executor;
use webnibble_kernels::exec::ExecError;

use super::RunOutcome;
use crate::error::error;
use crate::stop::Stop;
use crate::tasks::Pacer;
use crate::weights::buffer;

/// A model whose weights lie, still quantized, in wasm memory.
pub(crate) struct Model {
    graph: Graph,
    header: Header,
    /// Planes that came, until [`Model::finish_load`] makes weights of them.
    planes: BTreeMap<(String, u8), Vec<u8>>,
    weights: WeightMap,
}

impl Model {
    /// A model that waits for the planes that `header` lists.
    pub(crate) fn new(graph: Graph, header: &Header) -> Self {
        Self { graph, header: header.clone(), planes: BTreeMap::new(), weights: WeightMap::new() }
    }

    /// A JavaScript buffer of the plane's length.
    pub(crate) fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        buffer(plane)
    }

    /// Copies the plane into wasm memory.
    pub(crate) fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        self.planes.insert((plane.tensor.clone(), plane.part as u8), view.to_vec());
        Ok(())
    }

    /// Makes weights of the planes.
    pub(crate) async fn finish_load(&mut self) -> Result<(), RemoteError> {
        for weight in &self.graph.weights {
            let mut plane = |part| self.planes.remove(&(weight.name.clone(), part as u8)).unwrap_or_default();
            let (packed, scale, zero) = (plane(Part::Packed), plane(Part::Scale), plane(Part::Zero));
            let made = self.header.weight(&weight.name, packed, &scale, &zero);
            let made = made.map_err(|e| error(ErrorCode::BadPackage, e.to_string(), "quantize the model again"))?;
            self.weights.insert(weight.name.clone(), made);
        }
        self.planes.clear();
        Ok(())
    }

    /// Nothing depends on the shape.
    pub(crate) async fn prepare(&mut self, _bindings: &Bindings) -> Result<f64, RemoteError> {
        Ok(0.0)
    }

    /// Runs the graph, operator by operator; gives way to events in between, so that `stop` can be told.
    pub(crate) async fn run(&mut self, inputs: &[(String, Tensor)], stop: &Stop) -> Result<RunOutcome, RemoteError> {
        let mut pacer = Pacer::new();
        let mut executor = Executor::new(&self.graph, &self.weights, inputs).map_err(|e| failed(&e))?;
        while executor.step().map_err(|e| failed(&e))? {
            pacer.pause().await;
            stop.check()?;
        }
        let outputs = executor.outputs().map_err(|e| failed(&e))?;
        Ok(RunOutcome { outputs, gpu_ms: None, kernels: None })
    }

    /// The CPU executor, asked for as such.
    pub(crate) fn implementation_type(&self) -> ImplementationType {
        ImplementationType::RealWasm
    }

    /// Bytes of the weights as they are held.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.weights.values().map(bytes_of).sum()
    }

    /// There is no GPU.
    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        None
    }

    /// There are no dispatches.
    pub(crate) fn dispatches(&self) -> Option<u32> {
        None
    }

    /// The executor has one way of computing each operator.
    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
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
        ExecError::Weight { .. } => (ErrorCode::BadPackage, "quantize the model again"),
        _ => (ErrorCode::Internal, ""),
    };
    error(code, problem.to_string(), hint)
}

fn bytes_of(weight: &WeightData) -> u64 {
    let bytes = match weight {
        WeightData::Matrix(matrix) => matrix.packed.len() + 2 * matrix.scales.len() + matrix.zeros.len(),
        WeightData::Vector(values) => 4 * values.len(),
    };
    bytes as u64
}

#[cfg(test)]
#[path = "cpu_tests.rs"]
mod tests;
