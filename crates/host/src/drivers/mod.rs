//! `webnibble drivers install`: drivers that are missing are installed, and those of another version replaced, by the route
//! that works on this system.

use std::path::PathBuf;

use serde::Serialize;
use tokio::process::Command;
use webnibble_common::options::{BrowserKind, LaunchOptions};
use webnibble_common::record::ErrorInfo;

use crate::browser::{self, BrowserError, Program, drivers_dir, find_browser, find_program};
use crate::error::HostError;

mod command;
mod download;
mod routes;

use download::Sources;
use routes::{Route, Way, routes};

/// What became of one browser's driver.
#[derive(Clone, Debug, Serialize)]
pub struct DriverReport {
    /// Which browser.
    pub browser: BrowserKind,
    /// Where it lies.
    pub binary: Option<PathBuf>,
    /// Its version, where it tells before it runs.
    pub version: Option<String>,
    /// The driver's path.
    pub driver: Option<PathBuf>,
    /// The driver's version, where it tells.
    pub driver_version: Option<String>,
    /// What was found, or done.
    pub status: DriverStatus,
    /// What was done about it, or would be.
    pub route: Option<String>,
    /// Routes that did not lead there, in the order in which they were tried.
    pub failed: Vec<FailedRoute>,
    /// Why there is no driver that fits.
    pub error: Option<ErrorInfo>,
}

/// How it ended for one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverStatus {
    /// It was there, and fits.
    Ready,
    /// It was missing, or of another version, and now it is there.
    Installed,
    /// It is missing, or of another version; nothing was done.
    Planned,
    /// There is no browser to drive.
    NoBrowser,
    /// No route led to a driver that fits.
    Failed,
}

/// A route that did not lead there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRoute {
    /// Which.
    pub route: String,
    /// Why not.
    pub reason: String,
}

/// Sees to it that a browser has a driver that fits. With `dry_run` it says what would be done first. `notify` hears of
/// each route as it is taken.
pub async fn install(kind: BrowserKind, dry_run: bool, notify: &mut (dyn FnMut(&str) + Send)) -> DriverReport {
    let launch = LaunchOptions { browser: Some(kind), ..LaunchOptions::default() };
    let missing = match browser::find(kind, &launch).await {
        Ok(found) => return ready(kind, found, DriverStatus::Ready),
        Err(error) => error,
    };
    let binary = find_browser(kind, &launch).await;
    let mut report = without(kind, binary.as_ref(), &missing);
    let Some(binary) = binary else { return report };
    // The browser runs, so it is its driver that does not.
    let is_of_driver = matches!(
        missing.failure(),
        Some(
            BrowserError::DriverNotFound { .. }
                | BrowserError::DoesNotRun { .. }
                | BrowserError::VersionMismatch { .. }
        )
    );
    if !is_of_driver {
        return report;
    }
    for route in routes(kind).iter().filter(|route| suits(route, &binary)) {
        let name = route.way.to_string();
        if dry_run {
            return DriverReport { status: DriverStatus::Planned, route: Some(name), error: None, ..report };
        }
        notify(&format!("{kind}: {name}"));
        let outcome = match take_route(&route.way, &binary).await {
            Ok(()) => browser::find(kind, &launch).await.map_err(|error| format!("it ran, but {error}")),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(found) => {
                let done = ready(kind, found, DriverStatus::Installed);
                return DriverReport { route: Some(name), failed: report.failed, ..done };
            }
            Err(reason) => report.failed.push(FailedRoute { route: name, reason }),
        }
    }
    report
}

fn ready(browser: BrowserKind, found: browser::FoundBrowser, status: DriverStatus) -> DriverReport {
    DriverReport {
        browser,
        version: told(&found.binary),
        binary: Some(found.binary.path),
        driver_version: told(&found.driver),
        driver: Some(found.driver.path),
        status,
        route: None,
        failed: Vec::new(),
        error: None,
    }
}

fn without(browser: BrowserKind, binary: Option<&Program>, missing: &HostError) -> DriverReport {
    let status = if binary.is_some() { DriverStatus::Failed } else { DriverStatus::NoBrowser };
    DriverReport {
        browser,
        binary: binary.map(|binary| binary.path.clone()),
        version: binary.and_then(told),
        driver: None,
        driver_version: None,
        status,
        route: None,
        failed: Vec::new(),
        error: Some(missing.info()),
    }
}

fn told(program: &Program) -> Option<String> {
    Some(program.version.clone()).filter(|version| !version.is_empty())
}

/// Whether a route is one for this browser, on this system.
fn suits(route: &Route, binary: &Program) -> bool {
    let of_it = route.of.is_none_or(|word| binary.path.to_string_lossy().contains(word));
    of_it && route.way.program().is_none_or(|program| find_program(program).is_some())
}

async fn take_route(way: &Way, binary: &Program) -> Result<(), String> {
    let version = binary.version.clone();
    match way {
        Way::Packages(manager, names) => command::packages(manager, names).await,
        Way::Cargo(name) => cargo_install(name).await,
        Way::ChromeForTesting => {
            fetched(move || Sources::of_environment().chromedriver(&version, &drivers_dir())).await
        }
        Way::EdgeDriver => fetched(move || Sources::of_environment().edgedriver(&version, &drivers_dir())).await,
        Way::Allow(command) => {
            let mut allow = Command::new(command[0]);
            allow.args(&command[1..]);
            command::run(allow).await
        }
    }
}

async fn cargo_install(name: &str) -> Result<(), String> {
    let mut command = Command::new("cargo");
    // Not --locked: a lock file may name versions that a registry has taken back.
    command.args(["install", "--quiet", "--force", name, "--root"]).arg(drivers_dir().join(name));
    // Settings of the project that we stand in are not meant for it.
    command.current_dir(std::env::temp_dir()).kill_on_drop(true);
    for variable in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    command::run(command).await
}

async fn fetched(fetch: impl FnOnce() -> Result<PathBuf, String> + Send + 'static) -> Result<(), String> {
    match tokio::task::spawn_blocking(fetch).await {
        Ok(outcome) => outcome.map(|path| tracing::info!("{} is there", path.display())),
        Err(error) => Err(format!("the download ended early: {error}")),
    }
}
