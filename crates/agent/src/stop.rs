//! Stopping a request: cancelled by its asker, or out of time.

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::Shared;
use web_sys::{AbortController, AbortSignal};
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::error;
use crate::tasks::Timer;

/// Why and whether a request must stop. Clones are the same request's.
#[derive(Clone)]
pub(crate) struct Stop(Rc<Inner>);

struct Inner {
    reason: RefCell<Option<RemoteError>>,
    aborter: AbortController,
    sender: RefCell<Option<oneshot::Sender<RemoteError>>>,
    stopped: Shared<oneshot::Receiver<RemoteError>>,
    deadline: RefCell<Option<Timer>>,
}

impl Stop {
    /// A request that may run for `deadline_ms`, or for ever.
    pub(crate) fn new(deadline_ms: Option<u64>) -> Self {
        let (sender, receiver) = oneshot::channel();
        let stop = Self(Rc::new(Inner {
            reason: RefCell::new(None),
            aborter: AbortController::new().expect("every browser with WebAssembly has AbortController"),
            sender: RefCell::new(Some(sender)),
            stopped: receiver.shared(),
            deadline: RefCell::new(None),
        }));
        if let Some(ms) = deadline_ms {
            let weak = Rc::downgrade(&stop.0);
            let timer = Timer::after(ms as f64, move || {
                if let Some(inner) = weak.upgrade() {
                    Stop(inner).because(deadline_error(ms));
                }
            });
            stop.0.deadline.replace(Some(timer));
        }
        stop
    }

    /// Stops the request; the first reason stands.
    pub(crate) fn because(&self, reason: RemoteError) {
        let Some(sender) = self.0.sender.take() else { return };
        self.0.reason.replace(Some(reason.clone()));
        self.0.aborter.abort();
        // Nobody may be waiting any more, and then nobody needs it.
        let _ = sender.send(reason);
    }

    /// The reason to stop, if there is one: asked wherever work can be left.
    pub(crate) fn check(&self) -> Result<(), RemoteError> {
        self.0.reason.borrow().clone().map_or(Ok(()), Err)
    }

    /// Aborts the request's fetches.
    pub(crate) fn signal(&self) -> AbortSignal {
        self.0.aborter.signal()
    }

    /// Ends with the reason when the request must stop; with nothing once the request is done and forgotten.
    pub(crate) fn stopped(&self) -> impl Future<Output = Option<RemoteError>> + use<> {
        let stopped = self.0.stopped.clone();
        async move { stopped.await.ok() }
    }
}

fn deadline_error(ms: u64) -> RemoteError {
    error(
        ErrorCode::Deadline,
        format!("the request should be done within {ms} ms"),
        "give it more time; on a software adapter also fewer or shorter texts, or fewer runs",
    )
}
