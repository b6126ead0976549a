//! The JavaScript face: models in any page or Worker, with no host.
//!
//! It runs where it is called: from a Worker if a page must stay smooth while the CPU computes.

use std::rc::Rc;

use futures_util::lock::Mutex;
use js_sys::Function;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use webnibble_common::io::{Input, Output};
use webnibble_common::options::{PageSettings, Platform};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::wire::{self, LoadReport, RemoteError, Stage};

use crate::backend::Devices;
use crate::error::internal;
use crate::model::{LoadRequest, LoadedModel};
use crate::panic;
use crate::stop::Stop;

mod convert;
mod generate;
mod read;
mod stopping;
mod sys;

use convert::{answer, object, outputs, plain, thrown};
use read::{Given, callback, input, options, url};
use stopping::{Watch, disposed, unless_stopped};

thread_local! {
    /// Shared by all models of this page or Worker.
    static DEVICES: Rc<Mutex<Devices>> = Rc::new(Mutex::new(Devices::default()));
}

/// What the browser can do. Never throws: what is missing is part of the answer.
#[wasm_bindgen(unchecked_return_type = "Capabilities")]
pub async fn capabilities() -> JsValue {
    fail_loudly();
    let devices = DEVICES.with(Rc::clone);
    let found = crate::capabilities::detect(&mut *devices.lock().await).await;
    plain(&found)
}

/// From now on a panic is thrown as any other failure: the loader gives it to everyone who waits for an answer.
fn fail_loudly() {
    panic::throw(|message| thrown(&internal(message)));
}

/// A loaded model. Runs are done one after another; `dispose` frees the memory of the GPU at once.
#[wasm_bindgen]
pub struct Model {
    loaded: Rc<Mutex<Option<LoadedModel>>>,
    report: LoadReport,
}

/// How a model is to be run; [`read::options`] knows the fields by the names that JavaScript has for them.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct LoadOptions {
    platform: Option<Platform>,
    digest: Option<String>,
    deadline_ms: Option<u64>,
    #[serde(flatten)]
    settings: PageSettings,
}

impl LoadOptions {
    /// As the host would send them.
    fn wire(&self) -> wire::LoadOptions {
        wire::LoadOptions {
            settings: self.settings.clone(),
            deadline_ms: self.deadline_ms,
            ..wire::LoadOptions::on(self.platform.unwrap_or(Platform::Webgpu))
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RunOptions {
    truncate: bool,
    /// Absent for the model's default prompt, `null` for none.
    #[serde(deserialize_with = "given")]
    prompt_name: Option<Option<String>>,
    warmup: Option<u32>,
    runs: u32,
    profile: bool,
    outputs: Vec<String>,
    deadline_ms: Option<u64>,
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
        #[wasm_bindgen(js_name = url, unchecked_param_type = "string | URL")] given_url: JsValue,
        #[wasm_bindgen(js_name = options, unchecked_optional_param_type = "LoadOptions")] given: JsValue,
        #[wasm_bindgen(js_name = onProgress, unchecked_optional_param_type = "(progress: Progress) => void")]
        on_progress: JsValue,
    ) -> Result<Model, JsValue> {
        fail_loudly();
        let (loaded, report) = load(&given_url, &given, &on_progress).await.map_err(|e| thrown(&e))?;
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
            run(loaded, &given_input, &given, &on_progress).await.map_err(|e| thrown(&e))
        })
    }

    /// Has the model go on from a text or a row of token ids: an async iterator over the pieces, as they come.
    ///
    /// # Errors
    /// A `WebnibbleError` for options and prompts that are none; whatever else fails, its iteration throws.
    #[wasm_bindgen(unchecked_return_type = "TextStream")]
    pub fn generate(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | { ids: number[][] }")] prompt: &JsValue,
        #[wasm_bindgen(js_name = options, unchecked_optional_param_type = "GenerateOptions")] given: &JsValue,
    ) -> Result<JsValue, JsValue> {
        generate::begin(Rc::clone(&self.loaded), prompt, given).map_err(|e| thrown(&e))
    }

