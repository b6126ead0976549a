//! The package to run: the model itself where it is one, else what the quantizer makes of it, or made of it before.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use webnibble_common::options::{Platform, Settings};
use webnibble_common::package::PackageMeta;
use webnibble_common::profiles::{OptionsError, Resolved, ResolvedSettings, Source, Sourced};
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::wire::ErrorCode;

use crate::calibrate::CalibrationData;
use crate::error::HostError;
use crate::loader::{LoadError, Model, ModelFolder, PackageFile, Progress};
use crate::quantizer::{PackageStore, QuantizeOptions};
use crate::reference::ReferenceError;

/// A package that is ready to be read or loaded. Its header was checked; its data is, by who reads it.
#[derive(Clone, Debug)]
pub struct Package {
    file: PackageFile,
    /// What it is made of, where it lies in the store. Any other is the caller's, and is never replaced.
    recipe: Option<Recipe>,
}

/// What a package in the store is made of.
#[derive(Clone, Debug)]
struct Recipe {
    folder: PathBuf,
    name: String,
    options: QuantizeOptions,
    store: PackageStore,
}

impl Deref for Package {
    type Target = PackageFile;

    fn deref(&self) -> &PackageFile {
        &self.file
    }
}

impl Package {
    /// A file of the caller's.
    pub(crate) fn given(file: PackageFile) -> Self {
        Self { file, recipe: None }
    }

