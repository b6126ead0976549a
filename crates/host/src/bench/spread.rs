//! The rows of one browser, spread over several sessions of it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use webnibble_common::options::LaunchOptions;
use webnibble_common::record::RunRecord;

use super::cells::Cell;
use super::inputs::Inputs;
use super::request::BenchRequest;
use super::rows::{is_worth_sweeping, refused};
use crate::error::HostError;
use crate::pool::Pool;
use crate::run::References;

/// Measures all rows of a browser in a pool; `on_row` hears of each as it is done. The records come in the order of the
/// cells.
pub(super) async fn rows(
    request: &BenchRequest,
    launch: &LaunchOptions,
    models: &HashMap<&str, Inputs>,
    references: &Arc<References>,
    mut on_row: impl FnMut(&RunRecord),
) -> Vec<RunRecord> {
    let cells = request.cells();
    let pool = Pool::builder().launch(launch.clone()).sessions(request.sessions).verbose(request.verbose).start().await;
    let spread = Spread { request, launch, models, references, pool: pool.as_ref() };
    let mut found: Vec<Option<Vec<RunRecord>>> = cells.iter().map(|_| None).collect();
    // What is left out of the sweep depends on the other rows.
    for sweep in [false, true] {
        let worth = |cell: &Cell<'_>| is_worth_sweeping(found.iter().flatten().flatten(), cell);
        let now: Vec<usize> = (0..cells.len()).filter(|index| cells[*index].sweep == sweep).collect();
        let now = now.into_iter().filter(|index| !sweep || worth(&cells[*index])).collect::<Vec<_>>();
        let runs = now.into_iter().map(|index| {
            let (spread, cell) = (&spread, &cells[index]);
            async move { (index, spread.cell(cell).await) }
        });
        let mut running = futures_util::stream::iter(runs).buffer_unordered(2 * request.sessions);
        while let Some((index, records)) = running.next().await {
            records.iter().for_each(&mut on_row);
            found[index] = Some(records);
        }
    }
    if let Ok(pool) = pool {
        pool.shutdown().await;
    }
    found.into_iter().flatten().flatten().collect()
}

struct Spread<'a> {
    request: &'a BenchRequest,
    launch: &'a LaunchOptions,
    models: &'a HashMap<&'a str, Inputs>,
    references: &'a Arc<References>,
    pool: Result<&'a Pool, &'a HostError>,
}

impl Spread<'_> {
    async fn cell(&self, cell: &Cell<'_>) -> Vec<RunRecord> {
        let inputs = &self.models[cell.model];
        let requests = self.request.run_requests(cell, self.launch, inputs);
        let reason = match (&inputs.vocabulary, self.pool) {
            (Ok(_), Ok(pool)) => return pool.run_in_turns(requests, Arc::clone(self.references)).await,
            (Err(error), _) | (_, Err(error)) => error,
        };
        requests.iter().map(|request| refused(request, reason, &inputs.name)).collect()
    }
}
