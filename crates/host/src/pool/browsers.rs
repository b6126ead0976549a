//! Browsers as the sessions of a pool, on this machine or behind a server; of a grid no more than it has free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use webnibble_common::options::LaunchOptions;
use webnibble_common::record::RunRecord;

use super::queue::Work;
use super::station::{SessionSource, Station};
use crate::browser::{BrowserError, grid_slots};
use crate::error::HostError;
use crate::host::Host;
use crate::run::{cancelled, run_in_turns, run_until};
use crate::server::Server;

/// How long a page may take for the least of requests when it is in doubt.
pub(crate) const DOUBT_LIMIT: Duration = Duration::from_secs(10);

/// Starts browsers that share a server.
pub(super) struct Browsers {
    server: Arc<Server>,
    launch: LaunchOptions,
    verbose: bool,
    /// What a grid had free when it was last asked; `None` where nobody counts.
    free: Mutex<Option<Free>>,
    /// Browsers that are being started.
    starting: Arc<AtomicUsize>,
}

/// What a grid had free.
struct Free {
    slots: usize,
    all: usize,
    /// The browser's name there.
    browser: String,
}

/// The right to ask for one session.
struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Browsers {
    pub(super) fn new(server: Arc<Server>, launch: LaunchOptions, verbose: bool) -> Self {
        Self { server, launch, verbose, free: Mutex::new(None), starting: Arc::default() }
    }

    /// Takes one of the grid's free slots. What is asked of a full grid waits in its queue for minutes, and comes when
    /// nobody wants it any more. The grid is counted only while no session of ours is on its way: it would be counted twice.
    async fn ticket(&self) -> Result<Ticket, HostError> {
        let mut free = self.free.lock().await;
        if self.starting.load(Ordering::Relaxed) == 0 {
            let found = grid_slots(&self.launch).await?;
            *free = found.map(|(browser, slots)| Free { slots: slots.free, all: slots.all, browser });
        }
        if let Some(free) = &mut *free {
            if free.slots == 0 {
                let url = self.launch.webdriver.clone().unwrap_or_default();
                return Err(BrowserError::NoFreeSlot { url, browser: free.browser.clone(), all: free.all }.into());
            }
            free.slots -= 1;
        }
        self.starting.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket(Arc::clone(&self.starting)))
    }
}

impl SessionSource for Browsers {
    type Station = Host;

    async fn open(&self) -> Result<Host, HostError> {
        let _ticket = self.ticket().await?;
        let host = Host::builder().server(Arc::clone(&self.server)).launch(self.launch.clone()).verbose(self.verbose);
        host.start().await
    }
}

impl Station for Host {
    async fn run(&self, work: &Work, stop: impl Future<Output = ()> + Send) -> Vec<RunRecord> {
        match work {
            Work::One(request) => vec![run_until(self, request, stop).await],
            Work::Turns(requests, references) => tokio::select! {
                records = run_in_turns(self, requests.clone(), references) => records,
                () = stop => work.failed(&cancelled()),
            },
        }
    }

    async fn ended(&self) -> String {
        self.session().ended().await.message
    }

    async fn answers(&self) -> bool {
        self.session().takes_requests(DOUBT_LIMIT).await
    }

    async fn close(self) {
        self.shutdown().await;
    }
}
