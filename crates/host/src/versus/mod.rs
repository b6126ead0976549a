//! Ours beside onnxruntime-web: the same weights, the same ids, one page of one browser, turn by turn.
//!
//! Every contestant is loaded, then they run in rounds, a block of runs each, the order turning round from one round to
//! the next, so that what the machine does besides falls on all alike. A ratio of medians comes with its spread: the
//! 95 % interval of a bootstrap. The rival is tried in every form that it may be fastest in; who is compared with its
//! best is compared with its best on that platform, whatever the precision. A contestant that does not run is a row with
//! its reason.

use std::time::Duration;

use webnibble_common::io::Input;
use webnibble_common::options::Platform;
use webnibble_common::record::RunInfo;
use webnibble_common::wire::{LoadReport, RunOptions};

use crate::error::HostError;
use crate::host::Host;
use crate::loader::{self, Model};
use crate::reference::{InF32, WantedInF32, in_f32, inputs_of};
use crate::run::{RunProgress, RunProgressSink, Turn, load_package, rotation};
use crate::task::blocking;

mod answers;
mod contestants;
mod report;
mod request;
mod results;

use answers::first_values;
use contestants::{Contestant, contestants};
pub use report::{COMPARISON_HEADER, comparison_cells, failures, markdown, outputs, table, write};
pub use request::VersusRequest;
pub use results::{Comparison, Versus, VersusRow, VersusSession};

pub use crate::ratio::Ratio;

/// How long loading may take.
const LOAD_LIMIT: Duration = Duration::from_secs(180);
/// How long a block of runs may take.
const RUN_LIMIT: Duration = Duration::from_secs(300);
/// Runs of a contestant before the next one's turn.
const BLOCK: u32 = 5;

/// Runs the comparison.
///
/// # Errors
/// When the model cannot be read. A platform or contestant that fails is a row.
pub async fn compare(request: VersusRequest) -> Result<Versus, HostError> {
    let (name, progress) = (request.model.clone(), request.progress.clone());
    let model = blocking(move || {
        Ok(Model::load(&name, &mut |at: loader::Progress<'_>| tell(progress.as_ref(), at.what, at.done, at.total))?)
    })
    .await?;
    let model = std::sync::Arc::new(model);
    let mut sessions = Vec::new();
    for platform in &request.platforms {
        let threads: Vec<Option<u32>> = match platform {
            Platform::Wasm => request.threads.iter().copied().map(Some).collect(),
            _ => vec![None],
        };
        for threads in threads {
            sessions.push(session(&request, &model, *platform, threads).await?);
        }
    }
    Ok(Versus {
        run: RunInfo {
            timestamp: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: crate::machine::info(),
            revision: crate::machine::revision(&request.revision),
        },
        model: model.name().to_owned(),
        tokens: request.tokens,
        sessions,
    })
}

fn tell(progress: Option<&RunProgressSink>, what: &str, done: u64, total: u64) {
    if let Some(progress) = progress {
        progress(RunProgress::Host { what, done, total });
    }
}

/// One browser, all contestants of a platform.
async fn session(
    request: &VersusRequest,
    model: &std::sync::Arc<Model>,
    platform: Platform,
    threads: Option<u32>,
) -> Result<VersusSession, HostError> {
    let mut found =
        VersusSession { platform, threads, browser: None, error: None, rows: Vec::new(), comparisons: Vec::new() };
    tell(request.progress.as_ref(), &format!("preparing {platform}"), 0, 0);
    let mut contestants = contestants(request, model, platform).await?;
    let input = input(model, request.tokens);
    let expected = f32_answer(model, &input).await?;
    let host = match Host::builder().launch(request.launch.clone()).verbose(request.verbose).start().await {
        Ok(host) => host,
        Err(error) => {
            found.error = Some(error.to_string());
            return Ok(found);
        }
    };
    found.browser = Some(host.info().clone());
    for contestant in &mut contestants {
        tell(request.progress.as_ref(), &format!("{platform}: loading {}", contestant.label()), 0, 0);
        let loaded = load(&host, contestant, threads).await;
        contestant.loaded(loaded);
        if contestant.row.error.is_none() {
            let first = block(&host, contestant, &input, 0).await;
            contestant.ran(first);
        }
    }
    rounds(&host, request, &mut contestants, &input).await;
    host.shutdown().await;
    for contestant in &mut contestants {
        contestant.finish(expected.as_deref());
    }
    found.comparisons = report::comparisons(&contestants);
    found.rows = contestants.into_iter().map(|contestant| contestant.row).collect();
    Ok(found)
}

/// Blocks of runs in turn. Each request runs once before it measures, so that caches are warm for who follows another.
async fn rounds(host: &Host, request: &VersusRequest, contestants: &mut [Contestant], input: &Input) {
    let runs = |one: &Contestant| if one.row.error.is_none() { request.runs } else { 0 };
    let wanted: Vec<u32> = contestants.iter().map(runs).collect();
    let rounds = request.runs.div_ceil(BLOCK);
    for Turn { round, index, runs } in rotation(&wanted, BLOCK) {
        tell(request.progress.as_ref(), "measuring", round.into(), rounds.into());
        if contestants[index].row.error.is_none() {
            let ran = block(host, &contestants[index], input, runs).await;
            contestants[index].ran(ran);
        }
    }
}

async fn load(host: &Host, contestant: &mut Contestant, threads: Option<u32>) -> Result<LoadReport, HostError> {
    let mut options = contestant.load.clone();
    options.settings.threads = threads;
    let name = contestant.label();
    match contestant.folder.take() {
        Some(folder) => host.load_onnx(&name, folder, options, LOAD_LIMIT).await,
        None => load_package(host, &name, &contestant.package, options, LOAD_LIMIT).await,
    }
}

/// A block of runs; of none but the first run, where nothing is to be measured.
async fn block(
    host: &Host,
    contestant: &Contestant,
    input: &Input,
    runs: u32,
) -> Result<crate::session::RunOutcome, HostError> {
    let options = RunOptions { warmup: Some(0), runs, profile: false, ..RunOptions::default() };
    host.run(&contestant.label(), input.clone(), options, RUN_LIMIT).await
}

/// One text of ids.
fn input(model: &Model, tokens: usize) -> Input {
    Input::ids(vec![ids(vocabulary(model), tokens)])
}

/// Token ids that are all different enough, and in a vocabulary of that size.
pub(crate) fn ids(vocabulary: usize, count: usize) -> Vec<u32> {
    (0..count).map(|index| ((100 + index * 7919) % vocabulary) as u32).collect()
}

/// Rows of the model's largest embedding.
pub(crate) fn vocabulary(model: &Model) -> usize {
    let embeddings =
        model.graph().weights.iter().filter(|weight| weight.role == webnibble_common::graph::Role::Embedding);
    embeddings.map(|weight| weight.shape[0]).max().unwrap_or(2)
}

/// The answer in f32, where the model's floats are at hand and that is cheap.
async fn f32_answer(model: &std::sync::Arc<Model>, input: &Input) -> Result<Option<Vec<f32>>, HostError> {
    let tensors = std::sync::Arc::new(inputs_of(model, input, &[])?.tensors);
    Ok(match in_f32(model, WantedInF32 { tensors: &tensors, outputs: &[], asked: false }).await {
        InF32::Outputs(outputs) => first_values(&outputs),
        _ => None,
    })
}
