//! Packages on their way into the page.

use std::time::Duration;

use webnibble_common::options::Platform;
use webnibble_common::profiles::{Resolved, Source};
use webnibble_common::wire::{LoadOptions, LoadReport};

use crate::error::HostError;
use crate::host::Host;
use crate::prepare::Package;
use crate::task::blocking;

/// How long loading a package may take, pipelines included.
pub(super) const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// How long freeing a model may take.
pub(super) const UNLOAD_LIMIT: Duration = Duration::from_secs(20);

/// How long all runs of one request may take.
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(600);

/// Has the page load a package under the name `model`. One of the store that turns out to be damaged is made again, and
/// loaded once more.
///
/// # Errors
/// What the page says, or that it is gone or late; when the package is damaged and is the caller's, or cannot be made again.
pub(crate) async fn load_package(
    host: &Host,
    model: &str,
    package: &Package,
    options: LoadOptions,
    limit: Duration,
) -> Result<LoadReport, HostError> {
    match host.load(model, &package.path, &package.header.digest, options.clone(), limit).await {
        Err(error) if package.may_be_damaged(&error) => {
            let package = package.clone();
            let whole = blocking(move || package.repaired(error)).await?;
            host.load(model, &whole.path, &whole.header.digest, options, limit).await
        }
        loaded => loaded,
    }
}

/// How the page is to run a package.
pub fn load_options(platform: Platform, resolved: &Resolved) -> LoadOptions {
    let settings = &resolved.settings;
    LoadOptions {
        prefer_device: settings.execution_provider.source != Source::Explicit,
        settings: settings.for_page(),
        ..LoadOptions::on(platform)
    }
}
