//! A model made ready for a platform.

use std::sync::Arc;
use std::time::Instant;

use webnibble_common::options::{BrowserKind, Options, Platform};
use webnibble_common::profiles::{self, Context, Resolved, ResolvedSettings};
use webnibble_common::quant::Bits;
use webnibble_common::result::{QuantizationInfo, RunRecord};

use super::fill::{model_info, quantization_info};
use super::request::{RunRequest, tell};
use crate::browser::default_gpu_profile;
use crate::error::HostError;
use crate::loader::{self, Model};
use crate::prepare::{self, Package};
use crate::task::blocking;
use crate::time::ms_since;

/// A model made ready for a platform: what every route to it runs.
pub(super) struct PreparedModel {
    pub(super) model: Arc<Model>,
    pub(super) platform: Platform,
    pub(super) resolved: Resolved,
    pub(super) package: Package,
    /// Its name in the page.
    pub(super) loaded_as: String,
    /// Time that finding or making the package took.
    pub(super) took_ms: f64,
}

impl PreparedModel {
    /// Resolves the options for `platform` and finds or makes the package.
    pub(super) async fn new(request: &RunRequest, model: Arc<Model>, platform: Platform) -> Result<Self, HostError> {
        let resolved = resolve_for(request, &model, platform)?;
        let began = Instant::now();
        let package = package(&model, &resolved.settings, platform, request).await?;
        let (loaded_as, took_ms) = (package.header.meta.name.clone(), ms_since(began));
        Ok(Self { model, platform, resolved, package, loaded_as, took_ms })
    }

    /// How the weights are stored; nothing of those that somebody else quantized.
    fn quantization(&self) -> Option<QuantizationInfo> {
        let known = !matches!(*self.model, Model::Onnx(_));
        known.then(|| quantization_info(&self.package.header.meta, &self.resolved.settings))
    }

    /// Options, model and quantization, for the record.
    pub(super) fn describe(&self, record: &mut RunRecord, request: &RunRequest) {
        let meta = &self.package.header.meta;
        record.options = self.resolved.record();
        record.fallbacks.clone_from(&self.resolved.fallbacks);
        record.model = Some(model_info(meta, &request.model, &self.package.header.digest));
        record.quantization = self.quantization();
        record.performance_metrics.quantization_bits = Bits::try_from(meta.quantization.bits).ok();
    }
}

/// The model made ready for the platform that is asked for; nothing for `auto`, which finds it first.
pub(super) async fn prepare_for(
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
) -> Result<Option<PreparedModel>, HostError> {
    if record.platform == Platform::Auto {
        return Ok(None);
    }
    let prepared = PreparedModel::new(request, Arc::clone(model), record.platform).await?;
    prepared.describe(record, request);
    Ok(Some(prepared))
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
