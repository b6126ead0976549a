//! Browsers behind a WebDriver server that somebody else runs: one browser's driver, or a Selenium Grid of many.
//!
//! Nothing of them ends by itself when this process does: a session that is not deleted keeps its slot until the server
//! loses patience. So a session that comes when nobody waits for it any more is deleted at once.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use thirtyfour::WebDriver;
use tokio::sync::{oneshot, watch};

use super::error::BrowserError;
use super::webdriver::{COMMAND_LIMIT, START_LIMIT, message_of, open_session};
use crate::error::HostError;
use crate::proxy;
use crate::task::blocking;

/// How long a server may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of a session may block a thread that drops it.
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// How often a session is used, so that a grid does not take it for forgotten (by default after 300 s without a command).
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// New sessions that servers were asked for and have not answered yet.
static ASKED: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// One of [`ASKED`].
struct Asked;

impl Asked {
    fn new() -> Self {
        ASKED.send_modify(|count| *count += 1);
        Self
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        ASKED.send_modify(|count| *count -= 1);
    }
}

/// Waits, no longer than `limit`, until no server owes this process a session: what comes that nobody waits for is gone.
pub(crate) async fn wait_for_owed_sessions(limit: Duration) {
    let mut asked = ASKED.subscribe();
    if tokio::time::timeout(limit, asked.wait_for(|count| *count == 0)).await.is_err() {
        tracing::warn!("a WebDriver server still owes a session; it will end it when it loses patience");
    }
}

/// Whether the address of a server is one.
///
/// # Errors
/// [`BrowserError::NotThere`] with what it should be.
pub(super) fn check_url(url: &str) -> Result<(), HostError> {
    let parsed = url.parse::<axum::http::Uri>().ok();
    if parsed.is_some_and(|url| url.scheme_str() == Some("http") && url.host().is_some_and(|host| !host.is_empty())) {
        return Ok(());
    }
    let reason = "expected an address as http://127.0.0.1:4444".to_owned();
    Err(BrowserError::NotThere { option: "--webdriver", named: url.to_owned(), reason }.into())
}

/// Opens a session. One that comes too late, because the server is busy or the caller is gone, is deleted.
pub(super) async fn connect(url: &str, capabilities: Value) -> Result<WebDriver, String> {
    let (sender, receiver) = oneshot::channel();
    let url = url.to_owned();
    // A grid does not notice that who asked is gone: the request stays in its queue, and the session would be nobody's.
    tokio::spawn(async move {
        let asked = Asked::new();
        // Longer than a grid lets a request wait: then its answer comes first.
        let found = open_session(&url, capabilities, START_LIMIT * 6).await;
        if let Err(Ok(webdriver)) = sender.send(found) {
            tracing::debug!("a session at {url} came too late: ending it");
            let _ = tokio::time::timeout(COMMAND_LIMIT, webdriver.quit()).await;
        }
        drop(asked);
    });
    match tokio::time::timeout(START_LIMIT, receiver).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err("the runtime is ending".into()),
        Err(_) => Err(format!("no session from the server within {} s", START_LIMIT.as_secs())),
    }
}

/// Ends a session from a place where nothing can be awaited; blocks until the server answers, but not for long.
pub(super) fn end(webdriver: WebDriver, url: &str) {
    tracing::debug!("ending the session at {url}");
    let (done, ended) = std::sync::mpsc::channel();
    let end = move || {
        // Sends the command, from a runtime of its own.
        drop(webdriver);
        let _ = done.send(());
    };
    if std::thread::Builder::new().spawn(end).is_err() || ended.recv_timeout(DROP_LIMIT).is_err() {
        tracing::warn!("the WebDriver server did not end the session within {} s", DROP_LIMIT.as_secs());
    }
}

