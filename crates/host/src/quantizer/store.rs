//! Packages on disk: written in one step, found again by what they were made of.

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use webnibble_common::package::{self, TOKENIZER};
use webnibble_common::quant::{Bits, Granularity};

use super::{QuantizeError, QuantizeOptions, QuantizeReport, Quantized, REPORT, quantize_with};
use crate::calibrate::CalibrationData;
use crate::disk::{cache_dir, hex, write_whole};
use crate::loader::{LoadError, ModelFolder, PackageFile, Progress};

/// Raised when the same options give other weights than before: packages of an older quantizer are not taken for new.
const QUANTIZER_REVISION: u32 = 3;

/// A folder of packages, each under a name that follows from model and options.
#[derive(Clone, Debug)]
pub struct PackageStore {
    dir: PathBuf,
}

/// A package that is ready to be served.
#[derive(Debug)]
pub struct Prepared {
    /// The package.
    pub package: PackageFile,
    /// What quantizing cost.
    pub report: QuantizeReport,
    /// Whether it was made now, and not found.
    pub made: bool,
}

impl Default for PackageStore {
    /// `packages` in webnibble's cache.
    fn default() -> Self {
        Self::at(cache_dir().join("packages"))
    }
}

impl PackageStore {
    /// A store in a folder, which is made when the first package is.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The package of a model under these options: the one in the store, else a new one.
    /// A package in the store that is damaged is made anew.
    pub fn prepare(
        &self,
        model: &ModelFolder,
        options: &QuantizeOptions,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, QuantizeError> {
        self.prepare_with(model, options, &CalibrationData::built_in(), progress)
    }

    /// The same with calibration data of one's own.
    ///
    /// # Errors
    /// As [`quantize_with`], and when the package cannot be written.
    pub fn prepare_with(
        &self,
        model: &ModelFolder,
        options: &QuantizeOptions,
        data: &CalibrationData,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, QuantizeError> {
        match find(&self.path_of(model, options, data)) {
            Some((package, report)) => Ok(Prepared { package, report, made: false }),
            None => self.make(model, options, data, progress),
        }
    }

    /// Makes the package of a model under these options, in place of the one that is in the store, if any. Others may read
    /// that one, or make it too: each sees a whole package, the old one or a new one.
    ///
    /// # Errors
    /// As [`quantize_with`], and when the package cannot be written.
    pub fn make(
        &self,
        model: &ModelFolder,
        options: &QuantizeOptions,
        data: &CalibrationData,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Prepared, QuantizeError> {
        let quantized = quantize_with(model, options, data, progress)?;
        let package = write_package(&quantized, &self.path_of(model, options, data))?;
        Ok(Prepared { package, report: quantized.report, made: true })
    }

    /// Where the package of a model under these options lies. The data counts where something is calibrated.
    pub fn path_of(&self, model: &ModelFolder, options: &QuantizeOptions, data: &CalibrationData) -> PathBuf {
        let mut key = Sha256::new();
        key.update(model.digest());
        key.update(QUANTIZER_REVISION.to_le_bytes());
        key.update(package::FORMAT_VERSION.to_le_bytes());
        // The derived form has every field, and changes when one is added.
        key.update(format!("{options:?}"));
        if options.is_calibrated() {
            key.update(data.digest());
        }
        let key = hex(&key.finalize()[..8]);
        let name: String =
            model.name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        self.dir.join(format!("{name}-{}-{key}.safetensors", label(options)))
    }
}

/// A package whose header and report are whole. Its weights are not read yet: who reads them checks them.
fn find(path: &Path) -> Option<(PackageFile, QuantizeReport)> {
    let found = PackageFile::open(path).and_then(|package| Ok((QuantizeReport::of(&package)?, package)));
    match found {
        Ok((report, package)) => report.map(|report| (package, report)),
        Err(LoadError::NotFound { .. }) => None,
        Err(damage) => {
            tracing::debug!("{damage}; the package is made again");
            None
        }
    }
}

/// The options in short, for the name of a file.
fn label(options: &QuantizeOptions) -> String {
    let granularity = match options.granularity {
        _ if !options.bits.is_integer() => String::new(),
        Granularity::Tensor => "-tensor".to_owned(),
        Granularity::Channel => "-channel".to_owned(),
        Granularity::Group(size) => format!("-g{size}"),
    };
    let attention = if options.mixed_precision { format!("-a{}", options.attention_bits) } else { String::new() };
    let activations = if options.activation_bits == Bits::B8 { "-int8" } else { "" };
    let weights = if options.calibrated_weights { "-fitted" } else { "" };
    format!("{}bit{granularity}{attention}-e{}{activations}{weights}", options.bits, options.embedding_bits)
}

/// Writes a package. The file appears under its name when it is whole and on the disk: who reads it never sees half of one,
/// and when writing fails what was there before stays.
pub fn write_package(quantized: &Quantized, path: &Path) -> Result<PackageFile, QuantizeError> {
    let failed = |error: io::Error| QuantizeError::Write { path: path.to_owned(), message: error.to_string() };
    let report = serde_json::to_vec(&quantized.report).map_err(|error| failed(error.into()))?;
    let tokenizer = quantized.tokenizer.as_deref().map(|bytes| (TOKENIZER, bytes));
    let extras: Vec<(&str, &[u8])> = tokenizer.into_iter().chain([(REPORT, report.as_slice())]).collect();
    let written = write_whole(path, |file| {
        let mut sink = BufWriter::with_capacity(1 << 20, file);
        package::write(&quantized.meta, &quantized.weights, &extras, &mut sink).map_err(io::Error::other)?;
        sink.flush()
    });
    written.map_err(failed)?;
    Ok(PackageFile::open(path)?)
}
