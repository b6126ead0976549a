//! The device that models share: its pipelines, and whether it was lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    GpuAutoLayoutMode, GpuComputePipeline, GpuComputePipelineDescriptor, GpuDevice, GpuProgrammableStage, GpuQueue,
    GpuShaderModule, GpuShaderModuleDescriptor, GpuUncapturedErrorEvent, console,
};
use webnibble_common::capabilities::Adapter;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::DeviceCaps;
use webnibble_kernels::shaders::Kernel;

use super::adapter::{Abilities, describe, request_adapter, request_device};
use super::awake::Awake;
use super::errors::{gpu_error, message_of, watch};
use crate::error::internal;
use crate::fields::text;
use crate::sys::next_task;

/// A WebGPU device, shared by the models that run on it.
pub(crate) struct Gpu {
    /// The adapter that the device was made from.
    pub(crate) adapter: Adapter,
    /// What the choice of kernels depends on: what the device has, which is not all that the adapter has.
    pub(super) caps: DeviceCaps,
    /// What the device has.
    pub(super) abilities: Abilities,
    pub(super) device: GpuDevice,
    pub(super) queue: GpuQueue,
    lost: Lost,
    /// There where the adapter is hardware: software computes in a process that does not sleep.
    awake: Option<Awake>,
    /// Pipelines by kernel: models of one family share them.
    pipelines: RefCell<BTreeMap<Kernel, GpuComputePipeline>>,
    _on_error: Closure<dyn Fn(GpuUncapturedErrorEvent)>,
}

impl Gpu {
    /// Asks for an adapter, several times where the first answer is none, and for a device with all it offers, or with
    /// `core` WebGPU alone: no features, default limits.
    pub(crate) async fn open(core: bool) -> Result<Self, RemoteError> {
        let adapter = request_adapter().await?;
        let device = request_device(&adapter, core).await?;
        let adapter = describe(&adapter);
        let abilities = Abilities::new(&device.features(), &device.limits());
        Ok(Self {
            caps: abilities.caps(&adapter),
            abilities,
            queue: device.queue(),
            lost: Lost::watch(&device),
            awake: adapter.hardware.then(|| Awake::new(&device)).transpose()?,
            pipelines: RefCell::default(),
            _on_error: tell_uncaptured_errors(&device),
            adapter,
            device,
        })
    }

    /// Whether the device was lost: a new one must be opened for new models.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.reason().is_some()
    }

    /// Destroys the device, as a driver reset or a crashed GPU process would. For tests.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.device.destroy();
    }

    /// Fails once the device was lost.
    pub(super) fn check_lost(&self) -> Result<(), RemoteError> {
        match self.lost.reason() {
            Some(reason) => Err(gpu_error(ErrorCode::DeviceLost, format!("the GPU device was lost ({reason})"))),
            None => Ok(()),
        }
    }

    /// Why something failed: a lost device, or else `failure`. The browser may tell of the loss only after what failed by it.
    pub(super) async fn cause(&self, failure: RemoteError) -> RemoteError {
        next_task().await;
        self.check_lost().err().unwrap_or(failure)
    }

    /// Waits for what the device is to do, and keeps the browser's GPU process awake meanwhile.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.awake {
            Some(awake) => awake.during(work, || self.is_lost()).await,
            None => work.await,
        }
    }

    /// Whether kernels can be timed.
    pub(super) fn has_timestamps(&self) -> bool {
        self.abilities.has("timestamp-query")
    }

    /// Pipelines that are built. For tests.
    #[cfg(test)]
    pub(super) fn pipeline_count(&self) -> usize {
        self.pipelines.borrow().len()
    }

    /// The kernel's pipeline, which [`Gpu::build_all`] built.
    pub(super) fn pipeline(&self, kernel: &Kernel) -> Result<GpuComputePipeline, RemoteError> {
        let built = self.pipelines.borrow().get(kernel).cloned();
        built.ok_or_else(|| internal(format!("kernel `{kernel}` was never built")))
    }

    /// Builds all that are missing, at the same time: browsers compile on several threads.
    pub(super) async fn build_all(&self, kernels: impl Iterator<Item = &Kernel>) -> Result<(), RemoteError> {
        let mut missing: Vec<&Kernel> = kernels.filter(|k| !self.pipelines.borrow().contains_key(k)).collect();
        missing.sort();
        missing.dedup();
        let built = futures_util::future::join_all(missing.into_iter().map(|kernel| self.build(kernel))).await;
        built.into_iter().collect()
    }

    async fn build(&self, kernel: &Kernel) -> Result<(), RemoteError> {
        let source = kernel.source().map_err(internal)?;
        let pipeline = self.compile(&kernel.to_string(), &source).await?;
        self.pipelines.borrow_mut().insert(kernel.clone(), pipeline);
        Ok(())
    }

    async fn compile(&self, label: &str, code: &str) -> Result<GpuComputePipeline, RemoteError> {
        let descriptor = GpuShaderModuleDescriptor::new(code);
        descriptor.set_label(label);
        // A kernel that does not compile is this call's failure, told below, and nobody else's.
        let (module, _) = watch(&self.device, || self.device.create_shader_module(&descriptor));
        let stage = GpuProgrammableStage::new(&module);
        stage.set_entry_point("main");
        let descriptor = GpuComputePipelineDescriptor::new_with_gpu_auto_layout_mode(GpuAutoLayoutMode::Auto, &stage);
        descriptor.set_label(label);
        match self.device.create_compute_pipeline_async(&descriptor).await {
            Ok(pipeline) => Ok(pipeline),
            Err(thrown) => {
                let lines: Vec<String> =
                    [message_of(&thrown)].into_iter().chain(compilation_messages(&module).await).collect();
                let message = format!("kernel `{label}` failed to build: {}", lines.join("; "));
                Err(self.cause(gpu_error(ErrorCode::Validation, message)).await)
            }
        }
    }
}

/// What the browser's compiler says of a kernel.
async fn compilation_messages(module: &GpuShaderModule) -> Vec<String> {
    // Of a lost device there are none.
    let Ok(info) = module.get_compilation_info().await else { return Vec::new() };
    let line = |message: web_sys::GpuCompilationMessage| {
        let kind = text(&message, "type").unwrap_or_default();
        format!("{kind} {}:{} {}", message.line_num(), message.line_pos(), message.message())
    };
    info.messages().iter().map(line).collect()
}

/// Errors outside of any scope have nobody who waits for them: they go to the console.
fn tell_uncaptured_errors(device: &GpuDevice) -> Closure<dyn Fn(GpuUncapturedErrorEvent)> {
    let tell = Closure::<dyn Fn(GpuUncapturedErrorEvent)>::new(|event: GpuUncapturedErrorEvent| {
        let message = event.error().message();
        console::error_1(&format!("webnibble: an error on the GPU outside of any request: {message}").into());
    });
    device.set_onuncapturederror(Some(tell.as_ref().unchecked_ref()));
    tell
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.device.set_onuncapturederror(None);
        self.device.destroy();
    }
}

/// Why a device was lost, once it was.
#[derive(Clone, Default)]
struct Lost(Rc<RefCell<Option<String>>>);

impl Lost {
    fn watch(device: &GpuDevice) -> Self {
        let lost = Self::default();
        let (told, info) = (lost.clone(), JsFuture::from(device.lost()));
        spawn_local(async move {
            // The promise is never rejected.
            let Ok(info) = info.await else { return };
            let reason = text(&info, "reason").filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| "unknown".to_owned());
            told.0.replace(Some(format!("{reason}: {}", info.message())));
        });
        lost
    }

    fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}
