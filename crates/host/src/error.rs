//! What can go wrong on the native side, each with what to do about it.

use std::path::PathBuf;

use webnibble_common::profiles::OptionsError;
use webnibble_common::result::ErrorInfo;
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_models::text::TextError;

use crate::browser::LONGEST_FOLDER;
use crate::eval::DataError;
use crate::loader::LoadError;
use crate::onnx::OnnxError;
use crate::output::OutputError;
use crate::quantizer::QuantizeError;
use crate::reference::ReferenceError;

mod hints;
pub(crate) mod limits;

/// A failure of the host, or one that the page reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The page's files are not there.
    #[error("the page's files are missing: no {missing}; looked in {}", list(.looked))]
    Assets {
        /// What is missing: `www/index.html`, or a file of `pkg/`.
        missing: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No browser.
    #[error("{browser} was not found; looked for {}", looked.join(", "))]
    BrowserNotFound {
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
    BrowserTooOld {
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
    #[error("{} does not run: {reason}{}", .program.display(), limited())]
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
    BrowserFolder {
        /// Places that were tried, each with what is wrong with it.
        tried: Vec<(PathBuf, String)>,
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
    #[error("{browser} did not start: {reason}{}", limited())]
    BrowserStart {
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
    /// A pool has lost its last session.
    #[error("no browser session is left, and none can be had: {last}")]
    NoSession {
        /// Why the last one could not be started.
        last: String,
        /// What to do about that.
        hint: String,
    },
    /// The page did not connect in time.
    #[error("the page did not {what} within {} s{}{}", .waited_ms / 1000, limited(), tail(.console))]
    PageSilent {
        /// What it should have done.
        what: &'static str,
        /// How long that was waited for.
        waited_ms: u64,
        /// Last lines of the browser's console.
        console: Vec<String>,
    },
    /// The page or its backend failed.
    #[error("{error}{}{}", if is_end(.error) { limited() } else { String::new() }, tail(.console))]
    Remote {
        /// What the page said, or what the session saw.
        error: RemoteError,
        /// Last lines of the browser's console, where they help.
        console: Vec<String>,
    },
    /// A platform that was asked for does not run here.
    #[error("{platform} is not available: {reason}")]
    PlatformUnavailable {
        /// Which.
        platform: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// Neither what was asked for nor anything after it gave an answer.
    #[error("{first} ({last_route} gave no answer either: {last})")]
    EveryRoute {
        /// Why what was asked for failed.
        first: Box<HostError>,
        /// What was tried last.
        last_route: String,
        /// Why that failed.
        last: Box<HostError>,
    },
    /// Options that contradict themselves, or that cannot be kept.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A model cannot be found, fetched or read.
    #[error(transparent)]
    Load(Box<LoadError>),
    /// A model cannot be quantized.
    #[error(transparent)]
    Quantize(Box<QuantizeError>),
    /// A package was asked to be something else than it is.
    #[error("{}: {option} should be {found}, as the package has it, found {asked}", .path.display())]
    PackageFixed {
        /// The package.
        path: PathBuf,
        /// The option.
        option: String,
        /// What was asked for.
        asked: String,
        /// What the package has.
        found: String,
    },
    /// A model has no ONNX form, or cannot be given one.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The same model in f32 cannot be run here.
    #[error(transparent)]
    Reference(Box<ReferenceError>),
    /// A text or a row of token ids does not fit the model.
    #[error(transparent)]
    Text(TextError),
    /// What to evaluate on is not there, or not what it should be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file that would be lost by writing where it was asked for.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Something that the words allow, but that is not built yet.
    #[error("{what} is not there yet")]
    NotYet {
        /// What was asked for.
        what: String,
        /// What can be had instead.
        instead: String,
    },
    /// A file or the system.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl HostError {
    /// An I/O failure while doing `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The kind of failure, for programs.
    pub fn code(&self) -> String {
        match self {
            Self::Assets { .. } => "assets_missing".into(),
            Self::Bind { .. } => "cannot_listen".into(),
            Self::BrowserNotFound { .. } => "browser_not_found".into(),
            Self::DriverNotFound { .. } => "driver_not_found".into(),
            Self::VersionMismatch { .. } => "version_mismatch".into(),
            Self::BrowserTooOld { .. } => "browser_too_old".into(),
            Self::NotThere { .. } => "not_there".into(),
            Self::BrowserFolder { .. } => "browser_folder".into(),
            Self::NoDisplay { .. } => "no_display".into(),
            Self::DoesNotRun { .. } | Self::BrowserStart { .. } => "browser_start".into(),
            Self::WebDriverUnreachable { .. } => "webdriver_unreachable".into(),
            Self::NoFreeSlot { .. } => "no_free_slot".into(),
            Self::NoSession { .. } => "no_session".into(),
            Self::PageSilent { .. } => "page_silent".into(),
            Self::Remote { error, .. } => error.code.name(),
            Self::PlatformUnavailable { .. } => "platform_unavailable".into(),
            Self::EveryRoute { first, .. } => first.code(),
            Self::Options(OptionsError::NotKept { .. }) => "request_not_kept".into(),
            Self::Options(_) => "bad_options".into(),
            Self::Load(_) => "model".into(),
            Self::Quantize(_) => "quantize".into(),
            Self::PackageFixed { .. } => "package_fixed".into(),
            Self::Onnx(_) => "onnx".into(),
            Self::Reference(_) => "reference".into(),
            Self::Text(TextError::Prompt(_)) => UNKNOWN_PROMPT.into(),
            Self::Text(_) => ErrorCode::BadInput.name(),
            Self::Data(_) => "data".into(),
            Self::Output(_) => "output".into(),
            Self::NotYet { .. } => "not_yet".into(),
            Self::Io { .. } => "io".into(),
        }
    }

    /// What to do about it; empty where nothing can be said.
    pub fn hint(&self) -> String {
        let may_be_limited = match self {
            Self::DoesNotRun { .. } | Self::BrowserStart { .. } | Self::PageSilent { .. } => true,
            Self::Remote { error, .. } => is_end(error),
            _ => false,
        };
        if let Some(hint) = limits::hint().filter(|_| may_be_limited) {
            return hint.into();
        }
        let file = match self {
            Self::Load(error) => error.file(),
            Self::Quantize(error) => error.file(),
            _ => None,
        };
        if let Some(hint) = file.and_then(hints::elsewhere) {
            return hint;
        }
        match self {
            Self::Assets { .. } => {
                "run `make wasm`, or set WEBNIBBLE_ASSETS to the folder that holds www/ and pkg/".into()
            }
            Self::Bind { .. } => "choose another address; port 0 takes a free port".into(),
            Self::BrowserNotFound { hint, .. } | Self::DriverNotFound { hint, .. } => hint.clone(),
            Self::VersionMismatch { hint, .. } => format!("{hint} to try it all the same"),
            Self::BrowserTooOld { .. } => "install a newer browser, or name one with --browser-binary".into(),
            Self::NotThere { option, .. } => hints::not_there(option).into(),
            Self::DoesNotRun { hint, .. } => hint.clone(),
            Self::BrowserFolder { .. } => {
                format!(
                    "set TMPDIR to a folder of at most {LONGEST_FOLDER} bytes that this user may write, and that has space"
                )
            }
            Self::NoDisplay { .. } => {
                "leave --headed out, or give it a display: `xvfb-run -a webnibble …` (Debian: `apt-get install xvfb`)"
                    .into()
            }
            Self::BrowserStart { log, .. } if log.is_empty() => "run again with --verbose to see its output".into(),
            Self::BrowserStart { log, .. } => format!("last lines of its output:\n  {}", log.join("\n  ")),
            Self::WebDriverUnreachable { .. } => {
                "check the address and that the server runs: its /status should open in a browser".into()
            }
            Self::NoFreeSlot { all: 0, .. } => {
                "the grid has no node for this browser, or none that is up: its /status lists them".into()
            }
            Self::NoFreeSlot { .. } => "wait until others are done, add nodes, or ask for fewer sessions".into(),
            Self::NoSession { hint, .. } => hint.clone(),
            Self::PageSilent { .. } => {
                "the page may be broken (`make wasm`) or the machine busy; --verbose shows the browser's output".into()
            }
            Self::Remote { error, .. } => error.hint.clone(),
            Self::PlatformUnavailable { hint, .. } => hint.clone(),
            Self::EveryRoute { first, .. } => first.hint(),
            Self::Output(_) => "give another file or folder to write to".into(),
            Self::NotYet { instead, .. } => instead.clone(),
            Self::PackageFixed { .. } => {
                "leave the option out, or give the model's folder in place of the package".into()
            }
            Self::Text(error) => hints::text(error).into(),
            Self::Data(error) => hints::data(error).into(),
            Self::Options(error) => hints::options(error).into(),
            Self::Load(error) => hints::load(error).into(),
            Self::Quantize(error) => hints::quantize(error).into(),
            Self::Onnx(error) => hints::onnx(error).into(),
            Self::Reference(error) => hints::reference(error).into(),
            Self::Io { source, .. } => hints::io(source).into(),
        }
    }

    /// Whether what was typed is wrong, whatever is done.
    pub fn is_usage(&self) -> bool {
        is_usage(&self.code())
    }

    /// The failure as it stands in a record.
    pub fn info(&self) -> ErrorInfo {
        ErrorInfo { code: self.code(), message: self.to_string(), hint: self.hint() }
    }
}

/// Code of a prompt name that the model does not have.
const UNKNOWN_PROMPT: &str = "unknown_prompt";

/// Whether a failure's code is of what was typed: options that contradict themselves, paths, addresses and prompts that are not
/// there, and outputs that would be written over what is there.
pub fn is_usage(code: &str) -> bool {
    ["bad_options", "package_fixed", "not_there", "webdriver_unreachable", "output", UNKNOWN_PROMPT].contains(&code)
}

impl From<RemoteError> for HostError {
    fn from(error: RemoteError) -> Self {
        Self::Remote { error, console: Vec::new() }
    }
}

impl From<LoadError> for HostError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<QuantizeError> for HostError {
    fn from(error: QuantizeError) -> Self {
        Self::Quantize(Box::new(error))
    }
}

impl From<ReferenceError> for HostError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Text(error) => Self::Text(error),
            error => Self::Reference(Box::new(error)),
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn places(tried: &[(PathBuf, String)]) -> String {
    tried.iter().map(|(place, reason)| format!("{}: {reason}", place.display())).collect::<Vec<_>>().join("; ")
}

/// The limits of this process, as the end of a message about what they may have ended.
fn limited() -> String {
    limits::told().map(|told| format!("; {told}")).unwrap_or_default()
}

/// Whether a page ended without a word of its own.
fn is_end(error: &RemoteError) -> bool {
    error.code == ErrorCode::Disconnected
}

fn tail(lines: &[String]) -> String {
    match lines {
        [] => String::new(),
        lines => format!("; the browser's console ends with:\n  {}", lines.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_was_found_and_what_to_do() {
        let error = HostError::Assets { missing: "www/index.html".into(), looked: vec!["a".into(), "b".into()] };
        assert_eq!(error.to_string(), "the page's files are missing: no www/index.html; looked in a, b");
        assert!(error.hint().contains("make wasm"));
        let console = vec!["Uncaught".to_owned()];
        let silent = HostError::PageSilent { what: "connect", waited_ms: 30_000, console };
        assert_eq!(
            silent.to_string(),
            "the page did not connect within 30 s; the browser's console ends with:\n  Uncaught"
        );
    }

    #[test]
    fn every_kind_of_failure_says_what_to_do() {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let path = PathBuf::from("p");
        let load = LoadError::NotFound { path: path.clone() };
        let quantize = QuantizeError::Source("no".into());
        let conflict = OptionsError::Conflict { one: "--a", other: "--b" };
        let data = DataError::Read { path, source: missing() };
        let text = HostError::Text(TextError::NoTokenizer);
        let io = HostError::Io { what: "w".into(), source: missing() };
        let errors =
            [load.into(), quantize.into(), conflict.into(), ReferenceError::NoValues.into(), text, data.into(), io];
        for error in errors {
            assert!(!HostError::hint(&error).is_empty(), "{error}");
        }
        let data = DataError::Read { path: "p".into(), source: missing() };
        assert!(!HostError::from(data).hint().contains("tabs"), "a file that is not there has no rows");
    }

    #[test]
    fn what_the_page_says_comes_through() {
        let remote = RemoteError::new(ErrorCode::DeviceLost, "the device was lost", "use fewer bits");
        let info = HostError::from(remote).info();
        assert_eq!((info.code.as_str(), info.hint.as_str()), ("device_lost", "use fewer bits"));
        assert_eq!(info.message, "the device was lost");
    }
}
