//! Many browsers for many runs: independent runs are spread over as many sessions as there can be had, on this machine or
//! behind a Selenium Grid.
//!
//! A pool is a queue and so many lanes (`lane`). A lane asks for a session, takes one run after another from the queue, and
//! asks for another session when its own is lost; the run that was lost with it goes back to the front of the queue. A lane
//! that is refused too often ends; with the last one, what is still in the queue ends in an error.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use webnibble_common::options::LaunchOptions;
use webnibble_common::record::RunRecord;

use crate::assets::Assets;
use crate::browser::wait_for_owed_sessions;
use crate::error::HostError;
use crate::host::start_server;
use crate::run::{References, RunRequest};
use crate::server::DEFAULT_ADDRESS;

mod browsers;
mod lane;
mod queue;
mod shared;
mod station;

use browsers::Browsers;
pub(crate) use browsers::DOUBT_LIMIT;
use lane::Lane;
pub(crate) use lane::takes_session_with_it;
use queue::{Queue, Work};
use shared::{LaneState, Rules, Shared};
use station::SessionSource;

/// How long sessions may take to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// How long a server may take for a session that it still owes when the pool ends.
const OWED_LIMIT: Duration = Duration::from_secs(10);

/// What a pool starts; see [`Pool::builder`].
pub struct PoolBuilder {
    launch: LaunchOptions,
    address: SocketAddr,
    assets: Option<Assets>,
    verbose: bool,
    rules: Rules,
}

/// Browsers that run models side by side. Dropping it ends their sessions.
///
/// ```no_run
/// # async fn example(requests: Vec<webnibble_host::run::RunRequest>) -> Result<(), webnibble_host::HostError> {
/// use webnibble_common::options::LaunchOptions;
/// use webnibble_host::Pool;
///
/// let launch = LaunchOptions { webdriver: Some("http://grid:4444".into()), ..LaunchOptions::default() };
/// let pool = Pool::builder().launch(launch).sessions(4).start().await?;
/// println!("{} sessions", pool.sessions());
/// let records = pool.run_all(requests, |index, record| println!("{index}: {:?}", record.status)).await;
/// pool.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    lanes: Vec<JoinHandle<()>>,
    runtime: Handle,
}

impl PoolBuilder {
    /// Which browser, and how it is started: `webdriver` names the server of remote ones.
    pub fn launch(mut self, launch: LaunchOptions) -> Self {
        self.launch = launch;
        self
    }

    /// How many sessions to ask for; at least one, 2 by default.
    pub fn sessions(mut self, count: usize) -> Self {
        self.rules.sessions = count.max(1);
        self
    }

    /// How many runs may wait for a session before [`Pool::run`] waits itself; 64 by default.
    pub fn queue(mut self, runs: usize) -> Self {
        self.rules.queue = runs.max(1);
        self
    }

    /// How often a run is tried whose sessions are lost; 3 by default.
    pub fn attempts(mut self, count: usize) -> Self {
        self.rules.attempts = count.max(1);
        self
    }

    /// How long the other sessions are waited for once one is there; 30 s by default. Those that come later join in.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.rules.wait = limit;
        self
    }

    /// Listens on another address than loopback at a free port.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Serves these files instead of those that [`Assets::find`] finds.
    pub fn assets(mut self, assets: Assets) -> Self {
        self.assets = Some(assets);
        self
    }

    /// Passes the browsers' output and their consoles on to the log.
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// Starts as many sessions as there can be had, side by side, all with one server. [`Pool::sessions`] says how many
    /// these are.
    ///
    /// # Errors
    /// Why there is not a single one.
    pub async fn start(self) -> Result<Pool, HostError> {
        let server = Arc::new(start_server(self.address, self.assets, &self.launch).await?);
        Pool::start(Browsers::new(server, self.launch, self.verbose), self.rules).await
    }
}

