//! What the lanes of a pool and its handle share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::queue::Queue;
use crate::error::HostError;

/// How long the first sessions are waited for, once one is there.
const WAIT: Duration = Duration::from_secs(30);

/// How many, how often, how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Sessions.
    pub(super) sessions: usize,
    /// Runs that may wait.
    pub(super) queue: usize,
    /// Sessions that one run may take with it.
    pub(super) attempts: usize,
    /// Tries of a lane to get a session, one after the other.
    pub(super) tries: u32,
    /// Pause after the first try; doubled after each.
    pub(super) pause: Duration,
    /// The longest pause.
    pub(super) longest_pause: Duration,
    /// How long the first sessions are waited for, once one is there.
    pub(super) wait: Duration,
}

impl Default for Rules {
    /// A lane gives up after about 45 s: a grid that is started anew takes less.
    fn default() -> Self {
        Self {
            sessions: 2,
            queue: 64,
            attempts: 3,
            tries: 8,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(10),
            wait: WAIT,
        }
    }
}

/// What the lanes and the pool's handle see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) rules: Rules,
    pub(super) queue: Queue,
    /// One a lane.
    pub(super) states: watch::Sender<Vec<LaneState>>,
    /// Whether the lanes are to end.
    pub(super) stop: watch::Sender<bool>,
    /// Why the last session could not be started.
    pub(super) error: Mutex<Option<HostError>>,
    /// Sessions that were lost.
    pub(super) lost: watch::Sender<usize>,
}

impl Shared {
    /// Sessions that are there now.
    pub(super) fn ready(&self) -> usize {
        self.states.borrow().iter().filter(|state| **state == LaneState::Ready).count()
    }

    /// Notes where a lane is; with the last one, the queue ends.
    pub(super) fn set(&self, lane: usize, state: LaneState) {
        let mut all_ended = false;
        self.states.send_modify(|states| {
            states[lane] = state;
            all_ended = states.iter().all(|state| *state == LaneState::Ended);
        });
        if all_ended {
            let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            let (last, hint) = match &*error {
                Some(error) => (error.to_string(), error.hint()),
                None => ("the pool was shut down".into(), String::new()),
            };
            self.queue.close(last, hint);
        }
    }

    pub(super) fn refused(&self, error: HostError) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn take_error(&self) -> HostError {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        error.unwrap_or_else(|| HostError::NoSession { last: "none came in time".into(), hint: String::new() })
    }
}

/// Where a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// It was not answered yet when it asked for its first session.
    Starting,
    /// The grid has no free slot for it.
    WaitingForSlot,
    /// It was refused for another reason, and will ask again.
    Refused,
    /// It has a session.
    Ready,
    /// It has given up, or was told to end.
    Ended,
}
