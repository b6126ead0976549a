//! What is particular to each browser, as data: where it lies, how its driver is started, and what the driver is asked.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::config::BrowserConfig;
use super::program::{FoundBrowser, Programs};

/// One browser.
pub(super) struct Vendor {
    /// For people.
    pub(super) name: &'static str,
    /// The browser.
    pub(super) binaries: Programs,
    /// Its driver.
    pub(super) drivers: Programs,
    /// Whether a driver fits only a browser of its own version.
    pub(super) one_version: bool,
    /// First version that can be used.
    pub(super) first_version: u32,
    /// How the driver comes to its port.
    pub(super) port: Port,
    /// How it runs without a window that anybody sees.
    pub(super) headless: Headless,
    /// Where the driver says which process the browser is; otherwise it is looked for below the driver.
    pub(super) process_id: Option<&'static str>,
    /// More arguments for the driver.
    pub(super) driver_args: fn(&BrowserConfig, &FoundBrowser) -> Vec<&'static str>,
    /// Variables of the environment, for a browser whose files go into a folder.
    pub(super) environment: fn(&BrowserConfig, &Path) -> Vec<(&'static str, OsString)>,
    /// What the driver is asked for.
    pub(super) capabilities: fn(&Ask<'_>) -> Value,
}

/// What a driver is asked for depends on this.
pub(super) struct Ask<'a> {
    /// What the caller wants.
    pub(super) config: &'a BrowserConfig,
    /// The browser; a remote driver finds its own.
    pub(super) binary: Option<&'a Path>,
    /// Where its files go; a remote one has its own place.
    pub(super) folder: Option<&'a Path>,
    /// Whether the browser runs with all rights.
    pub(super) as_root: bool,
    /// Origin that is to count as secure though it is not: WebGPU and WebNN are for secure contexts alone.
    pub(super) trusted_origin: Option<&'a str>,
}

/// How a driver comes to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// It takes a free one, and prints it.
    Told,
    /// It is given one, and prints nothing.
    Given,
}

/// How a browser runs without a window that anybody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headless {
    /// In a mode that it has for it.
    Mode,
    /// It has windows whatever it is told: on a display of its own nobody sees them.
    OwnDisplay,
    /// Not at all.
    Never,
}
