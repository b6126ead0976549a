//! One model, one browser, one answer: the record of a run.
//!
//! `prepared` opens the model and makes it ready. `chain` goes from what was asked for to what runs, one `route` after
//! another; `platform` says what the page lacks, `auto` finds the platform by measuring, `simulate` stands in where there is
//! no browser, `turns` has several runs side by side. What they give are plain values (`answer`), and how far a run got is
//! known apart from it; `record` makes the record of both, once, when the run is over.
//!
//! [`run`] always gives a record: of a run that fails it says how far that got. Nothing in it is made up: what was not
//! measured stays null, and what really ran is what the page's backend reported.

use std::sync::Arc;
use std::time::Instant;

use webnibble_common::record::RunRecord;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::HostError;
use crate::host::Host;
use crate::loader::Model;
use crate::reference::{Compared, compare};
use crate::session::{PartSink, ProgressSink};
use crate::task::ms_since;

mod answer;
mod auto;
mod chain;
mod platform;
mod prepared;
mod record;
mod request;
mod rotation;
mod route;
mod simulate;
mod turns;

pub(crate) use answer::Measured;
use answer::{Answered, PageAnswer};
pub(crate) use platform::missing;
use prepared::{Opened, PreparedModel, prepare};
pub use prepared::{family, resolve};
pub use record::not_started;
use record::{Answer, Known, record};
use request::tell;
pub use request::{Input, RunProgress, RunProgressSink, RunRequest};
pub(crate) use rotation::{Turn, rotation};
pub use route::load_options;
pub(crate) use route::load_package;
use route::{Assignment, FirstAnswer, Start, run_options, unload};
use simulate::simulate;
pub use turns::{References, run_in_turns};

/// Runs a model once and writes down everything about it. A failure is a record too, with its `error` filled.
pub async fn run(request: RunRequest) -> RunRecord {
    let mut known = Known::begin();
    let outcome = answer(&mut known, &request).await;
    record(&request, &known, outcome)
}

/// The same in a browser that runs already. It runs on, and the model is freed.
pub async fn run_on(host: &Host, request: RunRequest) -> RunRecord {
    run_until(host, &request, std::future::pending()).await
}

/// The same, given up when `stop` is done before it.
pub(crate) async fn run_until(host: &Host, request: &RunRequest, stop: impl Future<Output = ()>) -> RunRecord {
    let mut known = Known::begin();
    let outcome = tokio::select! {
        outcome = answer_on(host, &mut known, request) => outcome,
        () = stop => Err(cancelled()),
    };
    if let Some(prepared) = &known.prepared {
        unload(host, &prepared.loaded_as).await;
    }
    record(request, &known, outcome)
}

/// Why a run ended that nobody waits for.
pub(crate) fn cancelled() -> HostError {
    RemoteError::new(ErrorCode::Cancelled, "the run was cancelled", "").into()
}

/// Starts the browser that is asked for, and answers in it; without one, simulates where that is allowed.
async fn answer(known: &mut Known, request: &RunRequest) -> Result<Answer, HostError> {
    let began = Instant::now();
    tell(request, "looking for the model", 0, 0);
    let opened = open(known, request).await?;
    let start = Start { began, model_ms: ms_since(began), first_answer: FirstAnswer::default() };
    tell(request, "starting the browser", 0, 0);
    // Side by side: each waits for most of its time. A model that cannot be prepared ends the browser's start.
    let starting = async { Ok(start_host(request, &start.first_answer).await) };
    let (prepared, started) = tokio::try_join!(prepare(request, &opened), starting)?;
    let prepared = prepared.map(|prepared| known.prepared(prepared));
    match (started, prepared) {
        (Ok(host), prepared) => {
            let outcome = answer_in_page(&host, known, request, &opened, prepared.as_deref(), Some(&start)).await;
            host.shutdown().await;
            outcome
        }
        (Err(error), Some(prepared)) => answer_here(known, request, &prepared, error).await,
        (Err(error), None) => Err(error),
    }
}

/// Answers in a browser that runs.
async fn answer_on(host: &Host, known: &mut Known, request: &RunRequest) -> Result<Answer, HostError> {
    let opened = open(known, request).await?;
    let prepared = prepare(request, &opened).await?.map(|prepared| known.prepared(prepared));
    answer_in_page(host, known, request, &opened, prepared.as_deref(), None).await
}

async fn open(known: &mut Known, request: &RunRequest) -> Result<Opened, HostError> {
    let opened = Opened::of(request).await?;
    known.input = Some(opened.input.info.clone());
    Ok(opened)
}

/// On the platform that was asked for, or on what the chain says comes after it; `auto` where nothing is prepared.
async fn answer_in_page(
    host: &Host,
    known: &mut Known,
    request: &RunRequest,
    opened: &Opened,
    prepared: Option<&PreparedModel>,
    start: Option<&Start>,
) -> Result<Answer, HostError> {
    let Some(prepared) = prepared else {
        let (prepared, answered) = auto::follow(host, known, request, opened, start).await?;
        return Ok(complete(Assignment { host, request, prepared: &prepared }, answered).await);
    };
    let work = Assignment { host, request, prepared };
    let routes = chain::routes(prepared.platform, request.engine(), prepared.resolved.fallback.value);
    let answered = chain::follow(work, known, &routes, &run_options(&prepared.resolved), start).await?;
    Ok(complete(work, answered).await)
}

/// What is measured around an answer: the browser's memory, and how far the answer is from that in f32.
async fn complete(work: Assignment<'_>, answered: Answered) -> Answer {
    let Assignment { host, request, prepared } = work;
    let memory = host.browser_memory();
    let compared = match request.generate {
        // A token that is chosen otherwise changes all that follow it: there is nothing to compare one by one.
        true => Compared::default(),
        false => {
            tell(request, "comparing with f32", 0, 0);
            compare(&prepared.model, request.wanted_of(&prepared.tensors), &answered.measured.outputs).await
        }
    };
    Answer::Page(Box::new(PageAnswer { answered, memory, timestamped: None, compared, ratio: None }))
}

/// Simulates, where a browser that could not be started leaves that.
async fn answer_here(
    known: &mut Known,
    request: &RunRequest,
    prepared: &PreparedModel,
    error: HostError,
) -> Result<Answer, HostError> {
    let routes = chain::routes(prepared.platform, request.engine(), prepared.resolved.fallback.value);
    let only_onnx = matches!(*prepared.model, Model::Onnx(_));
    // What stands in here runs a graph once, and generates nothing.
    if only_onnx || request.generate || !chain::needs_no_browser(&error, &request.options.launch, &routes) {
        return Err(error);
    }
    let why = error.info();
    known.steps.extend(routes.windows(2).map(|pair| chain::step(prepared.platform, pair[0], pair[1], &why)));
    Ok(Answer::Here(Box::new(simulate(request, prepared).await?)))
}

async fn start_host(request: &RunRequest, first_answer: &FirstAnswer) -> Result<Host, HostError> {
    let (progress, first_answer) = (request.progress.clone(), first_answer.clone());
    let told = progress.clone();
    let parts: PartSink = Arc::new(move |part| {
        if let Some(told) = &told {
            told(RunProgress::Part { text: &part.text, tokens: &part.tokens });
        }
    });
    let sink: ProgressSink = Arc::new(move |at| {
        first_answer.hear(at);
        if let Some(progress) = &progress {
            progress(RunProgress::Page { stage: at.stage, done: at.done, total: at.total });
        }
    });
    let launch = request.options.launch.clone();
    Host::builder().launch(launch).verbose(request.verbose).progress(sink).parts(parts).start().await
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod record_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
