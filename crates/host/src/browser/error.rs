//! Why there is no browser: not found, not fitting, not starting.

use std::path::PathBuf;

use crate::error::{Failure, limits};

/// Why a browser cannot be had, with what was named, looked for or seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// No browser.
    #[error("{browser} was not found; looked for {}", looked.join(", "))]
    NotFound {
        /// Which.
        browser: String,
        /// Names and paths that were tried.
        looked: Vec<String>,
        /// The command that installs it.
        hint: String,
    },
    /// No driver for the browser.
    #[error("the driver of {browser} was not found; looked for {}", looked.join(", "))]
    DriverNotFound {
        /// Which browser.
        browser: String,
        /// Names and paths that were tried.
        looked: Vec<String>,
        /// The command that installs it.
        hint: String,
    },
    /// The driver is for another version of the browser.
    #[error("{driver} is version {driver_version}, but {binary} is version {browser_version}")]
    VersionMismatch {
        /// Path of the browser.
        binary: PathBuf,
        /// Its version.
        browser_version: String,
        /// Path of the driver.
        driver: PathBuf,
        /// Its version.
        driver_version: String,
        /// What installs one that fits.
        hint: String,
    },
    /// The browser is older than what webnibble needs.
    #[error("{binary} is version {found}; version {needed} or later is needed")]
    TooOld {
        /// Path of the browser.
        binary: PathBuf,
        /// Its version.
        found: String,
        /// First version that will do.
        needed: u32,
    },
    /// A program or address that the caller names is not there.
    #[error("{option} {named}: {reason}")]
    NotThere {
        /// The option: `--driver`.
        option: &'static str,
        /// What was named.
        named: String,
        /// What was found in its place.
        reason: String,
    },
    /// A browser's or a driver's program is there, but does not run.
    #[error("{} does not run: {reason}{}", .program.display(), limits::message_ending())]
    DoesNotRun {
        /// Its path.
        program: PathBuf,
        /// What was seen.
        reason: String,
        /// What installs one that does.
        hint: String,
    },
    /// No place for the browser's files.
    #[error("there is no place for the browser's files: {}", places(.tried))]
    Folder {
        /// Places that were tried, each with what is wrong with it.
        tried: Vec<(PathBuf, String)>,
        /// Bytes that the path of such a place may have.
        longest_bytes: usize,
    },
    /// A window was asked for, and there is nothing to show it on.
    #[error(
        "{browser} was to have a window (--headed), and there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"
    )]
    NoDisplay {
        /// Which browser.
        browser: String,
    },
    /// The driver or the browser did not start.
    #[error("{browser} did not start: {reason}{}", limits::message_ending())]
    Start {
        /// Which browser.
        browser: String,
        /// What was seen.
        reason: String,
        /// Last lines of driver and browser.
        log: Vec<String>,
    },
    /// Nobody answers where a WebDriver server should.
    #[error("no WebDriver server answers at {url}: {reason}")]
    WebDriverUnreachable {
        /// Its address.
        url: String,
        /// What was seen.
        reason: String,
    },
    /// A Selenium Grid whose slots are taken.
    #[error("the grid at {url} has no free slot for {browser} ({all} in all)")]
    NoFreeSlot {
        /// Its address.
        url: String,
        /// Which browser.
        browser: String,
        /// Slots for it, taken and free.
        all: usize,
    },
}

impl Failure for BrowserError {
    fn code(&self) -> String {
        let code = match self {
            Self::NotFound { .. } => "browser_not_found",
            Self::DriverNotFound { .. } => "driver_not_found",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::TooOld { .. } => "browser_too_old",
            Self::NotThere { .. } => "not_there",
            Self::Folder { .. } => "browser_folder",
            Self::NoDisplay { .. } => "no_display",
            Self::DoesNotRun { .. } | Self::Start { .. } => "browser_start",
            Self::WebDriverUnreachable { .. } => "webdriver_unreachable",
            Self::NoFreeSlot { .. } => "no_free_slot",
        };
        code.into()
    }

    fn hint(&self) -> String {
        let may_be_limited = matches!(self, Self::DoesNotRun { .. } | Self::Start { .. });
        if let Some(hint) = limits::hint().filter(|_| may_be_limited) {
            return hint.into();
        }
        match self {
            Self::NotFound { hint, .. } | Self::DriverNotFound { hint, .. } | Self::DoesNotRun { hint, .. } => {
                hint.clone()
            }
            Self::VersionMismatch { hint, .. } => format!("{hint} to try it all the same"),
            Self::TooOld { .. } => "install a newer browser, or name one with --browser-binary".into(),
            Self::NotThere { option, .. } => name_another(option).into(),
            Self::Folder { longest_bytes, .. } => {
                format!(
                    "set TMPDIR to a folder of at most {longest_bytes} bytes that this user may write, and that has space"
                )
            }
            Self::NoDisplay { .. } => {
                "leave --headed out, or give it a display: `xvfb-run -a webnibble …` (Debian: `apt-get install xvfb`)"
                    .into()
            }
            Self::Start { log, .. } if log.is_empty() => "run again with --verbose to see its output".into(),
            Self::Start { log, .. } => format!("last lines of its output:\n  {}", log.join("\n  ")),
            Self::WebDriverUnreachable { .. } => {
                "check the address and that the server runs: its /status should open in a browser".into()
            }
            Self::NoFreeSlot { all: 0, .. } => {
                "the grid has no node for this browser, or none that is up: its /status lists them".into()
            }
            Self::NoFreeSlot { .. } => "wait until others are done, add nodes, or ask for fewer sessions".into(),
        }
    }
}

impl BrowserError {
    /// Whether asking once more would be answered so again, until somebody changes something on this machine.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Start { .. } | Self::WebDriverUnreachable { .. } | Self::NoFreeSlot { .. })
    }
}

/// What to do where what the caller named is not there.
fn name_another(option: &str) -> &'static str {
    match option {
        "--webdriver" => {
            "give the address of a WebDriver server or Selenium Grid that runs; without it one is started here"
        }
        "--driver" => {
            "give the path of the driver, or its name on PATH; without it webnibble looks for one, and `webnibble drivers \
             install` installs what is missing (Debian: `apt-get install chromium-driver`)"
        }
        _ => {
            "give the path of the browser, or its name on PATH; without it webnibble looks for one, and `webnibble doctor` lists \
             what it finds (Debian: `apt-get install chromium`)"
        }
    }
}

fn places(tried: &[(PathBuf, String)]) -> String {
    tried.iter().map(|(place, reason)| format!("{}: {reason}", place.display())).collect::<Vec<_>>().join("; ")
}
