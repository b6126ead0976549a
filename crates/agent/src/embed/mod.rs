//! The JavaScript face: models in any page or Worker, with no host.
//!
//! It runs where it is called: from a Worker if a page must stay smooth while the CPU computes.

use std::rc::Rc;

use futures_util::lock::Mutex;
use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::AbortSignal;
use webnibble_common::options::{ExecutionProvider, Platform};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::Bits;
use webnibble_common::wire::{self, ErrorCode, LoadReport, RemoteError, Stage};

use crate::backend::Devices;
use crate::error::error;
use crate::model::{LoadRequest, LoadedModel};
use crate::stop::Stop;

mod convert;
mod sys;

use convert::{input, object, options, outputs, plain, thrown};
use sys::{Abortable, Options};

thread_local! {
    /// Shared by all models of this page or Worker.
    static DEVICES: Rc<Mutex<Devices>> = Rc::new(Mutex::new(Devices::default()));
}

/// What the browser can do. Never throws: what is missing is part of the answer.
#[wasm_bindgen(unchecked_return_type = "Capabilities")]
pub async fn capabilities() -> JsValue {
    let devices = DEVICES.with(Rc::clone);
    let found = crate::capabilities::detect(&mut *devices.lock().await).await;
    plain(&found)
}

/// A loaded model. Runs are done one after another; `dispose` frees the memory of the GPU at once.
#[wasm_bindgen]
pub struct Model {
    loaded: Rc<Mutex<Option<LoadedModel>>>,
    report: LoadReport,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct LoadOptions {
    platform: Option<Platform>,
    digest: Option<String>,
    execution_provider: Option<ExecutionProvider>,
    experimental_precision: bool,
    activation_bits: Option<Bits>,
    lowering: Option<String>,
    threads: Option<u32>,
    portable_kernels: Option<bool>,
    shader_precompilation: bool,
    chunked_operations: Option<bool>,
    workgroup_size: Option<[u32; 3]>,
    half_tiles: bool,
    deadline_ms: Option<u64>,
    /// Not plain data: read on its own.
    #[serde(rename = "signal")]
    _signal: Option<serde::de::IgnoredAny>,
}

impl LoadOptions {
    /// As the host would send them.
    fn wire(&self) -> wire::LoadOptions {
        let plain = wire::LoadOptions::on(self.platform.unwrap_or(Platform::Webgpu));
        wire::LoadOptions {
            execution_provider: self.execution_provider,
            experimental_precision: self.experimental_precision,
            activation_bits: self.activation_bits.unwrap_or(plain.activation_bits),
            lowering: self.lowering.clone(),
            threads: self.threads,
            portable_kernels: self.portable_kernels,
            shader_precompilation: self.shader_precompilation,
            chunked_operations: self.chunked_operations,
            workgroup_size: self.workgroup_size,
            half_tiles: self.half_tiles,
            deadline_ms: self.deadline_ms,
            ..plain
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct RunOptions {
    truncate: bool,
    /// Absent for the model's default prompt, `null` for none.
    #[serde(deserialize_with = "given")]
    prompt_name: Option<Option<String>>,
    warmup: Option<u32>,
    runs: u32,
    profile: bool,
    deadline_ms: Option<u64>,
    /// Not plain data: read on its own.
    #[serde(rename = "signal")]
    _signal: Option<serde::de::IgnoredAny>,
}

/// A field that is there, be it `null`.
fn given<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

#[wasm_bindgen]
impl Model {
    /// Loads a package made by `webnibble quantize`.
    ///
    /// # Errors
    /// A `WebnibbleError` when the platform is not there, or the package cannot be fetched or is damaged.
    pub async fn load(
        url: String,
        #[wasm_bindgen(js_name = options, unchecked_optional_param_type = "LoadOptions")] given: JsValue,
        #[wasm_bindgen(js_name = onProgress, unchecked_optional_param_type = "(progress: Progress) => void")]
        on_progress: JsValue,
    ) -> Result<Model, JsValue> {
        let load = async {
            let asked: LoadOptions = options(&given)?;
            let stop = Stop::new(asked.deadline_ms);
            let _watch = Watch::of(&given, &stop);
            let request = LoadRequest { url: &url, digest: asked.digest.as_deref(), options: &asked.wire() };
            let devices = DEVICES.with(Rc::clone);
            let mut devices = devices.lock().await;
            LoadedModel::load(request, &mut devices, &stop, Rc::new(progress_to(on_progress))).await
        };
        let (loaded, report) = load.await.map_err(|e| thrown(&e))?;
        Ok(Model { loaded: Rc::new(Mutex::new(Some(loaded))), report })
    }

    /// What loading gave and took.
    #[wasm_bindgen(getter, unchecked_return_type = "LoadReport")]
    pub fn report(&self) -> JsValue {
        plain(&self.report)
    }

    /// Runs the model.
    ///
    /// # Errors
    /// A `WebnibbleError` when the input does not fit the model, an output is not finite, or the device is lost.
    #[wasm_bindgen(unchecked_return_type = "Promise<RunResult>")]
    pub fn run(
        &self,
        #[wasm_bindgen(js_name = input, unchecked_param_type = "ModelInput")] given_input: JsValue,
        #[wasm_bindgen(js_name = options, unchecked_optional_param_type = "RunOptions")] given: JsValue,
        #[wasm_bindgen(js_name = onProgress, unchecked_optional_param_type = "(progress: Progress) => void")]
        on_progress: JsValue,
    ) -> js_sys::Promise {
        let loaded = Rc::clone(&self.loaded);
        // A promise and not an `async fn`: that would borrow the model until the end, and `dispose` could not be called.
        wasm_bindgen_futures::future_to_promise(async move {
            run(&loaded, &given_input, &given, on_progress).await.map_err(|e| thrown(&e))
        })
    }

    /// Frees the model's memory, once a run under way has ended.
    pub fn dispose(&self) {
        let loaded = Rc::clone(&self.loaded);
        spawn_local(async move {
            loaded.lock().await.take();
        });
    }
}

async fn run(
    loaded: &Mutex<Option<LoadedModel>>,
    given_input: &JsValue,
    given: &JsValue,
    on_progress: JsValue,
) -> Result<JsValue, RemoteError> {
    let RunOptions { truncate, prompt_name, warmup, runs, profile, deadline_ms, .. } = options(given)?;
    let prompt = match prompt_name {
        None => PromptChoice::Default,
        Some(None) => PromptChoice::None,
        Some(Some(name)) => PromptChoice::Named(name),
    };
    let input = input(given_input, truncate, prompt)?;
    let stop = Stop::new(deadline_ms);
    let _watch = Watch::of(given, &stop);
    let mut loaded = loaded.lock().await;
    let Some(model) = loaded.as_mut() else {
        return Err(error(ErrorCode::UnknownModel, "the model was disposed of", "load it again"));
    };
    let options = wire::RunOptions { warmup, runs, profile, deadline_ms };
    let ran = model.run(input, &options, &stop, progress_to(on_progress)).await?;
    let result = object(&[("outputs", outputs(&ran.outputs)?.into()), ("report", plain(&ran.report))])?;
    Ok(result.into())
}

/// Calls back with `Progress`, if there is a function to call.
fn progress_to(on_progress: JsValue) -> impl Fn(Stage, u64, u64) {
    let on_progress = on_progress.dyn_into::<Function>().ok();
    move |stage, done, total| {
        let Some(on_progress) = &on_progress else { return };
        let fields = [("stage", plain(&stage)), ("done", (done as f64).into()), ("total", (total as f64).into())];
        let Ok(progress) = object(&fields) else { return };
        if let Err(thrown) = on_progress.call1(&JsValue::NULL, &progress) {
            // Showing progress must not end the work.
            web_sys::console::error_1(&thrown);
        }
    }
}

/// Stops a request when its caller's signal is aborted; listens until it is dropped.
struct Watch {
    signal: AbortSignal,
    handler: Closure<dyn FnMut()>,
}

impl Watch {
    fn of(options: &JsValue, stop: &Stop) -> Option<Self> {
        let signal = options.is_object().then(|| options.unchecked_ref::<Options>().signal()).flatten()?;
        let stop = stop.clone();
        let abort = move || stop.because(error(ErrorCode::Cancelled, "the request was aborted", ""));
        if signal.aborted() {
            abort();
            return None;
        }
        let handler = Closure::<dyn FnMut()>::new(abort);
        signal.unchecked_ref::<Abortable>().add_event_listener("abort", handler.as_ref().unchecked_ref());
        Some(Self { signal, handler })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let handler = self.handler.as_ref().unchecked_ref();
        self.signal.unchecked_ref::<Abortable>().remove_event_listener("abort", handler);
    }
}

#[cfg(test)]
mod tests;
