//! Packages on their way into the page.

use std::time::Duration;

use webnibble_common::options::Platform;
use webnibble_common::profiles::{Resolved, Source, Sourced};
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
    LoadOptions {
        execution_provider: resolved.settings.execution_provider.value,
        prefer_device: resolved.settings.execution_provider.source != Source::Explicit,
        experimental_precision: resolved.settings.experimental_precision.value,
        activation_bits: resolved.settings.activation_bits.value,
        lowering: resolved.settings.lowering.value.clone(),
        threads: resolved.settings.threads.value,
        portable_kernels: chosen(resolved.settings.portable_kernels),
        shader_precompilation: resolved.settings.shader_precompilation.value,
        chunked_operations: chosen(resolved.settings.chunked_operations),
        workgroup_size: resolved.settings.workgroup_size.value,
        half_tiles: resolved.settings.half_tiles.value,
        ..LoadOptions::on(platform)
    }
}

/// A switch that somebody has a say in; where nobody has, the page decides by what it finds.
fn chosen(switch: Sourced<bool>) -> Option<bool> {
    (switch.source != Source::Default).then_some(switch.value)
}
