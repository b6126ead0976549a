//! The matrix: every combination of browsers, platforms, models, engines, precisions and sizes of input, one browser
//! session for all rows of a browser. What cannot run is a row with its reason.
//!
//! `cells` says which rows there are, `presets` has matrices by name, `spread` measures in several sessions at once.

use std::collections::HashMap;
use std::sync::Arc;

use webnibble_common::options::LaunchOptions;
use webnibble_common::record::RunRecord;

use crate::error::HostError;
use crate::host::Host;
use crate::pool::{DOUBT_LIMIT, takes_session_with_it};
use crate::run::{References, RunRequest, run_in_turns};

mod cells;
mod inputs;
mod presets;
mod request;
mod rows;
mod spread;
#[cfg(test)]
mod tests;

pub use cells::{Precision, Size};
use inputs::Inputs;
pub use presets::{PRESETS, Preset, USUAL_BITS};
pub use request::BenchRequest;
use rows::{is_worth_sweeping, refused};

/// Measures every row; `on_row` hears of each as it is done. A browser that dies is started anew for the next rows.
pub async fn bench(request: &BenchRequest, mut on_row: impl FnMut(&RunRecord)) -> Vec<RunRecord> {
    let mut models = HashMap::new();
    for model in &request.models {
        models.insert(model.as_str(), Inputs::of(model.clone()).await);
    }
    let mut records: Vec<RunRecord> = Vec::new();
    let references = Arc::new(References::default());
    for launch in &request.browsers {
        if request.sessions > 1 {
            records.append(&mut spread::rows(request, launch, &models, &references, &mut on_row).await);
            continue;
        }
        let mut browser = LazyBrowser { launch, verbose: request.verbose, host: None, failed: None };
        let first = records.len();
        for cell in request.cells() {
            if cell.sweep && !is_worth_sweeping(&records[first..], &cell) {
                continue;
            }
            let inputs = &models[cell.model];
            let mut found = browser.run(request.run_requests(&cell, launch, inputs), inputs, &references).await;
            found.iter().for_each(&mut on_row);
            records.append(&mut found);
        }
        browser.end_host().await;
    }
    records
}

/// One browser, started when the first row needs it.
struct LazyBrowser<'a> {
    launch: &'a LaunchOptions,
    verbose: bool,
    host: Option<Host>,
    /// Why it cannot be started: it is not tried again.
    failed: Option<HostError>,
}

impl LazyBrowser<'_> {
    /// Runs that differ in their engine.
    async fn run(&mut self, requests: Vec<RunRequest>, inputs: &Inputs, references: &References) -> Vec<RunRecord> {
        let reason = match &inputs.vocabulary {
            Ok(_) => {
                self.start().await;
                self.failed.as_ref()
            }
            Err(error) => Some(error),
        };
        let host = match (reason, &self.host) {
            (None, Some(host)) => host,
            (None, None) => unreachable!("a browser starts or fails to"),
            (Some(reason), _) => return requests.iter().map(|one| refused(one, reason, &inputs.name)).collect(),
        };
        let records = run_in_turns(host, requests, references).await;
        // What took its session with it, or left its Worker stuck, must not take the next rows too.
        let mut errors = records.iter().filter_map(|record| record.error.as_ref()).peekable();
        let doubtful = errors.peek().is_some();
        let lost = errors.any(takes_session_with_it);
        if lost || doubtful && !host.session().takes_requests(DOUBT_LIMIT).await {
            self.end_host().await;
        }
        records
    }

    async fn start(&mut self) {
        if self.host.is_none() && self.failed.is_none() {
            match Host::builder().launch(self.launch.clone()).verbose(self.verbose).start().await {
                Ok(host) => self.host = Some(host),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    async fn end_host(&mut self) {
        if let Some(host) = self.host.take() {
            host.shutdown().await;
        }
    }
}
