//! One lane of a pool: a session, one run at a time, and another session when that one is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use webnibble_common::profiles::Source;
use webnibble_common::record::{ErrorInfo, OptionValue};
use webnibble_common::wire::ErrorCode;

use super::queue::{Job, Work};
use super::shared::{LaneState, Shared};
use super::station::{SessionSource, Station};
use crate::browser::BrowserError;
use crate::error::HostError;

/// One lane.
pub(super) struct Lane<S> {
    number: usize,
    source: Arc<S>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
}

/// Why a session is left.
enum Left {
    Stopped,
    Lost(String),
}

impl<S: SessionSource> Lane<S> {
    pub(super) fn new(number: usize, source: Arc<S>, shared: Arc<Shared>) -> Self {
        let stop = shared.stop.subscribe();
        Self { number, source, shared, stop }
    }

    /// Serves until there is no session to be had, or the pool ends.
    pub(super) async fn run(mut self) {
        while let Some(station) = self.next_session().await {
            self.shared.set(self.number, LaneState::Ready);
            let left = self.serve(&station).await;
            if let Left::Lost(reason) = &left {
                tracing::warn!("session {} was lost: {reason}", self.number + 1);
                self.shared.lost.send_modify(|count| *count += 1);
                self.shared.set(self.number, LaneState::Refused);
            }
            // Its slot is free for the next one only after that.
            station.close().await;
            if matches!(left, Left::Stopped) {
                break;
            }
        }
        self.shared.set(self.number, LaneState::Ended);
    }

    /// Asks for a session until there is one, or it is refused too often.
    async fn next_session(&mut self) -> Option<S::Station> {
        let rules = self.shared.rules;
        let mut pause = rules.pause;
        for attempt in 1..=rules.tries {
            // A session that comes after the pool was stopped is ended by who asked for it.
            let opened = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return None,
                opened = self.source.open() => opened,
            };
            let error = match opened {
                Ok(station) => return Some(station),
                Err(error) => error,
            };
            tracing::debug!("session {}, try {attempt} of {}: {error}", self.number + 1, rules.tries);
            let (hopeless, full) =
                (is_hopeless(&error), matches!(error.failure(), Some(BrowserError::NoFreeSlot { .. })));
            self.shared.refused(error);
            if hopeless {
                break;
            }
            self.shared.set(self.number, if full { LaneState::WaitingForSlot } else { LaneState::Refused });
            if attempt < rules.tries {
                self.sleep(pause).await?;
                pause = (pause * 2).min(rules.longest_pause);
            }
        }
        None
    }

    /// Waits; `None` when the pool ends meanwhile.
    async fn sleep(&mut self, pause: Duration) -> Option<()> {
        tokio::select! {
            () = stopped(&mut self.stop) => None,
            () = tokio::time::sleep(pause) => Some(()),
        }
    }

    /// Runs one job after another in a session.
    async fn serve(&mut self, station: &S::Station) -> Left {
        loop {
            let job = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Left::Stopped,
                reason = station.ended() => return Left::Lost(reason),
                job = self.shared.queue.take() => job,
            };
            if let Some(left) = self.run_job(station, job).await {
                return left;
            }
        }
    }

    /// Runs one job, and says why the session has to be left where it has.
    async fn run_job(&mut self, station: &S::Station, mut job: Job) -> Option<Left> {
        let sessions = self.shared.ready();
        let work = Arc::clone(job.work());
        let stop = async {
            tokio::select! {
                () = job.given_up() => {}
                () = stopped(&mut self.stop) => {}
            }
        };
        let mut records = station.run(&work, stop).await;
        for record in &mut records {
            let value = OptionValue { value: sessions.into(), source: Source::Explicit };
            record.options.insert("sessions".into(), value);
        }
        let errors = || records.iter().filter_map(|record| record.error.as_ref());
        let Some(error) = errors().find(|error| takes_session_with_it(error)).cloned() else {
            let (in_doubt, given_up) =
                (errors().next().is_some(), errors().any(|error| is(error, ErrorCode::Cancelled)));
            job.answer(records);
            if given_up && matches!(*work, Work::Turns(..)) {
                return Some(Left::Lost("its models were left in the middle of their turns".into()));
            }
            // Most failures are of the work. But a page that hangs would let every run after this one wait in vain.
            let left = || Left::Lost("the page no longer answers".into());
            return (in_doubt && !station.answers().await).then(left);
        };
        if job.attempts() + 1 < self.shared.rules.attempts {
            job.lose(self.number + 1, &error);
            self.shared.queue.give_back(job);
        } else {
            job.answer(records);
        }
        Some(Left::Lost(error.message))
    }
}

/// Waits until the pool ends.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a pool there is nobody to serve.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Failures of the session, not of the work. A page whose device was lost cannot run on it again.
pub(crate) fn takes_session_with_it(error: &ErrorInfo) -> bool {
    is(error, ErrorCode::Disconnected) || is(error, ErrorCode::DeviceLost)
}

fn is(error: &ErrorInfo, code: ErrorCode) -> bool {
    error.code == code.name()
}

/// Refusals that will be the same however often it is asked.
fn is_hopeless(error: &HostError) -> bool {
    match error {
        HostError::Assets { .. } | HostError::Options(_) => true,
        _ => error.failure().is_some_and(BrowserError::is_lasting),
    }
}
