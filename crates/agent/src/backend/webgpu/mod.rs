//! The WebGPU backend.

use std::collections::BTreeMap;

use js_sys::Uint8Array;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::package::{Header, Plane};
use webnibble_common::result::ImplementationType;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, LoadOptions, RemoteError};

use super::RunOutcome;
use crate::error::error;

/// A WebGPU device, shared by the models that run on it.
pub(crate) struct Gpu {
    /// The adapter that the device was made from.
    pub(crate) adapter: Adapter,
}

impl Gpu {
    /// Asks for an adapter and a device.
    pub(crate) async fn open() -> Result<Self, RemoteError> {
        Err(error(ErrorCode::WebgpuUnavailable, "the WebGPU backend is not part of this build", ""))
    }

    /// Whether the device was lost: a new one must be opened for new models.
    pub(crate) fn is_lost(&self) -> bool {
        false
    }
}

/// A model whose weights lie in GPU buffers.
pub(crate) struct Model {
    adapter: Adapter,
}

impl Model {
    pub(crate) fn new(gpu: &Gpu, _graph: Graph, _header: &Header, _options: &LoadOptions) -> Result<Self, RemoteError> {
        Ok(Self { adapter: gpu.adapter.clone() })
    }

    pub(crate) fn begin_plane(&mut self, _plane: &Plane) -> Result<Uint8Array, RemoteError> {
        Err(error(ErrorCode::WebgpuUnavailable, "the WebGPU backend is not part of this build", ""))
    }

    pub(crate) fn finish_plane(&mut self, _plane: &Plane, _view: &Uint8Array) -> Result<(), RemoteError> {
        Ok(())
    }

    pub(crate) async fn finish_load(&mut self) -> Result<(), RemoteError> {
        Ok(())
    }

    pub(crate) async fn prepare(&mut self, _bindings: &Bindings) -> Result<f64, RemoteError> {
        Ok(0.0)
    }

    pub(crate) async fn run(
        &mut self,
        _inputs: &[(String, Tensor)],
        _profile: bool,
    ) -> Result<RunOutcome, RemoteError> {
        Err(error(ErrorCode::WebgpuUnavailable, "the WebGPU backend is not part of this build", ""))
    }

    pub(crate) fn implementation_type(&self) -> ImplementationType {
        ImplementationType::RealWebgpu
    }

    pub(crate) fn weights_bytes(&self) -> u64 {
        0
    }

    pub(crate) fn gpu_peak_bytes(&self) -> Option<u64> {
        None
    }

    pub(crate) fn dispatches(&self) -> Option<u32> {
        None
    }

    pub(crate) fn variants(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    pub(crate) fn adapter(&self) -> Option<Adapter> {
        Some(self.adapter.clone())
    }

    pub(crate) fn dispose(&mut self) {}
}
