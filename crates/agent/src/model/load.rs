//! Loading: package to graph to backend.

use std::rc::Rc;

use futures_util::lock::Mutex;
use webnibble_common::package::{Header, TOKENIZER};
use webnibble_common::profiles::idle_options;
use webnibble_common::program::Program;
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RemoteError, Stage};
use webnibble_models::generate::GenerationConfig;
use webnibble_models::{ModelConfig, Pipeline, refuse_heads};

use super::LoadedModel;
use crate::backend::{self, Devices};
use crate::error::{error, internal};
use crate::stop::Stop;
use crate::sys;
use crate::weights::Package;

/// What to load.
pub(crate) struct LoadRequest<'a> {
    /// Where the package lies.
    pub(crate) url: &'a str,
    /// SHA-256 of its header, where it is known.
    pub(crate) digest: Option<&'a str>,
    /// How to run it.
    pub(crate) options: &'a LoadOptions,
}

impl LoadedModel {
    /// Loads a package. `progress` gets stage, done and total.
    pub(crate) async fn load(
        request: LoadRequest<'_>,
        devices: &Mutex<Devices>,
        stop: &Stop,
        progress: Rc<dyn Fn(Stage, u64, u64)>,
    ) -> Result<(Self, LoadReport), RemoteError> {
        let began = sys::now_ms();
        let package = Package::open(request.url, request.digest, stop).await?;
        let header = &package.header;
        let package_bytes = header.total_bytes;
        let (program, config) = program_of(header)?;
        let max_len = header.meta.max_tokens(config.max_positions());
        let graph = program.first().map_err(|e| internal(e.to_string()))?.clone();
        let pipeline = Pipeline::new(graph, max_len, header.meta.sentence.clone())
            .with_config(&config, header.meta.preprocessor_config.as_ref())
            .map_err(|e| bad_package(&e))?;
        // The devices are for whoever needs them next, and not held while weights are fetched.
        let backend = {
            let mut devices = devices.lock().await;
            stop.check()?;
            backend::Model::new(&mut devices, program, header, request.options).await?
        };
        // From here on, leaving early drops the model, which frees what it holds.
        let generation = config
            .generates()
            .then(|| GenerationConfig::from_json(&header.meta.config, header.meta.generation_config.as_ref()));
        let generation = generation.transpose().map_err(|e| bad_package(&e))?;
        let mut model = Self { backend, pipeline, generation, idle: idle_options(request.options) };
        model.want_first()?;
        stop.check()?;

        let on_fetch = Rc::clone(&progress);
        on_fetch(Stage::Fetch, 0, package_bytes);
        let report_fetch = move |received| on_fetch(Stage::Fetch, received, package_bytes);
        let fetched = package.load(&mut model.backend, report_fetch).await?;
        progress(Stage::Fetch, package_bytes, package_bytes);
        if let Some(bytes) = fetched.extras.get(TOKENIZER) {
            model.pipeline = with_tokenizer(model.pipeline.clone(), bytes)?;
        }

        if request.options.settings.shader_precompilation {
            progress(Stage::Compile, 0, 0);
        }
        let built = model.backend.finish_load().await?;
        stop.check()?;
        let report = LoadReport {
            implementation_type: model.backend.implementation_type(),
            adapter: model.backend.adapter(),
            webnn: model.backend.webnn(),
            activation_bits: model.backend.activation_bits(),
            total_ms: sys::now_ms() - began,
            fetch_ms: fetched.fetch_ms,
            upload_ms: fetched.upload_ms,
            compile_ms: built.compile_ms,
            choosing_ms: built.choosing_ms,
            package_bytes,
            weights_bytes: model.backend.weights_bytes(),
            wasm_heap_bytes: sys::wasm_heap_bytes(),
        };
        Ok((model, report))
    }
}

/// The program that the package's config describes; every weight that it needs is in the package.
fn program_of(header: &Header) -> Result<(Program, ModelConfig), RemoteError> {
    let config = ModelConfig::from_json(&header.meta.config).map_err(|e| bad_package(&e))?;
    if header.meta.sentence.is_none() {
        refuse_heads(&header.meta.config, []).map_err(|e| bad_package(&e))?;
    }
    config.check_counts(&|name| Some(header.tensor(name)?.shape.clone())).map_err(|e| bad_package(&e))?;
    let program = config.program_over(header.meta.sentence.as_ref(), &|name| header.tensor(name).is_some());
    program.validate().map_err(|e| bad_package(&e))?;
    for weight in program.weights() {
        let found = header.meta.tensors.get(&weight.name).map(|tensor| &tensor.shape);
        if found != Some(&weight.shape) {
            let found = found.map_or("none".to_owned(), |shape| format!("{shape:?}"));
            let message = format!("tensor `{}` should have shape {:?}, found {found}", weight.name, weight.shape);
            return Err(bad_package(&message));
        }
    }
    Ok((program, config))
}

fn bad_package(problem: &impl ToString) -> RemoteError {
    error(ErrorCode::BadPackage, problem.to_string(), "make the package again with `webnibble quantize`")
}

fn with_tokenizer(pipeline: Pipeline, bytes: &[u8]) -> Result<Pipeline, RemoteError> {
    let hint =
        "make the package again from a model whose tokenizer.json is of a kind that the tokenizers library reads";
    pipeline.with_tokenizer(bytes).map_err(|e| error(ErrorCode::BadPackage, e.to_string(), hint))
}
