//! The runs that wait for a session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use webnibble_common::record::{ErrorInfo, Fallback, RunRecord};

use crate::error::HostError;
use crate::run::{References, RunRequest, not_started};

/// What is done in one session.
pub(super) enum Work {
    /// A run.
    One(Box<RunRequest>),
    /// Runs that take turns, compared with what is known of the same in f32.
    Turns(Vec<RunRequest>, Arc<References>),
}

impl Work {
    /// The runs.
    pub(super) fn requests(&self) -> &[RunRequest] {
        match self {
            Self::One(request) => std::slice::from_ref(&**request),
            Self::Turns(requests, _) => requests,
        }
    }

    /// The records of runs that came to nothing.
    pub(super) fn failed(&self, error: &HostError) -> Vec<RunRecord> {
        self.requests().iter().map(|request| not_started(request, error)).collect()
    }
}

/// Runs on their way to an answer, in one session.
pub(super) struct Job {
    work: Arc<Work>,
    /// Sessions that were lost with it.
    lost: Vec<Fallback>,
    reply: oneshot::Sender<Vec<RunRecord>>,
    /// Its place in the queue, until it is taken the first time.
    room: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("runs", &self.work.requests().len())
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// What to run.
    pub(super) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// How often it was begun before.
    pub(super) fn attempts(&self) -> usize {
        self.lost.len()
    }

    /// Waits until nobody waits for the answer any more.
    pub(super) async fn given_up(&mut self) {
        self.reply.closed().await;
    }

    /// Notes that a session was lost with this run, which goes on in another.
    pub(super) fn lose(&mut self, session: usize, why: &ErrorInfo) {
        let attempt = self.lost.len() + 1;
        self.lost.push(Fallback {
            from: format!("session {session}, attempt {attempt}"),
            to: format!("another session, attempt {}", attempt + 1),
            code: why.code.clone(),
            reason: why.message.clone(),
        });
    }

    /// Answers. What was lost before stands in front of what happened in the last session.
    pub(super) fn answer(self, mut records: Vec<RunRecord>) {
        for record in &mut records {
            record.fallbacks.splice(0..0, self.lost.iter().cloned());
        }
        let _ = self.reply.send(records);
    }

    fn fail(self, error: &HostError) {
        let records = self.work.failed(error);
        self.answer(records);
    }
}

/// Runs in the order in which they came; those that were lost go first.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Why nothing is taken any more, and what to do about it.
    closed: Option<(String, String)>,
}

impl Waiting {
    fn error(&self) -> Option<HostError> {
        self.closed.clone().map(|(last, hint)| HostError::NoSession { last, hint })
    }
}

impl Queue {
    /// A queue with room for so many.
    pub(super) fn new(room: usize) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self { waiting: Mutex::default(), came: Notify::new(), room }
    }

    /// Waits for room, and then for the answer.
    pub(super) async fn answer(&self, work: Work) -> Vec<RunRecord> {
        let work = Arc::new(work);
        // Closed with the queue: the job then fails below.
        let room = Arc::clone(&self.room).acquire_owned().await.ok();
        let (reply, answer) = oneshot::channel();
        self.put(Job { work: Arc::clone(&work), lost: Vec::new(), reply, room }, VecDeque::push_back);
        answer.await.unwrap_or_else(|_| {
            let last = "the pool ended before the run did".into();
            work.failed(&HostError::NoSession { last, hint: String::new() })
        })
    }

    /// Takes a run back whose session was lost: it comes next.
    pub(super) fn give_back(&self, job: Job) {
        self.put(job, VecDeque::push_front);
    }

    fn put(&self, job: Job, place: impl FnOnce(&mut VecDeque<Job>, Job)) {
        let mut waiting = self.lock();
        match waiting.error() {
            Some(error) => job.fail(&error),
            None => place(&mut waiting.jobs, job),
        }
        self.came.notify_one();
    }

    /// Waits for the next run. Those that nobody waits for are left out.
    pub(super) async fn take(&self) -> Job {
        loop {
            let came = self.came.notified();
            if let Some(job) = self.next() {
                return job;
            }
            came.await;
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            let mut job = waiting.jobs.pop_front()?;
            if job.reply.is_closed() {
                continue;
            }
            job.room = None;
            // One word may have stood for several runs.
            if !waiting.jobs.is_empty() {
                self.came.notify_one();
            }
            return Some(job);
        }
    }

    /// Answers all that wait, and all that come, with an error.
    pub(super) fn close(&self, last: String, hint: String) {
        let mut waiting = self.lock();
        let error = HostError::NoSession { last: last.clone(), hint: hint.clone() };
        waiting.closed = Some((last, hint));
        waiting.jobs.drain(..).for_each(|job| job.fail(&error));
        self.room.close();
    }

    /// The lock's content, also after a panic elsewhere: every change under it is whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
