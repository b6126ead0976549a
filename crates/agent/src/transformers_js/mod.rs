//! transformers.js as an engine: the same requests and reports as of our own, so that both are measured alike.
//!
//! What it runs is the ONNX form of a model, a folder on this page's host. Which provider of onnxruntime has the work is
//! read from its own log when the session is made: one that quietly fell back to the processor is an error.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use wasm_bindgen::prelude::*;
use webnibble_common::capabilities::Adapter;
use webnibble_common::io::{Input, NamedTensors, TensorInfo};
use webnibble_common::options::{ExecutionProvider, Platform};
use webnibble_common::package::SentenceConfig;
use webnibble_common::profiles::idle_options;
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, WebNnInfo};
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{
    Adjustment, ErrorCode, LoadOptions, LoadReport, RemoteError, RunOptions, RunReport, Stage,
};

use crate::backend::{Devices, device_adjustment, webnn};
use crate::error::{error, internal};
use crate::model::{Progress, Ran, Runs, measure, not_profiled};
use crate::stop::Stop;
use crate::sys::{now_ms, wasm_heap_bytes};

mod input;
mod sys;

use input::{Batch, Takes};
use sys::{JsModel, from_js};

/// A model that transformers.js runs. What it holds is freed when it is dropped.
pub(crate) struct Model {
    js: JsModel,
    implementation_type: ImplementationType,
    webnn: Option<WebNnInfo>,
    /// WebNN's device, where one was asked for.
    device: Option<ExecutionProvider>,
    prefer_device: bool,
    /// Whether it computes on a GPU that is one.
    hardware: bool,
    /// Versions, and operators by the provider that has them, for the record.
    placement: BTreeMap<String, String>,
    adjustments: Vec<Adjustment>,
    /// Prompts, where the model makes sentence embeddings.
    sentence: Option<SentenceConfig>,
    /// Longest input in tokens.
    max_length: usize,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.js.dispose();
    }
}

/// What `js/transformers.js` tells of a session.
#[derive(Deserialize)]
struct Opened {
    total_ms: f64,
    fetch_ms: f64,
    bytes: u64,
    placement: Option<BTreeMap<String, Placed>>,
    adapter: Option<AdapterInfo>,
    /// Versions of what computes, by name.
    versions: BTreeMap<String, String>,
    /// What the host says of the model.
    sentence: Option<SentenceConfig>,
    max_length: usize,
}

/// Operators that one provider has.
#[derive(Deserialize)]
struct Placed {
    nodes: usize,
    operators: BTreeMap<String, usize>,
}

/// `GPUAdapterInfo` of the device that onnxruntime opened.
#[derive(Deserialize)]
struct AdapterInfo {
    vendor: String,
    architecture: String,
    device: String,
    description: String,
    #[serde(rename = "isFallbackAdapter")]
    is_fallback: bool,
}

impl Model {
    /// Loads the folder at `url`.
    pub(crate) async fn load(
        url: &str,
        options: &LoadOptions,
        devices: &mut Devices,
        stop: &Stop,
        progress: Rc<dyn Fn(Stage, u64, u64)>,
    ) -> Result<(Self, LoadReport), RemoteError> {
        let began = now_ms();
        let device = options.settings.execution_provider;
        let opened = match Self::open(url, options, device, Rc::clone(&progress)).await {
            Err(refused) if options.prefer_device && device.is_some() => {
                let (mut model, opened) = Self::open(url, options, None, progress).await?;
                model.adjustments.push(device_adjustment(&refused));
                Ok((model, opened))
            }
            opened => opened,
        };
        let (mut model, opened) = opened?;
        stop.check()?;
        let adapter = match opened.adapter {
            Some(info) => Some(adapter(devices, info).await),
            None => None,
        };
        model.hardware = adapter.as_ref().is_some_and(|adapter| adapter.hardware);
        let report = LoadReport {
            implementation_type: model.implementation_type,
            adapter,
            webnn: model.webnn.clone(),
            activation_bits: Bits::B32,
            total_ms: now_ms() - began,
            fetch_ms: opened.fetch_ms,
            upload_ms: 0.0,
            compile_ms: Some(opened.total_ms - opened.fetch_ms),
            choosing_ms: None,
            package_bytes: opened.bytes,
            weights_bytes: 0,
            wasm_heap_bytes: wasm_heap_bytes(),
        };
        Ok((model, report))
    }