    /// The package of a model in a store, found or made.
    fn stored(
        store: PackageStore,
        model: &ModelFolder,
        options: QuantizeOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HostError> {
        let file = store.prepare(model, &options, progress)?.package;
        let recipe = Recipe { folder: model.path.clone(), name: model.name.clone(), options, store };
        Ok(Self { file, recipe: Some(recipe) })
    }

    /// Reads the package. One of the store that turns out to be damaged is made again, and read once more.
    ///
    /// # Errors
    /// Those of `read`; when the package is damaged and is the caller's, or cannot be made again.
    pub fn read<T>(&self, read: impl Fn(&PackageFile) -> Result<T, HostError>) -> Result<T, HostError> {
        match read(&self.file) {
            Err(error) if self.may_be_damaged(&error) => read(&self.repaired(error)?),
            outcome => outcome,
        }
    }

    /// Whether an error may come of the package's bytes.
    pub(crate) fn may_be_damaged(&self, error: &HostError) -> bool {
        match error {
            HostError::Remote { error, .. } if error.code == ErrorCode::Fetch => !self.file.path.is_file(),
            HostError::Remote { error, .. } => error.code == ErrorCode::BadPackage,
            _ => {
                error.failure::<LoadError>().is_some()
                    || matches!(error.failure::<ReferenceError>(), Some(ReferenceError::Load(_)))
            }
        }
    }

    /// The package, whole: made again where it is damaged, or as somebody else made it again meanwhile. Reads and computes
    /// for long: not for a task of the runtime.
    ///
    /// # Errors
    /// `error` for a package of the caller's; else why it cannot be made again.
    pub(crate) fn repaired(&self, error: HostError) -> Result<PackageFile, HostError> {
        // Of runs side by side, the first makes it again, and the others find it.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let Some(Recipe { folder, name, options, store }) = &self.recipe else { return Err(error) };
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let path = &self.file.path;
        let found = PackageFile::open(path).and_then(|file| file.check().map(|()| file));
        let damage = match found {
            Ok(whole) => return Ok(whole),
            Err(damage) => damage,
        };
        let data = CalibrationData::built_in();
        let model = ModelFolder::open(folder, name)?;
        if store.path_of(&model, options, &data) != *path {
            // The model has changed meanwhile: what would be made is the package of another one.
            return Err(damage.into());
        }
        tracing::debug!("{damage}; the package is made again");
        Ok(store.make(&model, options, &data, &mut |_| {})?.package)
    }
}

/// The package of a model under these settings, for a platform. Reads and computes for long: not for a task of the runtime.
///
/// # Errors
/// When the model cannot be read or quantized.
pub fn package(
    model: &Model,
    settings: &ResolvedSettings,
    platform: Platform,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Package, HostError> {
    match model {
        Model::Folder(folder) => {
            let mut options = QuantizeOptions::from(settings);
            if platform == Platform::Wasm {
                // It finds the ranges of activations as it computes: there is nothing to measure before.
                options.activation_bits = Bits::B32;
            }
            Package::stored(PackageStore::default(), folder, options, progress)
        }
        Model::Package(package) => Ok(Package::given(PackageFile::open(&package.path)?)),
        Model::Onnx(model) => Err(model.not_native().into()),
    }
}

/// The caller's settings for a model. A package has its quantization already: choosing it is choosing that, and choosing
/// another one at the same time is an error.
///
/// # Errors
/// Names the option that the package does not keep.
pub fn settings_for(model: &Model, chosen: &Settings, platform: Platform) -> Result<Settings, HostError> {
    let package = match model {
        Model::Package(package) => package,
        Model::Folder(_) => return Ok(chosen.clone()),
        Model::Onnx(model) => return Ok(model.settings_for(chosen, platform)?),
    };
    let made = &package.header.meta.quantization;
    let conflict = |option: &str, asked: String, found: String| HostError::PackageFixed {
        path: package.path.clone(),
        option: option.to_owned(),
        asked,
        found,
    };
    let keep = |option: &str, asked: Option<Bits>, found: u8| match asked {
        Some(asked) if u8::from(asked) != found => Err(conflict(option, asked.to_string(), found.to_string())),
        _ => Ok(Bits::try_from(found).ok()),
    };
    let mut settings = chosen.clone();
    settings.bits = keep("--bits", chosen.bits, made.bits)?;
    settings.embedding_bits = keep("--embedding-bits", chosen.embedding_bits, made.embedding_bits)?;
    let attention_bits = keep("--attention-bits", chosen.attention_bits, made.attention_bits)?;
    settings.attention_bits = attention_bits.filter(|_| made.mixed_precision);
    if let Some(asked) = chosen.scheme.filter(|scheme| *scheme != made.scheme) {
        return Err(conflict(
            "--scheme",
            format!("{asked:?}").to_lowercase(),
            format!("{:?}", made.scheme).to_lowercase(),
        ));
    }
    if let Some(asked) = chosen.granularity.filter(|granularity| *granularity != made.granularity) {
        return Err(conflict(
            "granularity",
            format!("{asked:?}").to_lowercase(),
            format!("{:?}", made.granularity).to_lowercase(),
        ));
    }
    if let Some(asked) = chosen.mixed_precision.filter(|mixed| *mixed != made.mixed_precision) {
        return Err(conflict("--mixed-precision", asked.to_string(), made.mixed_precision.to_string()));
    }
    if chosen.quantization == Some(false) && made.bits != u8::from(Bits::B32) {
        return Err(conflict("--no-quantization", "32 bits".into(), format!("{} bits", made.bits)));
    }
    if chosen.activation_bits == Some(Bits::B8)
        && let Some(why) = no_int8(&package.header.meta, platform)
    {
        return Err(conflict("--activation-bits", "8".into(), format!("32: {why}")));
    }
    settings.scheme = Some(made.scheme);
    settings.granularity = Some(made.granularity);
    settings.mixed_precision = Some(made.mixed_precision);
    Ok(settings)
}

/// Options of a package: its bits stay what they are, whatever the platform takes. Another route may take them.
///
/// # Errors
/// [`HostError::PlatformUnavailable`] where no other route is allowed.
pub(crate) fn as_made(
    resolved: Result<Resolved, HostError>,
    meta: &PackageMeta,
    platform: Platform,
) -> Result<Resolved, HostError> {
    let of_bits = |request: &str| ["bits ", "attention_bits "].iter().any(|option| request.starts_with(option));
    let mut resolved = match resolved {
        Err(HostError::Options(OptionsError::NotKept { request, reason, .. })) if of_bits(&request) => {
            let hint = "give the model's folder, of which a package that fits is made".into();
            return Err(HostError::PlatformUnavailable { platform: platform.to_string(), reason, hint });
        }
        resolved => resolved?,
    };
    if resolved.fallbacks.iter().any(|step| of_bits(&step.from)) {
        resolved.fallbacks.retain(|step| !of_bits(&step.from));
        let made = |bits: u8| {
            let value = Bits::try_from(bits).unwrap_or(Bits::B32);
            Sourced { value, source: Source::Explicit }
        };
        resolved.settings.bits = made(meta.quantization.bits);
        resolved.settings.attention_bits = made(meta.quantization.attention_bits);
    }
    Ok(resolved)
}

/// Why a package cannot be computed in int8 on a platform; `None` where it can.
fn no_int8(meta: &PackageMeta, platform: Platform) -> Option<&'static str> {
    if platform != Platform::Wasm {
        return meta.activations.is_none().then_some("it was not calibrated");
    }
    let made = &meta.quantization;
    let one_scale = matches!(made.granularity, Granularity::Channel | Granularity::Tensor);
    let eight = |bits: u8| bits == u8::from(Bits::B8);
    let fits = eight(made.bits) && eight(made.attention_bits) && made.scheme == Scheme::Symmetric && one_scale;
    (!fits).then_some("its weights are not of 8 bits, symmetric, with one scale a channel or tensor")
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
