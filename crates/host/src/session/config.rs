//! How a session keeps time, and who hears of progress.

use std::sync::Arc;
use std::time::Duration;

use webnibble_common::wire::Stage;

/// Called for every step of a request, from the session's task: it must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The request.
    pub request: u64,
    /// What is being done.
    pub stage: Stage,
    /// Done so far, in the stage's unit.
    pub done: u64,
    /// Of how many; 0 where unknown.
    pub total: u64,
}

/// How a session keeps time.
#[derive(Clone)]
pub struct SessionConfig {
    /// Either side pings after this much silence, and gives the socket up after three times as much.
    pub heartbeat: Duration,
    /// How long a page may be without a socket before its session ends.
    pub grace: Duration,
    /// Hears of progress.
    pub progress: Option<ProgressSink>,
}

impl Default for SessionConfig {
    /// A browser that was killed without a word is noticed after 4.5 + 3 s; one whose socket closes, after 3 s.
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(1500), grace: Duration::from_secs(3), progress: None }
    }
}