    /// Loads on one device of WebNN, or on the one that the browser chooses.
    async fn open(
        url: &str,
        options: &LoadOptions,
        device: Option<ExecutionProvider>,
        progress: Rc<dyn Fn(Stage, u64, u64)>,
    ) -> Result<(Self, Opened), RemoteError> {
        let js =
            JsModel::new(url, options.platform.name(), device.map(ExecutionProvider::name), options.settings.threads);
        // From here on, leaving early drops the model, which frees what it holds.
        let mut model = Self {
            js,
            implementation_type: implementation_type(options.platform)?,
            webnn: None,
            device,
            prefer_device: options.prefer_device,
            hardware: false,
            placement: BTreeMap::new(),
            adjustments: idle_options(options),
            sentence: None,
            max_length: 0,
        };
        let on_progress = Closure::<dyn Fn(f64, f64)>::new(move |done: f64, total: f64| {
            progress(Stage::Fetch, done as u64, total as u64);
        });
        let opened = model.js.open(on_progress.as_ref().unchecked_ref()).await.map_err(|e| from_js(&e))?;
        let opened: Opened = serde_json::from_str(&String::from(opened))
            .map_err(|e| internal(format!("the report of transformers.js is not as expected: {e}")))?;
        model.describe(&opened);
        model.check_devices()?;
        Ok((model, opened))
    }

    /// Reads back where WebNN put the graphs of the last session: another device than the one asked for counts as failed.
    fn check_devices(&mut self) -> Result<(), RemoteError> {
        let Some(info) = &mut self.webnn else { return Ok(()) };
        let told = self.js.devices();
        info.reported_devices = told.map(|names| names.iter().filter_map(|name| name.as_string()).collect());
        match webnn::check_devices(self.device, info.reported_devices.as_deref()) {
            Err(elsewhere) if self.prefer_device => {
                self.adjustments.push(device_adjustment(&elsewhere));
                Ok(())
            }
            checked => checked,
        }
    }

    fn describe(&mut self, opened: &Opened) {
        self.placement.clone_from(&opened.versions);
        self.sentence.clone_from(&opened.sentence);
        self.max_length = opened.max_length;
        let mut operators = BTreeMap::new();
        for (provider, placed) in opened.placement.iter().flatten() {
            let counted = placed.operators.iter().map(|(name, count)| format!("{name} {count}"));
            let listed = counted.collect::<Vec<_>>().join(", ");
            let text = if listed.is_empty() { format!("{} nodes", placed.nodes) } else { listed };
            self.placement.insert(provider.clone(), text);
            operators.insert(provider.clone(), placed.nodes);
        }
        if self.implementation_type == ImplementationType::RealWebnn {
            self.webnn = Some(WebNnInfo {
                requested: self.device.map_or("any", ExecutionProvider::name).to_owned(),
                reported_devices: None,
                lowering: "onnxruntime-web".into(),
                parallel_parts: None,
                choice: None,
                operators,
            });
        }
    }

