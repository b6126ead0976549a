//! The model of a run: opened and seen to fit the request, then made ready for a platform.

use std::sync::Arc;
use std::time::Instant;

use webnibble_common::io::NamedTensors;
use webnibble_common::options::{BrowserKind, Engine, Options, Platform};
use webnibble_common::profiles::{self, Context, Resolved, ResolvedSettings};
use webnibble_common::record::InputInfo;
use webnibble_models::input::ModelInputs;
use webnibble_models::input::text::TextError;

use super::request::{Input, RunRequest, input_info, tell};
use crate::browser::default_gpu_profile;
use crate::error::HostError;
use crate::loader::{self, Model};
use crate::prepare::{self, Package};
use crate::reference;
use crate::task::{blocking, ms_since};

/// The platforms that `auto` chooses from, in the order in which equals are preferred.
pub(super) const CANDIDATES: [Platform; 3] = [Platform::Webgpu, Platform::Webnn, Platform::Wasm];

/// A model that was found and opened, with the options that it takes and what it makes of the input.
pub(super) struct Opened {
    pub(super) model: Arc<Model>,
    pub(super) input: EncodedInput,
    /// Options for the platform that is asked for, or for each that `auto` chooses from.
    pub(super) resolved: ResolvedEach,
}

/// The options for each platform that a run may be on; of those that do not go together there, why.
type ResolvedEach = Vec<(Platform, Result<Resolved, String>)>;

/// An input as the model takes it.
pub(super) struct EncodedInput {
    pub(super) info: InputInfo,
    /// By the names of the program's inputs.
    pub(super) tensors: Arc<NamedTensors>,
}

impl Opened {
    /// Finds and opens the model, and sees that options and input fit it, before a browser is started for it. Away from the
    /// runtime: a model may be fetched, and is read.
    pub(super) async fn of(request: &RunRequest) -> Result<Self, HostError> {
        let request = request.clone();
        blocking(move || {
            let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
            let model = Arc::new(Model::load(&request.model, &mut progress)?);
            let resolved = resolve_each(&request, &model)?;
            let input = encode(&model, &request)?;
            Ok(Self { model, input, resolved })
        })
        .await
    }

    /// The options for a platform, or why they do not go together there.
    pub(super) fn resolved(&self, platform: Platform) -> Result<&Resolved, &str> {
        let found = self.resolved.iter().find(|(of, _)| *of == platform);
        let (_, resolved) = found.expect("options are resolved for every platform that a run may be on");
        resolved.as_ref().map_err(String::as_str)
    }
}

/// Resolves the options for every platform that the run may be on: at least one has to take them.
///
/// # Errors
/// Why the first platform does not take them.
pub(super) fn resolve_each(request: &RunRequest, model: &Model) -> Result<ResolvedEach, HostError> {
    let asked = request.platform();
    let platforms = if asked == Platform::Auto { &CANDIDATES[..] } else { &[asked][..] };
    let (mut found, mut first_error) = (Vec::new(), None);
    for platform in platforms {
        let resolved = resolve_for(request, model, *platform).map_err(|error| {
            let told = error.to_string();
            first_error.get_or_insert(error);
            told
        });
        found.push((*platform, resolved));
    }
    match first_error {
        Some(error) if found.iter().all(|(_, resolved)| resolved.is_err()) => Err(error),
        _ => Ok(found),
    }
}

/// What the model takes of an input: tensors, the prompt, and how many tokens of each text.
pub(super) fn encode(model: &Model, request: &RunRequest) -> Result<EncodedInput, HostError> {
    let inputs = if request.generate {
        check_generates(request)?;
        reference::prompt_of(model, &request.input, &request.options.generation)?
    } else {
        reference::inputs_of(model, &request.input, &request.outputs)?
    };
    let ModelInputs { tensors, tokens_kept } = inputs;
    let prompt_name = prompt_name(model, &request.input)?;
    let info = InputInfo { prompt_name, ..input_info(&request.input, &tokens_kept) };
    Ok(EncodedInput { info, tensors: Arc::new(tensors) })
}

/// Refuses what does not generate text yet.
fn check_generates(request: &RunRequest) -> Result<(), HostError> {
    let not_yet =
        |what: &str, instead: &str| Err(HostError::NotYet { what: what.to_owned(), instead: instead.to_owned() });
    match (request.platform(), request.engine()) {
        (_, Engine::TransformersJs) => {
            not_yet("text that transformers.js generates", "leave out --engine transformers-js")
        }
        (Platform::Auto, _) => not_yet("`auto` for text that is generated", "give --platform webgpu or wasm"),
        (Platform::Webnn, _) => not_yet("text that is generated on WebNN", "give --platform webgpu or wasm"),
        (Platform::Webgpu | Platform::Wasm, _) => Ok(()),
    }
}

