//! Models made ready for the page that a person uses: found, quantized and published.

use std::sync::Arc;

use webnibble_common::options::{Options, Platform, Settings};
use webnibble_common::quant::Bits;

use crate::error::HostError;
use crate::loader::{self, Model, PackageFile};
use crate::prepare;
use crate::run::{RunProgress, RunProgressSink, family, resolve};
use crate::server::{Offered, Server};
use crate::task::blocking;

/// What to offer.
#[derive(Clone)]
pub struct OfferRequest {
    /// Names, folders and packages, as [`loader::find`] takes them.
    pub models: Vec<String>,
    /// Bits of the weights, a package of each; none for what the family recommends, or what a package has.
    pub bits: Vec<Bits>,
    /// The rest of the quantization.
    pub settings: Settings,
    /// Hears how far it is.
    pub progress: Option<RunProgressSink>,
}

/// Makes a package of every model at every bit width, and offers it on `server`'s page.
///
/// # Errors
/// With the first model that cannot be found, read or quantized.
pub async fn offer(server: &Server, request: &OfferRequest) -> Result<Vec<Offered>, HostError> {
    let activation_bits = request.settings.activation_bits.unwrap_or(Bits::B32);
    let mut offered = Vec::new();
    for name in &request.models {
        for package in packages(name, request).await? {
            offered.push(server.offer(&package, activation_bits));
        }
    }
    Ok(offered)
}

/// The packages of one model.
async fn packages(name: &str, request: &OfferRequest) -> Result<Vec<PackageFile>, HostError> {
    let (name, request) = (name.to_owned(), request.clone());
    blocking(move || {
        let mut progress = |at: loader::Progress<'_>| tell(request.progress.as_ref(), at);
        let model = Arc::new(Model::load(&name, &mut progress)?);
        let widths: Vec<Option<Bits>> = request.bits.iter().copied().map(Some).collect();
        let widths = if widths.is_empty() { vec![None] } else { widths };
        widths.into_iter().map(|bits| package(&model, bits, &request.settings, &mut progress)).collect()
    })
    .await
}

fn package(
    model: &Model,
    bits: Option<Bits>,
    settings: &Settings,
    progress: &mut dyn FnMut(loader::Progress<'_>),
) -> Result<PackageFile, HostError> {
    // Ranges of activations are measured for WebNN alone, and do no harm elsewhere. What else a platform would change
    // is not known before somebody chooses one.
    let platform = if settings.activation_bits == Some(Bits::B8) { Platform::Webnn } else { Platform::Webgpu };
    let chosen = Settings { bits: bits.or(settings.bits), ..settings.clone() };
    let settings = prepare::settings_for(model, &chosen, platform)?;
    let resolved = resolve(&Options { settings, ..Options::default() }, platform, family(model))?;
    let package = prepare::package(model, &resolved.settings, platform, progress)?;
    // A page cannot have a damaged one made again, as a run can: it is seen to before.
    package.read(|file| {
        file.check()?;
        Ok(file.clone())
    })
}

fn tell(sink: Option<&RunProgressSink>, at: loader::Progress<'_>) {
    if let Some(sink) = sink {
        sink(RunProgress::Host { what: at.what, done: at.done, total: at.total });
    }
}