    /// Runs as often as `options` say, and measures as our own engine does: from numbers to numbers, tokenizing left out.
    pub(crate) async fn run(
        &mut self,
        input: Input,
        options: &RunOptions,
        stop: &Stop,
        progress: impl Fn(Stage, u64, u64),
    ) -> Result<Ran, RemoteError> {
        let mut progress = Progress::new(progress);
        let takes = Takes { tokenizer: &self.js, sentence: self.sentence.as_ref(), max_length: self.max_length };
        let batch = takes.batch(input)?;
        stop.check()?;
        progress.report(Stage::Compile, 0, 0);
        let began = now_ms();
        self.js.prepare(batch.rows, batch.seq).await.map_err(|e| from_js(&e))?;
        self.check_devices()?;
        let prepare_ms = now_ms() - began;
        let hardware = self.hardware;
        let run = async |_| self.run_once(&batch, stop).await;
        let Runs { first_ms, warmup, run_ms, last } =
            measure(options, hardware, began, &mut progress, run, |_| ()).await?;
        check_wanted(&options.outputs, &last)?;
        let report = RunReport {
            implementation_type: self.implementation_type,
            outputs: last.iter().map(|(name, tensor)| TensorInfo::of(name, tensor)).collect(),
            token_counts: batch.tokens_kept.iter().map(|tokens| tokens.kept).collect(),
            truncated: batch.tokens_kept.iter().any(|tokens| tokens.is_cut()),
            tokens_kept: batch.tokens_kept,
            prepare_ms,
            first_ms,
            warmup,
            run_ms,
            generated: None,
            gpu_ms: None,
            kernels: None,
            webnn: self.webnn.clone(),
            variants: self.placement.clone(),
            adjustments: [self.adjustments.clone(), not_profiled(options, None)].concat(),
            dispatches: None,
            gpu_peak_bytes: None,
            wasm_heap_bytes: wasm_heap_bytes(),
        };
        Ok(Ran { outputs: last, report })
    }

    async fn run_once(&self, batch: &Batch, stop: &Stop) -> Result<NamedTensors, RemoteError> {
        stop.check()?;
        let Batch { rows, seq, ids, mask, types, .. } = batch;
        let output = self.js.run(*rows, *seq, ids, mask, types).await.map_err(|e| from_js(&e))?;
        stop.check()?;
        let shape: Vec<usize> = output.dims().to_vec().into_iter().map(|extent| extent as usize).collect();
        let tensor = Tensor::f32(shape, output.data().to_vec())
            .map_err(|e| error(ErrorCode::EngineFailed, e.to_string(), ""))?;
        let outputs = vec![(output.name(), tensor)];
        crate::finite::check_finite(&outputs)?;
        Ok(outputs)
    }
}

/// The adapter of onnxruntime's device: as we described it, where it is the same one.
async fn adapter(devices: &mut Devices, info: AdapterInfo) -> Adapter {
    let ours = devices.gpu(false).await.ok().map(|gpu| gpu.adapter.clone());
    let same = |ours: &Adapter| ours.vendor == info.vendor && ours.architecture == info.architecture;
    ours.filter(same).unwrap_or(Adapter {
        hardware: !info.is_fallback,
        vendor: info.vendor,
        architecture: info.architecture,
        device: info.device,
        description: info.description,
        ..Adapter::default()
    })
}

fn implementation_type(platform: Platform) -> Result<ImplementationType, RemoteError> {
    match platform {
        Platform::Webgpu => Ok(ImplementationType::RealWebgpu),
        Platform::Webnn => Ok(ImplementationType::RealWebnn),
        Platform::Wasm => Ok(ImplementationType::RealWasm),
        Platform::Auto => {
            let message = "platform should be webgpu, webnn or wasm, found auto";
            Err(error(ErrorCode::Unsupported, message, "ask for one of them"))
        }
    }
}

/// An ONNX file has the outputs that it was written with.
fn check_wanted(asked: &[String], given: &[(String, Tensor)]) -> Result<(), RemoteError> {
    let lacks = asked.iter().find(|name| !given.iter().any(|(known, _)| known == *name));
    lacks.map_or(Ok(()), |name| {
        let known: Vec<&str> = given.iter().map(|(known, _)| known.as_str()).collect();
        let message = format!("transformers.js reads no output `{name}`, only {}", known.join(", "));
        Err(error(ErrorCode::Unsupported, message, "take the native engine"))
    })
}
