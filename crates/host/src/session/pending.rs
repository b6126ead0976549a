//! Requests that were sent.

use std::marker::PhantomData;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use webnibble_common::tensor::Tensor;
use webnibble_common::wire::{ErrorCode, LoadReport, RemoteError, RunReport};

use super::event::{Answer, Event, ended};

/// A request that was sent. Dropping it cancels the request.
#[derive(Debug)]
pub struct Pending<T> {
    id: u64,
    events: UnboundedSender<Event>,
    reply: Option<oneshot::Receiver<Result<Answer, RemoteError>>>,
    answer: PhantomData<T>,
}

impl<T> Pending<T> {
    pub(super) fn new(
        id: u64,
        events: UnboundedSender<Event>,
        reply: oneshot::Receiver<Result<Answer, RemoteError>>,
    ) -> Self {
        Self { id, events, reply: Some(reply), answer: PhantomData }
    }
}

/// Types that answer a request.
pub(super) trait FromAnswer: Sized {
    fn from_answer(answer: Answer) -> Option<Self>;
}

/// Answer to `run`: the report, and each output by its name.
pub type RunOutcome = (RunReport, Vec<(String, Tensor)>);

impl FromAnswer for LoadReport {
    fn from_answer(answer: Answer) -> Option<Self> {
        if let Answer::Loaded(report) = answer { Some(*report) } else { None }
    }
}

impl FromAnswer for RunOutcome {
    fn from_answer(answer: Answer) -> Option<Self> {
        if let Answer::Ran(report, outputs) = answer { Some((*report, outputs)) } else { None }
    }
}

impl FromAnswer for () {
    fn from_answer(answer: Answer) -> Option<Self> {
        matches!(answer, Answer::Done | Answer::Pong).then_some(())
    }
}

#[expect(private_bounds, reason = "only the answers of this module can be waited for")]
impl<T: FromAnswer> Pending<T> {
    /// Id of the request, as progress names it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Asks the page to stop. The request then ends in an error of code `cancelled`, unless it is done already.
    pub fn cancel(&self) {
        let _ = self.events.send(Event::Cancel { request: self.id });
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// What the page said; or that it is gone, or late.
    pub async fn wait(mut self) -> Result<T, RemoteError> {
        let reply = self.reply.as_mut().expect("taken only at the end of this function, which consumes it");
        let answer = reply.await.unwrap_or_else(|_| Err(ended()));
        self.reply = None;
        T::from_answer(answer?).ok_or_else(|| {
            RemoteError::new(ErrorCode::Protocol, "the page gave the answer of another kind of request", "")
        })
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if self.reply.is_some() {
            let _ = self.events.send(Event::Cancel { request: self.id });
        }
    }
}
