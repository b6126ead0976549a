//! What is to be evaluated, and the packages of its rows.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use webnibble_common::options::{Options, Platform, Settings};
use webnibble_common::profiles::{self, Resolved};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::{Bits, Scheme};
use webnibble_common::record::ImplementationType;

use crate::error::HostError;
use crate::loader::{Model, PackageFile, Progress};
use crate::prepare::{self, Package};
use crate::run::{RunProgress, RunProgressSink, family, resolve};
use crate::task::blocking;

/// Bit widths that are compared unless others are asked for.
pub const BITS: [Bits; 4] = [Bits::B16, Bits::B8, Bits::B4, Bits::B2];

/// What to evaluate.
#[derive(Clone)]
pub struct EvalRequest {
    /// A model that embeds sentences, or one that generates text.
    pub model: String,
    /// Tab-separated pairs, as [`read_pairs`] takes them; for a model that generates, a text.
    pub data: PathBuf,
    /// The first rows only, or the first tokens.
    pub limit: Option<usize>,
    /// Bits of the weights, a row each; [`BITS`], or those of a package, where there are none.
    pub bits: Vec<Bits>,
    /// What is put before each sentence.
    pub prompt: PromptChoice,
    /// Everything else that the caller chose. Without a platform, this machine's processor computes.
    pub options: Options,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Hears how far it is.
    pub progress: Option<RunProgressSink>,
}

/// How a package stores weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PackageFormat {
    /// Bits of the linear weights.
    pub bits: Bits,
    /// Bits of attention projections.
    pub attention_bits: Bits,
    /// Bits of embedding tables.
    pub embedding_bits: Bits,
    /// Where zero lies.
    pub scheme: Scheme,
    /// `group`, `channel` or `tensor`.
    pub granularity: String,
    /// Weights of a group.
    pub group_size: Option<usize>,
    /// Bytes of the package.
    pub package_bytes: u64,
}

impl PackageFormat {
    pub(super) fn of(package: &PackageFile) -> Self {
        let made = &package.header.meta.quantization;
        let bits = |count: u8| Bits::try_from(count).unwrap_or(Bits::B32);
        let (granularity, group_size) = profiles::granularity_parts(made.granularity);
        Self {
            bits: bits(made.bits),
            attention_bits: bits(made.attention_bits),
            embedding_bits: bits(made.embedding_bits),
            scheme: made.scheme,
            granularity: granularity.into(),
            group_size,
            package_bytes: package.header.total_bytes,
        }
    }
}

/// A package that is ready, and how it is to be run.
pub(super) struct PreparedRow {
    pub(super) resolved: Resolved,
    pub(super) package: Package,
    /// What ran, where it is known.
    pub(super) ran: Option<(ImplementationType, Bits)>,
}

/// Bits of each row; `None` leaves them to the package.
pub(super) fn row_bits(request: &EvalRequest, model: &Model) -> Vec<Option<Bits>> {
    let int8 = request.options.settings.activation_bits == Some(Bits::B8);
    match (&request.bits[..], model) {
        ([], Model::Package(_) | Model::Onnx(_)) => vec![None],
        // Int8 activations go with weights of 8 bits alone.
        ([], Model::Folder(_)) if int8 => vec![Some(Bits::B8)],
        ([], Model::Folder(_)) => BITS.map(Some).to_vec(),
        (bits, _) => bits.iter().copied().map(Some).collect(),
    }
}

pub(super) async fn prepare_row(
    request: &EvalRequest,
    model: &Arc<Model>,
    bits: Option<Bits>,
) -> Result<PreparedRow, HostError> {
    let (model, request) = (Arc::clone(model), request.clone());
    blocking(move || {
        let chosen = Settings { bits, ..request.options.settings.clone() };
        // What this machine's processor computes depends on no browser; int8 is WebNN's unless wasm is asked for.
        let platform = request.options.platform.unwrap_or(match chosen.activation_bits {
            Some(Bits::B8) => Platform::Webnn,
            _ => Platform::Webgpu,
        });
        let options =
            Options { settings: prepare::settings_for(&model, &chosen, platform)?, ..request.options.clone() };
        let resolved = resolve(&options, platform, family(&model))?;
        let package = prepare::package(&model, &resolved.settings, platform, &mut |at| tell_at(&request, at))?;
        Ok(PreparedRow { resolved, package, ran: None })
    })
    .await
}

pub(super) fn progress_name(package: &PackageFile) -> String {
    format!("evaluating {} bits", package.header.meta.quantization.bits)
}

pub(super) fn tell(request: &EvalRequest, what: &str, done: u64, total: u64) {
    tell_at(request, Progress { what, done, total });
}

pub(super) fn tell_at(request: &EvalRequest, at: Progress<'_>) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what: at.what, done: at.done, total: at.total });
    }
}