/// Uses a session from time to time; calls `gone` once when the server no longer has it, or its tab crashed.
pub(super) async fn keep_alive(webdriver: WebDriver, gone: impl FnOnce(String) + Send + 'static) {
    use thirtyfour::error::WebDriverErrorInner::{InvalidSessionId, NoSuchWindow};
    loop {
        tokio::time::sleep(KEEP_ALIVE).await;
        match tokio::time::timeout(COMMAND_LIMIT, webdriver.window()).await {
            Ok(Err(error)) if matches!(*error, InvalidSessionId(_) | NoSuchWindow(_)) => {
                return gone(format!("the WebDriver server no longer has the session: {}", message_of(&error)));
            }
            // The page's own socket is the better witness.
            Ok(Err(error)) => tracing::debug!("the WebDriver server: {error}"),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// Slots of a grid for one kind of browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    /// On nodes that are up.
    pub(crate) all: usize,
    /// That can take a session now.
    pub(crate) free: usize,
}

/// The slots of the grid at `url` for browsers of this name; `None` where the server does not tell, as plain drivers do
/// not.
///
/// # Errors
/// [`BrowserError::WebDriverUnreachable`] when nobody answers.
pub(super) async fn slots(url: &str, browser: &str) -> Result<Option<Slots>, HostError> {
    let (address, url) = (format!("{}/status", url.trim_end_matches('/')), url.to_owned());
    let status = blocking(move || {
        let reached = match proxy::agent(&address, STATUS_LIMIT).get(&address).call() {
            Ok(mut answer) => answer.body_mut().read_to_string(),
            Err(error) => Err(error),
        };
        match reached {
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
            // Somebody is there, but keeps his status to himself.
            Err(ureq::Error::StatusCode(_)) => Ok(Value::Null),
            Err(error) => Err(BrowserError::WebDriverUnreachable { url, reason: error.to_string() }.into()),
        }
    });
    Ok(slots_in(&status.await?, browser))
}

/// The slots in a grid's status.
fn slots_in(status: &Value, browser: &str) -> Option<Slots> {
    let nodes = status["value"]["nodes"].as_array()?;
    let up = nodes.iter().filter(|node| node["availability"] == "UP");
    let of_node = |node: &Value| {
        let slots: Vec<&Value> = node["slots"].as_array().into_iter().flatten().collect();
        let busy = slots.iter().filter(|slot| !slot["session"].is_null()).count();
        let most = node["maxSessions"].as_u64().map_or(slots.len(), |most| most as usize);
        let fits = |slot: &&&Value| slot["stereotype"]["browserName"] == browser;
        let free = slots.iter().filter(fits).filter(|slot| slot["session"].is_null()).count();
        Slots { all: slots.iter().filter(fits).count().min(most), free: free.min(most.saturating_sub(busy)) }
    };
    Some(
        up.map(of_node)
            .fold(Slots::default(), |sum, node| Slots { all: sum.all + node.all, free: sum.free + node.free }),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(availability: &str, most: usize, slots: &[(&str, bool)]) -> Value {
        let slot = |(browser, busy): &(&str, bool)| json!({ "stereotype": { "browserName": browser }, "session": busy.then(|| json!({ "sessionId": "s" })) });
        json!({ "availability": availability, "maxSessions": most, "slots": slots.iter().map(slot).collect::<Vec<_>>() })
    }

    fn status(nodes: &[Value]) -> Value {
        json!({ "value": { "ready": true, "nodes": nodes } })
    }

    #[test]
    fn a_node_gives_no_more_sessions_than_it_may() {
        let both = [("chrome", false), ("chrome", false), ("firefox", true)];
        let status = status(&[node("UP", 2, &both), node("DOWN", 2, &both)]);
        assert_eq!(slots_in(&status, "chrome"), Some(Slots { all: 2, free: 1 }), "firefox has one of its two");
        assert_eq!(slots_in(&status, "firefox"), Some(Slots { all: 1, free: 0 }));
        assert_eq!(slots_in(&status, "safari"), Some(Slots::default()));
    }

    #[test]
    fn a_driver_that_is_no_grid_tells_of_no_slots() {
        assert_eq!(slots_in(&json!({ "value": { "ready": true } }), "chrome"), None);
        assert_eq!(slots_in(&Value::Null, "chrome"), None);
    }

    #[test]
    fn what_is_no_address_of_a_server_is_told() {
        for url in ["http://127.0.0.1:4444", "http://grid:4444/wd/hub", "http://[::1]:4444"] {
            check_url(url).unwrap();
        }
        for url in ["", "grid:4444", "localhost", "/usr/bin/chromedriver", "ftp://grid", "http://"] {
            let error = check_url(url).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains("http://127.0.0.1:4444"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_an_error_with_its_address() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = slots(&format!("http://127.0.0.1:{port}"), "chrome").await.unwrap_err();
        assert_eq!(error.code(), "webdriver_unreachable");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    }
}