/// Name of the prompt that is put before texts.
fn prompt_name(model: &Model, input: &Input) -> Result<Option<String>, HostError> {
    let Input::Text { prompt, .. } = input else { return Ok(None) };
    let prompt = prompt.of(model.sentence().map(|sentence| &sentence.prompts)).map_err(TextError::from)?;
    Ok(prompt.map(|prompt| prompt.name.to_owned()))
}

/// A model made ready for a platform: what every route to it runs.
pub(super) struct PreparedModel {
    pub(super) model: Arc<Model>,
    /// The input, by the names of the program's inputs.
    pub(super) tensors: Arc<NamedTensors>,
    pub(super) platform: Platform,
    pub(super) resolved: Resolved,
    pub(super) package: Package,
    /// Its name in the page.
    pub(super) loaded_as: String,
    /// Time that finding or making the package took.
    pub(super) took_ms: f64,
}

impl PreparedModel {
    /// Finds or makes the package for `platform`, under options that were resolved for it.
    pub(super) async fn new(
        request: &RunRequest,
        opened: &Opened,
        platform: Platform,
        resolved: &Resolved,
    ) -> Result<Self, HostError> {
        let began = Instant::now();
        let package = package(&opened.model, &resolved.settings, platform, request).await?;
        let (loaded_as, took_ms) = (package.header.meta.name.clone(), ms_since(began));
        let (model, tensors, resolved) =
            (Arc::clone(&opened.model), Arc::clone(&opened.input.tensors), resolved.clone());
        Ok(Self { model, tensors, platform, resolved, package, loaded_as, took_ms })
    }
}

/// The model made ready for the platform that is asked for; nothing for `auto`, which finds it first.
pub(super) async fn prepare(request: &RunRequest, opened: &Opened) -> Result<Option<PreparedModel>, HostError> {
    let platform = request.platform();
    if platform == Platform::Auto {
        return Ok(None);
    }
    let resolved = opened.resolved(platform).expect("without options for the platform the model was not opened");
    PreparedModel::new(request, opened, platform, resolved).await.map(Some)
}

/// What every option of a request is, for its model.
pub(super) fn resolve_for(request: &RunRequest, model: &Model, platform: Platform) -> Result<Resolved, HostError> {
    let settings = prepare::settings_for(model, &request.options.settings, platform)?;
    let resolved = resolve(&Options { settings, ..request.options.clone() }, platform, family(model));
    match model {
        Model::Folder(_) | Model::Onnx(_) => resolved,
        Model::Package(package) => prepare::as_made(resolved, &package.header.meta, platform),
    }
}

/// What every option is, for a model of `family` on this machine.
///
/// # Errors
/// When options contradict themselves, or cannot be kept where no fallback is allowed.
pub fn resolve(options: &Options, platform: Platform, family: &str) -> Result<Resolved, HostError> {
    let headless = options.launch.headless.unwrap_or(true);
    let context = Context {
        platform,
        browser: options.launch.browser.unwrap_or(BrowserKind::Chrome),
        family,
        gpu: options.launch.gpu.unwrap_or_else(|| default_gpu_profile(headless)),
    };
    Ok(profiles::resolve(options, context)?)
}

/// The family of a model, as packages name it.
pub fn family(model: &Model) -> &str {
    match model {
        Model::Folder(folder) => folder.config.family(),
        Model::Package(package) => &package.header.meta.family,
        Model::Onnx(model) => model.config.family(),
    }
}

/// The package to run: the model itself, or what the quantizer makes of it, or made of it before.
async fn package(
    model: &Arc<Model>,
    settings: &ResolvedSettings,
    platform: Platform,
    request: &RunRequest,
) -> Result<Package, HostError> {
    // Of runs side by side, the first makes the package, and the others find it in the store.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let (model, settings, request) = (Arc::clone(model), settings.clone(), request.clone());
    blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(&request, at.what, at.done, at.total);
        match &*model {
            Model::Onnx(only) => Ok(Package::given(only.facts(settings.bits.value, &mut progress)?)),
            _ => prepare::package(&model, &settings, platform, &mut progress),
        }
    })
    .await
}
