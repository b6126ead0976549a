//! One model, one browser, one answer: the record of a run.
//!
//! `model` finds the model and `prepared` makes it ready. `chain` goes from what was asked for to what runs, `platform` says
//! what the page lacks, `auto` finds the platform by measuring, `simulate` stands in where there is no browser, `turns` has
//! several runs side by side. `record` begins the record, and `fill` writes what was reported into it.
//!
//! [`run`] always gives a record. It is filled step by step, so that a run that fails says how far it got; nothing in it
//! is made up: what was not measured stays null, and what really ran is what the page's backend reported.

use std::sync::Arc;
use std::time::Instant;

use webnibble_common::result::RunRecord;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;
use crate::session::ProgressSink;
use crate::time::ms_since;

mod auto;
mod chain;
mod compare;
mod fill;
mod load;
mod model;
mod platform;
mod prepared;
mod record;
mod request;
mod simulate;
mod turns;

use chain::{Extent, Start};
use load::UNLOAD_LIMIT;
pub use load::load_options;
pub(crate) use load::load_package;
use model::load_model;
pub(crate) use platform::missing;
use prepared::{PreparedModel, prepare_for};
pub use prepared::{family, resolve};
pub use record::not_started;
use record::{blank_record, finish};
use request::tell;
pub use request::{Input, RunProgress, RunProgressSink, RunRequest};
pub use turns::{References, run_in_turns};

/// Runs a model once and writes down everything about it. A failure is a record too, with its `error` filled.
pub async fn run(request: RunRequest) -> RunRecord {
    let began = Instant::now();
    let mut record = blank_record(&request);
    let outcome = answer(&mut record, &request, began).await;
    finish(record, outcome)
}

/// The same in a browser that runs already. It runs on, and the model is freed.
pub async fn run_on(host: &Host, request: RunRequest) -> RunRecord {
    run_until(host, &request, std::future::pending()).await
}

/// The same, given up when `stop` is done before it.
pub(crate) async fn run_until(host: &Host, request: &RunRequest, stop: impl Future<Output = ()>) -> RunRecord {
    let mut record = blank_record(request);
    let outcome = tokio::select! {
        outcome = answer_on(host, &mut record, request) => outcome,
        () = stop => Err(cancelled()),
    };
    if let Some(model) = &record.model
        && let Err(error) = host.unload(&model.name, UNLOAD_LIMIT).await
    {
        tracing::debug!("{} was not loaded: {error}", model.name);
    }
    finish(record, outcome)
}

/// Why a run ended that nobody waits for.
pub(crate) fn cancelled() -> HostError {
    RemoteError::new(ErrorCode::Cancelled, "the run was cancelled", "").into()
}

/// Starts the browser that is asked for, and answers in it; without one, simulates where that is allowed.
async fn answer(record: &mut RunRecord, request: &RunRequest, began: Instant) -> Result<(), HostError> {
    tell(request, "looking for the model", 0, 0);
    let model = load_model(record, request).await?;
    let start = Start { began, model_ms: ms_since(began) };
    tell(request, "starting the browser", 0, 0);
    // Side by side: each waits for most of its time. A model that cannot be prepared ends the browser's start; one
    // whose options are wrong fails before it.
    let starting = async { Ok(start_host(request).await) };
    let (prepared, started) = tokio::try_join!(prepare_for(record, request, &model), starting)?;
    match (started, &prepared) {
        (Ok(host), _) => {
            let outcome = follow(&host, record, request, &model, prepared.as_ref(), Some(&start)).await;
            host.shutdown().await;
            outcome
        }
        (Err(error), Some(prepared)) => {
            let routes = chain::routes(prepared.platform, record.engine, prepared.resolved.fallback.value);
            if !chain::needs_no_browser(&error, &request.options.launch, &routes) || matches!(*model, Model::Onnx(_)) {
                return Err(error);
            }
            let steps = routes.windows(2).map(|pair| chain::step(prepared.platform, pair[0], pair[1], &error.info()));
            record.fallbacks.extend(steps);
            simulate::fill(record, request, prepared).await
        }
        (Err(error), None) => Err(error),
    }
}

/// Answers in a browser that runs.
async fn answer_on(host: &Host, record: &mut RunRecord, request: &RunRequest) -> Result<(), HostError> {
    let model = load_model(record, request).await?;
    let prepared = prepare_for(record, request, &model).await?;
    follow(host, record, request, &model, prepared.as_ref(), None).await
}

/// On the platform that was asked for, or on what the chain says comes after it; `auto` where nothing is prepared.
async fn follow(
    host: &Host,
    record: &mut RunRecord,
    request: &RunRequest,
    model: &Arc<Model>,
    prepared: Option<&PreparedModel>,
    start: Option<&Start>,
) -> Result<(), HostError> {
    match prepared {
        None => auto::fill(host, record, request, model, start).await,
        Some(prepared) => {
            let routes = chain::routes(prepared.platform, record.engine, prepared.resolved.fallback.value);
            chain::follow(host, record, request, prepared, &routes, Extent::Whole(start)).await.map(drop)
        }
    }
}

async fn start_host(request: &RunRequest) -> Result<Host, HostError> {
    let mut builder = Host::builder().launch(request.options.launch.clone()).verbose(request.verbose);
    if let Some(progress) = request.progress.clone() {
        let sink: ProgressSink = Arc::new(move |at| {
            progress(RunProgress::Page { stage: at.stage, done: at.done, total: at.total });
        });
        builder = builder.progress(sink);
    }
    builder.start().await
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
