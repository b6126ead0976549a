//! One file a command: what it is given, whom it calls, what it prints.

use std::process::ExitCode;

use webnibble_common::record::ErrorInfo;
use webnibble_host::HostError;

use crate::print;

pub(crate) mod bench;
mod defaults;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod drivers;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod matrix;
pub(crate) mod quantize;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod verify;

/// Wrong arguments.
pub(crate) const USAGE: u8 = 2;

/// The platform that was asked for is not available or cannot keep a request, and nothing else was wanted.
pub(crate) const UNAVAILABLE: u8 = 3;

/// Says what failed, with its document under `--json`; the exit status.
pub(crate) fn failed(error: &HostError, json: bool) -> ExitCode {
    print::failure(&error.info(), json);
    match error.code().as_str() {
        _ if error.is_usage() => ExitCode::from(USAGE),
        "request_not_kept" => ExitCode::from(UNAVAILABLE),
        _ => ExitCode::FAILURE,
    }
}

/// The same of what was typed.
pub(crate) fn wrong_arguments(message: impl Into<String>, hint: &str, json: bool) -> ExitCode {
    let info = ErrorInfo { code: "bad_arguments".into(), message: message.into(), hint: hint.into() };
    print::failure(&info, json);
    ExitCode::from(USAGE)
}

/// The same of a task that did not come to its end.
pub(crate) fn broken(what: &str, error: &tokio::task::JoinError, json: bool) -> ExitCode {
    let message = format!("{what} failed: {error}");
    let hint = "it is a fault of webnibble: please report it with the model and the command".to_owned();
    print::failure(&ErrorInfo { code: "internal".into(), message, hint }, json);
    ExitCode::FAILURE
}

/// Says something beside the answer: after it where people read it, on stderr under `--json`.
pub(crate) fn tell(text: &str, json: bool) {
    if json { print::message(text) } else { print::line(text) }
}
