//! Talking to a driver by WebDriver.

use std::time::Duration;

use serde_json::Value;
use thirtyfour::WebDriver;
use thirtyfour::error::{WebDriverError, WebDriverErrorInner};

use crate::proxy;

/// How long a browser may take to start.
pub(super) const START_LIMIT: Duration = Duration::from_secs(60);

/// How long one command of the driver may take.
pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(20);

/// Opens a WebDriver session with a driver, which may take `limit`.
pub(super) async fn open_session(url: &str, capabilities: Value, limit: Duration) -> Result<WebDriver, String> {
    let Value::Object(capabilities) = capabilities else {
        unreachable!("every browser's capabilities are written as an object");
    };
    // Our own limit comes first: its words say more than those of an HTTP client.
    let mut client = reqwest::Client::builder().timeout(limit * 2);
    if proxy::is_loopback(url) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| format!("no HTTP client: {error}"))?;
    let builder = WebDriver::builder(url, thirtyfour::Capabilities::from(capabilities)).client(client);
    match tokio::time::timeout(limit, builder.connect()).await {
        Ok(Ok(webdriver)) => Ok(webdriver),
        Ok(Err(error)) => Err(message_of(&error)),
        Err(_) => Err(format!("no answer from the driver within {} s", limit.as_secs())),
    }
}

/// What a driver said, on one line: without what its client puts around that, and without its own stack.
pub(super) fn message_of(error: &WebDriverError) -> String {
    use WebDriverErrorInner::{
        InvalidArgument, InvalidSessionId, NoSuchWindow, NotInSpec, SessionNotCreated, UnknownCommand, UnknownError,
        UnsupportedOperation, WebDriverTimeout,
    };
    let (InvalidArgument(info)
    | InvalidSessionId(info)
    | NoSuchWindow(info)
    | NotInSpec(info)
    | SessionNotCreated(info)
    | UnknownCommand(info)
    | UnknownError(info)
    | UnsupportedOperation(info)
    | WebDriverTimeout(info)) = error.as_inner()
    else {
        return error.to_string();
    };
    let lines = info.value.message.lines().map(str::trim);
    let said =
        lines.filter(|line| !line.is_empty() && !line.starts_with("(Session info:")).collect::<Vec<_>>().join("; ");
    match said.is_empty() {
        false => said,
        true => info.value.error.clone().unwrap_or_else(|| "it gives no reason".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_says_is_one_line_without_its_stack() {
        let answer = r##"{"value": {"error": "session not created", "message": "session not created: Chrome exited\n  (Session info: chrome=1)\nSee the log.", "stacktrace": "#0 0x5584\n#1 0x5585"}}"##;
        let told = message_of(&WebDriverError::parse(500, answer.into()));
        assert_eq!(told, "session not created: Chrome exited; See the log.");
        let silent = r#"{"value": {"error": "unknown error", "message": "", "stacktrace": "at x"}}"#;
        assert_eq!(message_of(&WebDriverError::parse(500, silent.into())), "unknown error");
        assert!(message_of(&WebDriverError::parse(502, "<html>".into())).contains("502"));
    }
}
