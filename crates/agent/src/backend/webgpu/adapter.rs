//! The adapter: asking for one, what it says of itself, and the device that is made from it.

use std::collections::BTreeMap;

use js_sys::{JsString, Object};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    GpuAdapter, GpuDevice, GpuDeviceDescriptor, GpuPowerPreference, GpuRequestAdapterOptions, GpuSupportedFeatures,
    GpuSupportedLimits,
};
use webnibble_common::capabilities::Adapter;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::DeviceCaps;

use super::errors::{gpu_error, message_of, thrown};
use crate::fields::{field, number, sorted_names, text};
use crate::sys;
use crate::tasks::sleep;

const TRIES: u32 = 10;
const PAUSE_MS: u32 = 200;

/// Features that are taken where an adapter has them.
const FEATURES: [&str; 3] = ["shader-f16", "subgroups", "timestamp-query"];

/// Limits that are taken as high as an adapter has them.
const LIMITS: [&str; 9] = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxComputeWorkgroupSizeY",
    "maxComputeWorkgroupSizeZ",
    "maxComputeWorkgroupsPerDimension",
];

/// Words in the names of adapters that compute on the CPU.
const SOFTWARE: [&str; 5] = ["swiftshader", "llvmpipe", "lavapipe", "software", "basic render"];

/// Features and limits of an adapter or a device.
pub(super) struct Abilities {
    /// Sorted.
    pub(super) features: Vec<String>,
    /// By WebGPU's names.
    pub(super) limits: BTreeMap<String, u64>,
}

impl Abilities {
    /// All that there are, those too that this code does not know.
    pub(super) fn new(features: &GpuSupportedFeatures, limits: &GpuSupportedLimits) -> Self {
        let names = Object::get_own_property_names(&Object::get_prototype_of(limits));
        let limits = names.iter().filter_map(|name| {
            let name = name.as_string()?;
            let limit = number(limits, &name)?;
            Some((name, limit as u64))
        });
        Self { features: sorted_names(features), limits: limits.collect() }
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }

    /// What the choice of kernels depends on.
    pub(super) fn caps(&self, adapter: &Adapter) -> DeviceCaps {
        let limit = |name: &str, core: usize| self.limits.get(name).map_or(core, |limit| *limit as usize);
        let core = DeviceCaps::CORE;
        let invocations = limit("maxComputeInvocationsPerWorkgroup", core.invocations);
        let binding = limit("maxStorageBufferBindingSize", core.storage_binding_bytes);
        let buffer = limit("maxBufferSize", core.buffer_bytes);
        DeviceCaps {
            f16: self.has("shader-f16"),
            subgroups: self.has("subgroups"),
            subgroup_size: adapter
                .subgroup_size
                .filter(|(least, most)| least == most && self.has("subgroups"))
                .map(|(size, _)| size),
            workgroup_storage_bytes: limit("maxComputeWorkgroupStorageSize", core.workgroup_storage_bytes),
            invocations: invocations.min(limit("maxComputeWorkgroupSizeX", invocations)),
            storage_binding_bytes: binding.min(buffer),
            buffer_bytes: buffer,
            workgroups_per_dimension: limit("maxComputeWorkgroupsPerDimension", core.workgroups_per_dimension),
            software: !adapter.hardware,
        }
    }
}

/// Asks for an adapter. Chromium gives none for a moment after it started, so one refusal says nothing.
pub(super) async fn request_adapter() -> Result<GpuAdapter, RemoteError> {
    let gpu = sys::gpu().ok_or_else(|| unavailable("this browser has no navigator.gpu"))?;
    let options = GpuRequestAdapterOptions::new();
    options.set_power_preference(GpuPowerPreference::HighPerformance);
    for tries in 0..TRIES {
        if tries > 0 {
            sleep(PAUSE_MS.into()).await;
        }
        let adapter = gpu.request_adapter_with_options(&options).await.map_err(|e| thrown(&e))?;
        if let Some(adapter) = adapter.into_option() {
            return Ok(adapter);
        }
    }
    let over_ms = (TRIES - 1) * PAUSE_MS;
    Err(unavailable(format!("requestAdapter() gave no adapter, asked {TRIES} times over {over_ms} ms")))
}

/// A device with what the adapter has of the wanted features and limits; with `core`, of none, and the default limits.
pub(super) async fn request_device(adapter: &GpuAdapter, core: bool) -> Result<GpuDevice, RemoteError> {
    let descriptor = GpuDeviceDescriptor::new();
    descriptor.set_label("webnibble");
    if !core {
        let (features, limits) = (adapter.features(), adapter.limits());
        let features: Vec<JsString> =
            FEATURES.into_iter().filter(|name| features.has(name)).map(JsString::from).collect();
        let limits = LIMITS.into_iter().filter_map(|name| Some((name, field(&limits, name)?)));
        descriptor.set_required_features(&features);
        descriptor.set_required_limits(sys::object(limits).unchecked_ref());
    }
    let failed = |e: JsValue| unavailable(format!("requestDevice() failed: {}", message_of(&e)));
    adapter.request_device_with_descriptor(&descriptor).await.map_err(failed)
}

/// The adapter as the record has it. Browsers differ in what they tell: what one leaves out is empty.
pub(super) fn describe(adapter: &GpuAdapter) -> Adapter {
    let info = field(adapter, "info").unwrap_or_default();
    let names = ["vendor", "architecture", "device", "description"].map(|name| text(&info, name).unwrap_or_default());
    // Browsers moved it from the adapter to its information.
    let fallback = [&info, adapter.as_ref()].into_iter().find_map(|object| field(object, "isFallbackAdapter"));
    let software = names.iter().any(|name| SOFTWARE.iter().any(|word| name.to_lowercase().contains(word)));
    let subgroup = |name| number(&info, name).map(|size| size as u32).filter(|size| *size > 0);
    let Abilities { features, limits } = Abilities::new(&adapter.features(), &adapter.limits());
    let [vendor, architecture, device, description] = names;
    Adapter {
        vendor,
        architecture,
        device,
        description,
        hardware: !fallback.is_some_and(|fallback| fallback.is_truthy()) && !software,
        features,
        limits,
        subgroup_size: subgroup("subgroupMinSize").zip(subgroup("subgroupMaxSize")),
    }
}

fn unavailable(message: impl Into<String>) -> RemoteError {
    gpu_error(ErrorCode::WebgpuUnavailable, message)
}
