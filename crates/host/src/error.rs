//! What can go wrong on the native side, each with what to do about it.

use std::path::PathBuf;

use webnibble_common::profiles::OptionsError;
use webnibble_common::record::ErrorInfo;
use webnibble_common::wire::{ErrorCode, RemoteError};

mod failure;
pub(crate) mod hints;
mod io;
pub(crate) mod limits;

pub use failure::{AnyFailure, Failure};

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
    /// A pool has lost its last session.
    #[error("no browser session is left, and none can be had: {last}")]
    NoSession {
        /// Why the last one could not be started.
        last: String,
        /// What to do about that.
        hint: String,
    },
    /// The page did not connect in time.
    #[error("the page did not {what} within {} s{}{}", .waited_ms / 1000, limits::message_ending(), tail(.console))]
    PageSilent {
        /// What it should have done.
        what: &'static str,
        /// How long that was waited for.
        waited_ms: u64,
        /// Last lines of the browser's console.
        console: Vec<String>,
    },
    /// The page or its backend failed.
    #[error("{error}{}{}", if is_end(.error) { limits::message_ending() } else { String::new() }, tail(.console))]
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
    /// Whatever else one of the host's modules cannot do.
    #[error(transparent)]
    Failure(AnyFailure),
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
            Self::NoSession { .. } => "no_session".into(),
            Self::PageSilent { .. } => "page_silent".into(),
            Self::Remote { error, .. } => error.code.name(),
            Self::PlatformUnavailable { .. } => "platform_unavailable".into(),
            Self::EveryRoute { first, .. } => first.code(),
            Self::Options(OptionsError::NotKept { .. }) => "request_not_kept".into(),
            Self::Options(_) => "bad_options".into(),
            Self::PackageFixed { .. } => "package_fixed".into(),
            Self::Failure(failure) => failure.code(),
            Self::NotYet { .. } => "not_yet".into(),
            Self::Io { .. } => "io".into(),
        }
    }

    /// What to do about it; empty where nothing can be said.
    pub fn hint(&self) -> String {
        let may_be_limited = match self {
            Self::PageSilent { .. } => true,
            Self::Remote { error, .. } => is_end(error),
            _ => false,
        };
        if let Some(hint) = limits::hint().filter(|_| may_be_limited) {
            return hint.into();
        }
        match self {
            Self::Assets { .. } => {
                "run `make wasm`, or set WEBNIBBLE_ASSETS to the folder that holds www/ and pkg/".into()
            }
            Self::Bind { .. } => "choose another address; port 0 takes a free port".into(),
            Self::NoSession { hint, .. } => hint.clone(),
            Self::PageSilent { .. } => {
                "the page may be broken (`make wasm`) or the machine busy; --verbose shows the browser's output".into()
            }
            Self::Remote { error, .. } => error.hint.clone(),
            Self::PlatformUnavailable { hint, .. } => hint.clone(),
            Self::EveryRoute { first, .. } => first.hint(),
            Self::NotYet { instead, .. } => instead.clone(),
            Self::PackageFixed { .. } => {
                "leave the option out, or give the model's folder in place of the package".into()
            }
            Self::Options(error) => hints::options(error).into(),
            Self::Failure(failure) => failure.hint(),
            Self::Io { source, .. } => hints::io(source).into(),
        }
    }

    /// The failure of one kind that this is, if it is one.
    pub fn failure<T: Failure>(&self) -> Option<&T> {
        match self {
            Self::Failure(failure) => failure.downcast_ref(),
            _ => None,
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

/// Whether a failure's code is of what was typed: options that contradict themselves, paths, addresses, prompts and outputs
/// that are not there, and files that would be written over what is there.
pub fn is_usage(code: &str) -> bool {
    let codes = ["bad_options", "package_fixed", "not_there", "webdriver_unreachable", "output"];
    codes.contains(&code) || [io::UNKNOWN_PROMPT, io::UNKNOWN_OUTPUT, io::NO_ANSWER].contains(&code)
}

impl From<RemoteError> for HostError {
    fn from(error: RemoteError) -> Self {
        Self::Remote { error, console: Vec::new() }
    }
}

impl<E: Failure> From<E> for HostError {
    fn from(failure: E) -> Self {
        Self::Failure(AnyFailure::new(failure))
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
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
    use webnibble_models::input::InputError;
    use webnibble_models::input::tensors::NamedInputError;
    use webnibble_models::input::text::TextError;
    use webnibble_models::output::OutputError;

    use super::*;
    use crate::eval::DataError;
    use crate::loader::LoadError;
    use crate::quantizer::QuantizeError;
    use crate::reference::ReferenceError;

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
        let text = HostError::from(TextError::NoTokenizer);
        let unknown = ReferenceError::Output(OutputError::Unknown { name: "x".into(), known: Vec::new() });
        let named = InputError::from(NamedInputError::Repeated { name: "x".into() });
        let io = HostError::Io { what: "w".into(), source: missing() };
        let errors =
            [load.into(), quantize.into(), conflict.into(), unknown.into(), named.into(), text, data.into(), io];
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
