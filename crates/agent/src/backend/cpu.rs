//! The CPU backend: the `wasm` platform.

use std::collections::BTreeMap;

use half::f16;
use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::package::{Header, Part, Plane};
use webnibble_common::quant::{Layout, QTensor};
use webnibble_common::result::ImplementationType;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::RunOutcome;
use crate::error::{error, internal};

/// A model whose weights lie, still quantized, in wasm memory.
pub(crate) struct Model {
    graph: Graph,
    weights: WeightMap,
}

impl Model {
    /// A model with room for the weights that `header` lists.
    pub(crate) fn new(graph: Graph, header: &Header) -> Result<Self, RemoteError> {
        let weights = header.meta.tensors.iter().map(|(name, tensor)| (name.clone(), empty(tensor))).collect();
        Ok(Self { graph, weights })
    }

    /// A JavaScript buffer of the plane's length.
    pub(crate) fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        let bytes = u32::try_from(plane.end - plane.begin).map_err(|_| {
            let message =
                format!("plane of `{}` should be at most 4 GiB, found {}", plane.tensor, plane.end - plane.begin);
            error(ErrorCode::BadPackage, message, "")
        })?;
        Ok(Uint8Array::new_with_length(bytes))
    }

    /// Copies the plane into wasm memory.
    pub(crate) fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        let Some(weight) = self.weights.get_mut(&plane.tensor) else {
            return Err(internal(format!("plane of `{}`, which the package's metadata does not list", plane.tensor)));
        };
        let bytes = view.to_vec();
        match (weight, plane.part) {
            (WeightData::Vector(values), Part::Packed) => {
                let words = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                *values = words.take(values.len()).collect();
            }
            (WeightData::Matrix(matrix), Part::Packed) => matrix.packed = bytes,
            (WeightData::Matrix(matrix), Part::Scale) => {
                let scales = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]));
                matrix.scales = scales.take(matrix.layout.scale_count()).collect();
            }
            (WeightData::Matrix(matrix), Part::Zero) => {
                matrix.zeros = bytes;
                matrix.zeros.truncate(matrix.layout.scale_count());
            }
            (_, part) => {
                return Err(internal(format!("plane {part:?} does not belong to `{}`", plane.tensor)));
            }
        }
        Ok(())
    }

    /// Nothing is left to do.
    pub(crate) async fn finish_load(&mut self) -> Result<(), RemoteError> {
        Ok(())
    }

    /// Nothing depends on the shape.
    pub(crate) async fn prepare(&mut self, _bindings: &Bindings) -> Result<f64, RemoteError> {
        Ok(0.0)
    }

    /// Runs the graph.
    pub(crate) async fn run(
        &mut self,
        _inputs: &[(String, Tensor)],
        _profile: bool,
    ) -> Result<RunOutcome, RemoteError> {
        let message = format!("the CPU executor is not part of this build ({} operators)", self.graph.nodes.len());
        Err(error(ErrorCode::Unsupported, message, ""))
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

/// A weight of the right shape that waits for its planes.
fn empty(tensor: &webnibble_common::package::TensorMeta) -> WeightData {
    match tensor.shape[..] {
        [rows, cols] => WeightData::Matrix(QTensor {
            layout: Layout::new(tensor.format, rows, cols),
            packed: Vec::new(),
            scales: Vec::new(),
            zeros: Vec::new(),
        }),
        _ => WeightData::Vector(vec![0.0; tensor.shape.iter().product()]),
    }
}

fn bytes_of(weight: &WeightData) -> u64 {
    let bytes = match weight {
        WeightData::Matrix(matrix) => matrix.packed.len() + 2 * matrix.scales.len() + matrix.zeros.len(),
        WeightData::Vector(values) => 4 * values.len(),
    };
    bytes as u64
}
