//! The device, its pipelines, and its errors in the wire's words.

use std::cell::RefCell;
use std::collections::BTreeMap;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use webnibble_common::capabilities::Adapter;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::DeviceCaps;
use webnibble_kernels::shaders::Kernel;

use super::sys::{CodedError, JsGpu, open_gpu};
use crate::error::{error, internal};

/// A WebGPU device, shared by the models that run on it.
pub(crate) struct Gpu {
    /// The adapter that the device was made from.
    pub(crate) adapter: Adapter,
    /// What the choice of kernels depends on: what the device has, which is not all that the adapter has.
    pub(super) caps: DeviceCaps,
    /// What the device has.
    pub(super) abilities: Abilities,
    pub(super) js: JsGpu,
    /// Pipelines by kernel: models of one family share them.
    pipelines: RefCell<BTreeMap<Kernel, JsValue>>,
}

impl Gpu {
    /// Asks for an adapter, several times where the first answer is none, and for a device with all it offers, or with
    /// `core` WebGPU alone: no features, default limits.
    pub(crate) async fn open(core: bool) -> Result<Self, RemoteError> {
        let js: JsGpu = JsFuture::from(open_gpu(core)).await.map_err(|e| from_js(&e))?.unchecked_into();
        let unexpected = |e| internal(format!("the adapter's description is not as expected: {e}"));
        let adapter: Adapter = serde_json::from_str(&js.info()).map_err(unexpected)?;
        let abilities: Abilities = serde_json::from_str(&js.abilities()).map_err(unexpected)?;
        let caps = caps(&abilities, adapter.hardware);
        Ok(Self { adapter, caps, abilities, js, pipelines: RefCell::default() })
    }

    /// Whether the device was lost: a new one must be opened for new models.
    pub(crate) fn is_lost(&self) -> bool {
        self.js.lost_reason().is_some()
    }

    /// Destroys the device, as a driver reset would. For tests.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.js.lose_device();
    }

    /// Whether kernels can be timed.
    pub(super) fn has_timestamps(&self) -> bool {
        self.abilities.features.iter().any(|f| f == "timestamp-query")
    }

    /// Pipelines that are built. For tests.
    #[cfg(test)]
    pub(super) fn pipeline_count(&self) -> usize {
        self.pipelines.borrow().len()
    }

    /// The kernel's pipeline, built unless it is there.
    pub(super) async fn pipeline(&self, kernel: &Kernel) -> Result<JsValue, RemoteError> {
        if let Some(pipeline) = self.pipelines.borrow().get(kernel) {
            return Ok(pipeline.clone());
        }
        let source = kernel.source().map_err(internal)?;
        let built = JsFuture::from(self.js.pipeline(&kernel.to_string(), &source)).await.map_err(|e| from_js(&e))?;
        self.pipelines.borrow_mut().insert(kernel.clone(), built.clone());
        Ok(built)
    }

    /// Builds all that are missing, at the same time: browsers compile on several threads.
    pub(super) async fn build_all(&self, kernels: impl Iterator<Item = &Kernel>) -> Result<(), RemoteError> {
        let mut missing: Vec<&Kernel> = kernels.filter(|k| !self.pipelines.borrow().contains_key(k)).collect();
        missing.sort();
        missing.dedup();
        let built = futures_util::future::join_all(missing.into_iter().map(|kernel| self.pipeline(kernel))).await;
        built.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.js.close();
    }
}

/// Features and limits of a device.
#[derive(serde::Deserialize)]
pub(super) struct Abilities {
    pub(super) features: Vec<String>,
    pub(super) limits: BTreeMap<String, u64>,
}

fn caps(device: &Abilities, hardware: bool) -> DeviceCaps {
    let has = |feature: &str| device.features.iter().any(|f| f == feature);
    let limit = |name: &str, core: usize| device.limits.get(name).map_or(core, |v| *v as usize);
    let core = DeviceCaps::CORE;
    let invocations = limit("maxComputeInvocationsPerWorkgroup", core.invocations);
    let binding = limit("maxStorageBufferBindingSize", core.storage_binding_bytes);
    let buffer = limit("maxBufferSize", core.buffer_bytes);
    DeviceCaps {
        f16: has("shader-f16"),
        subgroups: has("subgroups"),
        workgroup_storage_bytes: limit("maxComputeWorkgroupStorageSize", core.workgroup_storage_bytes),
        invocations: invocations.min(limit("maxComputeWorkgroupSizeX", invocations)),
        storage_binding_bytes: binding.min(buffer),
        buffer_bytes: buffer,
        workgroups_per_dimension: limit("maxComputeWorkgroupsPerDimension", core.workgroups_per_dimension),
        software: !hardware,
    }
}

/// An error thrown by `js/gpu.js`.
pub(super) fn from_js(thrown: &JsValue) -> RemoteError {
    let coded: &CodedError = thrown.unchecked_ref();
    let (code, message) = match thrown.is_object() {
        true => (coded.code(), coded.message()),
        false => (None, None),
    };
    let message = message.unwrap_or_else(|| format!("{thrown:?}"));
    let code = code.and_then(|code| serde_json::from_value(serde_json::Value::String(code)).ok());
    let code = code.unwrap_or(ErrorCode::Internal);
    error(code, message, hint(code))
}

fn hint(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::WebgpuUnavailable => {
            "start the browser with WebGPU enabled (Chromium without a GPU: --enable-unsafe-webgpu \
             --use-webgpu-adapter=swiftshader), or ask for --platform wasm"
        }
        ErrorCode::OutOfMemory => "use fewer bits, a smaller batch or shorter texts",
        ErrorCode::DeviceLost => {
            "the model must be loaded again; if it happens again, use fewer bits or shorter inputs"
        }
        ErrorCode::Validation => "try --portable-kernels, and report the kernel's name and the adapter",
        _ => "",
    }
}
