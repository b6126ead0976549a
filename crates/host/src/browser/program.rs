//! A browser's program and its driver's.

use std::path::PathBuf;

use serde::Serialize;

/// Where a browser or a driver is looked for.
pub(super) struct Programs {
    /// Names on PATH, best first.
    pub(super) names: &'static [&'static str],
    /// Places beside PATH where installers put it.
    pub(super) places: &'static [&'static str],
    /// Whether it prints its version when asked with `--version`; otherwise it is not asked, and it is not known.
    pub(super) tells_version: bool,
    /// What installs it.
    pub(super) hint: &'static str,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it lies.
    pub path: PathBuf,
    /// Its version: `156.0.8078.79`; empty where it does not tell before it runs.
    pub version: String,
}

impl Program {
    /// First number of the version; 0 where there is none.
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }
}

/// A browser and the driver that fits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBrowser {
    /// The browser.
    pub binary: Program,
    /// Its driver.
    pub driver: Program,
    /// How they go together.
    pub fit: Fit,
    /// Programs that come before these, and are not taken.
    pub passed_over: Vec<PassedOver>,
}

/// How a browser and its driver go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The driver is made for browsers of this version.
    Fits,
    /// The driver is of another version, and drives this browser all the same: the one with WebNN that the script of the
    /// repository fetches is older than the drivers that systems have.
    KnownToWork,
    /// The driver is of another version, and was named by the caller.
    Untried,
}

/// A program that was found, and is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Where it lies.
    pub path: PathBuf,
    /// Why it is not taken.
    pub reason: String,
}