    /// Frees the model's memory, once a run under way has ended.
    pub fn dispose(&self) {
        let loaded = Rc::clone(&self.loaded);
        spawn_local(async move {
            loaded.lock().await.take();
        });
    }
}

async fn load(
    given_url: &JsValue,
    given: &JsValue,
    on_progress: &JsValue,
) -> Result<(LoadedModel, LoadReport), RemoteError> {
    let url = url(given_url)?;
    let Given { options, signal } = options::<LoadOptions>(given, "LoadOptions")?;
    let (stop, on_progress) = (Stop::new(options.deadline_ms), callback(on_progress)?);
    let progress = Rc::new(progress_to(on_progress, &stop));
    let _watch = Watch::of(signal, &stop);
    let request_stop = stop.clone();
    let work = async move {
        let request = LoadRequest { url: &url, digest: options.digest.as_deref(), options: &options.wire() };
        let devices = DEVICES.with(Rc::clone);
        LoadedModel::load(request, &devices, &request_stop, progress).await
    };
    unless_stopped(&stop, work).await
}

async fn run(
    loaded: Rc<Mutex<Option<LoadedModel>>>,
    given_input: &JsValue,
    given: &JsValue,
    on_progress: &JsValue,
) -> Result<JsValue, RemoteError> {
    let Given { options, signal } = options::<RunOptions>(given, "RunOptions")?;
    let RunOptions { truncate, prompt_name, warmup, runs, profile, outputs, deadline_ms } = options;
    let prompt = match prompt_name {
        None => PromptChoice::Default,
        Some(None) => PromptChoice::None,
        Some(Some(name)) => PromptChoice::Named(name),
    };
    let input = input(given_input, truncate, prompt)?;
    let (stop, on_progress) = (Stop::new(deadline_ms), callback(on_progress)?);
    let progress = progress_to(on_progress, &stop);
    let _watch = Watch::of(signal, &stop);
    let options = wire::RunOptions { warmup, runs, profile, outputs, deadline_ms, generate: None };
    let request_stop = stop.clone();
    unless_stopped(&stop, async move { run_on(&loaded, input, &options, &request_stop, progress).await }).await
}

async fn run_on(
    loaded: &Mutex<Option<LoadedModel>>,
    input: Input,
    options: &wire::RunOptions,
    stop: &Stop,
    progress: impl Fn(Stage, u64, u64),
) -> Result<JsValue, RemoteError> {
    let mut loaded = loaded.lock().await;
    stop.check()?;
    let model = loaded.as_mut().ok_or_else(disposed)?;
    let ran = model.run(input, options, stop, progress).await?;
    let tensors = outputs(&ran.outputs)?;
    let answer: JsValue = match model.pipeline().labels(&ran.outputs, &options.outputs) {
        Some(labels) => plain(&Output::Labels { labels }),
        None => answer(&tensors, model.pipeline().embeddings(&ran.outputs, &options.outputs))?.into(),
    };
    let report = plain(&ran.report);
    Ok(object(&[("output", answer), ("outputs", tensors.into()), ("report", report)])?.into())
}

/// Calls back with `Progress`, if there is a function to call, until the request is stopped.
fn progress_to(on_progress: Option<Function>, stop: &Stop) -> impl Fn(Stage, u64, u64) + use<> {
    let stop = stop.clone();
    move |stage, done, total| {
        let (Some(on_progress), Ok(())) = (&on_progress, stop.check()) else { return };
        let fields = [("stage", plain(&stage)), ("done", (done as f64).into()), ("total", (total as f64).into())];
        let Ok(progress) = object(&fields) else { return };
        if let Err(thrown) = on_progress.call1(&JsValue::NULL, &progress) {
            // Showing progress must not end the work.
            web_sys::console::error_1(&thrown);
        }
    }
}

#[cfg(test)]
mod tests;