impl Pool {
    /// What to start: two headless Chromiums on this machine, unless told otherwise.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            launch: LaunchOptions::default(),
            address: DEFAULT_ADDRESS,
            assets: None,
            verbose: false,
            rules: Rules::default(),
        }
    }

    async fn start(source: impl SessionSource, rules: Rules) -> Result<Self, HostError> {
        let shared = Arc::new(Shared {
            rules,
            queue: Queue::new(rules.queue),
            states: watch::Sender::new(vec![LaneState::Starting; rules.sessions]),
            stop: watch::Sender::new(false),
            error: Mutex::default(),
            lost: watch::Sender::new(0),
        });
        let source = Arc::new(source);
        let lane = |number| tokio::spawn(Lane::new(number, Arc::clone(&source), Arc::clone(&shared)).run());
        let lanes = (0..rules.sessions).map(lane).collect();
        let pool = Self { shared, lanes, runtime: Handle::current() };
        if pool.settle().await {
            if pool.sessions() < rules.sessions {
                tracing::warn!("{} sessions of {} could be had so far", pool.sessions(), rules.sessions);
            }
            return Ok(pool);
        }
        let error = pool.shared.take_error();
        pool.shutdown().await;
        Err(error)
    }

    /// Waits until every lane has a session or was refused one, but no longer for others than the rules say; whether there
    /// is any.
    async fn settle(&self) -> bool {
        let mut states = self.shared.states.subscribe();
        let any = |states: &Vec<LaneState>| states.contains(&LaneState::Ready);
        // Slots may become free; whoever was refused for another reason is refused again.
        let undecided = |states: &Vec<LaneState>| {
            states.contains(&LaneState::Starting) || !any(states) && states.contains(&LaneState::WaitingForSlot)
        };
        let first = states.wait_for(|states| any(states) || !undecided(states));
        // Lanes give up by themselves.
        drop(first.await);
        let all = states.wait_for(|states| !undecided(states));
        drop(tokio::time::timeout(self.shared.rules.wait, all).await);
        any(&self.shared.states.borrow())
    }

    /// Sessions that are there now.
    pub fn sessions(&self) -> usize {
        self.shared.ready()
    }

    /// Sessions that were lost so far.
    pub fn lost(&self) -> usize {
        *self.shared.lost.borrow()
    }

    /// Runs a model once in one of the sessions, as [`run_on`](crate::run::run_on) does. Waits for room in the queue, and
    /// then for a session. Dropping the future cancels the run.
    ///
    /// A run whose session is lost is tried again in another one: the record's `fallbacks` have a step for each. Its
    /// option `sessions` says how many sessions there were when it began, that is how many runs there may have been beside
    /// it, which slow one another down where they share a machine.
    pub async fn run(&self, request: RunRequest) -> RunRecord {
        self.shared.queue.answer(Work::One(Box::new(request))).await.pop().expect("each request has its record")
    }

    /// Runs requests turn by turn in one session, as [`run_in_turns`](crate::run::run_in_turns) does; otherwise as
    /// [`Pool::run`], but that a session in which they were cancelled is left.
    pub async fn run_in_turns(&self, requests: Vec<RunRequest>, references: Arc<References>) -> Vec<RunRecord> {
        self.shared.queue.answer(Work::Turns(requests, references)).await
    }

    /// Runs all of them; `on_record` hears of each by its index as it is done. The records come in the order of the
    /// requests, which are taken up as there is room.
    pub async fn run_all(
        &self,
        requests: impl IntoIterator<Item = RunRequest>,
        mut on_record: impl FnMut(usize, &RunRecord),
    ) -> Vec<RunRecord> {
        let runs =
            requests.into_iter().enumerate().map(|(index, request)| async move { (index, self.run(request).await) });
        let mut running = futures_util::stream::iter(runs).buffer_unordered(self.lanes.len() + self.shared.rules.queue);
        let mut records = Vec::new();
        while let Some((index, record)) = running.next().await {
            on_record(index, &record);
            records.push((index, record));
        }
        records.sort_by_key(|(index, _)| *index);
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Ends all sessions in the orderly way.
    pub async fn shutdown(mut self) {
        self.shared.stop.send_replace(true);
        finish(std::mem::take(&mut self.lanes)).await;
    }
}

/// Waits for lanes that were told to end, and for sessions that nobody waits for any more.
async fn finish(lanes: Vec<JoinHandle<()>>) {
    let aborts: Vec<_> = lanes.iter().map(JoinHandle::abort_handle).collect();
    if tokio::time::timeout(CLOSE_LIMIT, futures_util::future::join_all(lanes)).await.is_err() {
        tracing::warn!("a session did not end within {} s", CLOSE_LIMIT.as_secs());
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
    }
    wait_for_owed_sessions(OWED_LIMIT).await;
}

impl Drop for Pool {
    /// Ends the sessions, and waits for that where the runtime has other threads for it: what is left on a grid when this
    /// process ends keeps its slot.
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        let lanes = std::mem::take(&mut self.lanes);
        if lanes.is_empty() || self.runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return;
        }
        let (done, finished) = std::sync::mpsc::channel::<()>();
        self.runtime.spawn(async move {
            finish(lanes).await;
            drop(done);
        });
        let wait = || finished.recv_timeout(CLOSE_LIMIT + OWED_LIMIT);
        // A worker of the runtime hands its tasks to another before it waits.
        let _ = if Handle::try_current().is_ok() { tokio::task::block_in_place(wait) } else { wait() };
    }
}

#[cfg(test)]
mod tests;
