//! Planes of a package on their way to becoming weights in wasm memory.

use std::collections::BTreeMap;

use js_sys::Uint8Array;
use webnibble_common::graph::Graph;
use webnibble_common::package::{Header, Part, Plane};
use webnibble_common::weights::WeightMap;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::error;

/// The bytes that came, by tensor and part.
#[derive(Default)]
pub(super) struct Planes(BTreeMap<(String, u8), Vec<u8>>);

impl Planes {
    /// Copies a plane into wasm memory.
    pub(super) fn take(&mut self, plane: &Plane, view: &Uint8Array) {
        self.0.insert((plane.tensor.clone(), plane.part as u8), view.to_vec());
    }

    /// The graph's weights, in the formats that `header` says; what came is let go.
    pub(super) fn weights(&mut self, graph: &Graph, header: &Header) -> Result<WeightMap, RemoteError> {
        let mut planes = std::mem::take(&mut self.0);
        let mut weights = WeightMap::new();
        for weight in &graph.weights {
            let mut plane = |part| planes.remove(&(weight.name.clone(), part as u8)).unwrap_or_default();
            let (packed, scale, zero) = (plane(Part::Packed), plane(Part::Scale), plane(Part::Zero));
            let made = header.weight(&weight.name, packed, &scale, &zero);
            let made = made.map_err(|e| error(ErrorCode::BadPackage, e.to_string(), "quantize the model again"))?;
            weights.insert(weight.name.clone(), made);
        }
        Ok(weights)
    }
}
