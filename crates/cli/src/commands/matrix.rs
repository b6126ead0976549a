//! `webnibble bench`: the matrix of browsers, platforms, engines and bits.

use std::process::ExitCode;

use webnibble_common::options::{BrowserKind, Engine, LaunchOptions, MeasureOptions, Options, Platform};
use webnibble_common::quant::Bits;
use webnibble_common::result::RunRecord;
use webnibble_host::bench::{BenchRequest, Precision, Size, USUAL_BITS, bench, browsers_here};
use webnibble_host::history::{History, HistoryError};
use webnibble_host::loader::DEFAULT_MODEL;
use webnibble_host::report::markdown;

use super::bench::{DEFAULT_TOKENS, or};
use super::report;
use crate::args::BenchArgs;
use crate::commands::run::sink;
use crate::print;
use crate::progress::Bar;

/// Measures, prints a table or the rows as JSON, stores them, and writes files where a folder was named.
pub(crate) async fn run(args: &BenchArgs, json: bool, verbose: bool) -> ExitCode {
    let bar = Bar::new(!json && !verbose);
    let request = request(args, verbose, &bar);
    let (total, mut done) = (request.rows(), 0);
    bar.step(&format!("0 of {total} rows"));
    let title = title(args, &request);
    let mut store = Store::Empty;
    let records = bench(&request, |record| {
        done += 1;
        store.add(&title, record);
        tracing::info!("row {done} of {total}: {}", told(record));
        bar.step(&format!("{done} of {total} rows"));
    })
    .await;
    bar.clear();
    if json {
        print::json(&records);
    } else {
        print::line(markdown(&title, &records));
    }
    match keep(args, store, &title, &records) {
        // Nothing that ran is nothing that was measured.
        Ok(()) if records.iter().any(|record| record.error.is_none()) => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            print::message(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn told(record: &RunRecord) -> String {
    let browser = record.browser.as_ref().map_or("no browser", |browser| browser.name.as_str());
    let kind = record.implementation_type.map_or("did not run".into(), |kind| kind.to_string());
    format!("{browser} {}: {kind}", record.platform)
}

/// Rows that are stored as they are measured, so that an end before the last one loses nothing.
enum Store {
    Empty,
    Open(History, i64),
    Failed(HistoryError),
}

impl Store {
    fn add(&mut self, title: &str, record: &RunRecord) {
        if let Store::Empty = self {
            *self = Self::begin(title, record).unwrap_or_else(Store::Failed);
        }
        let Store::Open(history, batch) = self else { return };
        if let Err(error) = history.add(*batch, record) {
            *self = Store::Failed(error);
        }
    }

    fn begin(title: &str, record: &RunRecord) -> Result<Self, HistoryError> {
        let mut history = History::open(&History::default_path())?;
        let batch = history.begin(title, &record.run)?;
        print::message(&format!("rows are stored as batch {batch}: `webnibble report {batch}`"));
        Ok(Store::Open(history, batch))
    }
}

/// Writes the report.
fn keep(args: &BenchArgs, store: Store, title: &str, records: &[RunRecord]) -> anyhow::Result<()> {
    if let Store::Failed(error) = store {
        return Err(error.into());
    }
    match &args.out {
        Some(folder) => report::write(folder, title, records),
        None => Ok(()),
    }
}

/// What is measured, in a line.
fn title(args: &BenchArgs, request: &BenchRequest) -> String {
    let name = |model: &String| model.trim_end_matches('/').rsplit('/').next().unwrap_or(model).to_owned();
    let models: Vec<_> = request.models.iter().map(name).collect();
    let list = |of: fn(&Size) -> usize| {
        let mut values: Vec<usize> = request.sizes.iter().map(of).collect();
        values.sort_unstable();
        values.dedup();
        values.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
    };
    let preset = args.preset.map(|preset| format!("{}: ", preset.name)).unwrap_or_default();
    format!("{preset}{}, {} tokens, batch {}", models.join(", "), list(|size| size.tokens), list(|size| size.batch))
}

/// What was typed, else what the preset has, else the usual.
fn request(args: &BenchArgs, verbose: bool, bar: &Bar) -> BenchRequest {
    let launch = args.launch.options();
    let usual = match args.all {
        true => &[Platform::Webgpu, Platform::Webnn, Platform::Wasm][..],
        false => &[Platform::Webgpu, Platform::Wasm],
    };
    let models = args.preset.map_or(&[DEFAULT_MODEL][..], |preset| preset.models);
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    // A sweep where nobody said what sizes are wanted.
    let sweep = args.all && args.tokens.is_empty() && args.batch.is_empty();
    let measure = MeasureOptions { runs: args.runs, ..MeasureOptions::default() };
    BenchRequest {
        browsers: browsers(args, &launch),
        models: or(&args.model, &models),
        platforms: or(&args.platforms(), args.preset.map_or(usual, |preset| preset.platforms)),
        engines: or(&args.engine, &[Engine::Native]),
        precisions: precisions(args),
        sizes: Size::combinations(&or(&args.batch, &[1]), &or(&args.tokens, &[DEFAULT_TOKENS])),
        sweep: if sweep { Size::sweep() } else { Vec::new() },
        sessions: args.sessions,
        options: Options { measure, ..Options::default() },
        verbose,
        revision: env!("WEBNIBBLE_REVISION").into(),
        progress: Some(sink(bar)),
    }
}

fn precisions(args: &BenchArgs) -> Vec<Precision> {
    let preset = args.preset;
    let bits = or(&args.bits, preset.map_or(USUAL_BITS, |preset| preset.bits));
    let group_sizes = or(&args.group_size, preset.map_or(&[], |preset| preset.group_sizes));
    let typed = [(args.mixed_precision, true), (args.no_mixed_precision, false)];
    let typed: Vec<bool> = typed.iter().filter(|(typed, _)| *typed).map(|(_, mixed)| *mixed).collect();
    let mixed = or(&typed, preset.map_or(&[], |preset| preset.mixed_precision));
    let mut precisions = Precision::combinations(&bits, &group_sizes, &mixed);
    for precision in &mut precisions {
        precision.experimental = preset.is_some_and(|preset| preset.experimental) && precision.bits < Bits::B8;
    }
    if args.activation_bits == Some(Bits::B8) || (args.all && args.bits.is_empty()) {
        precisions.push(Precision::int8());
    }
    precisions
}

fn browsers(args: &BenchArgs, launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let nobody = args.browsers.is_empty() && launch.browser.is_none() && launch.browser_binary.is_none();
    if (args.all || args.preset.is_some()) && nobody {
        return browsers_here(launch);
    }
    let one = [launch.browser.unwrap_or(BrowserKind::Chrome)];
    let kinds = if args.browsers.is_empty() { &one[..] } else { &args.browsers };
    kinds.iter().map(|kind| LaunchOptions { browser: Some(*kind), ..launch.clone() }).collect()
}
