//! `webnibble bench`: the matrix of browsers, platforms, engines and bits.

use std::process::ExitCode;

use webnibble_common::options::{BrowserKind, Engine, LaunchOptions, MeasureOptions, Options, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity};
use webnibble_common::result::RunRecord;
use webnibble_host::bench::{BenchRequest, Precision, bench, browsers_here};
use webnibble_host::history::History;
use webnibble_host::report::markdown;

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
    let records = bench(&request, |record| {
        done += 1;
        tracing::info!("row {done} of {total}: {}", told(record));
        bar.step(&format!("{done} of {total} rows"));
    })
    .await;
    bar.clear();
    let title = format!("{}, {} tokens", request.models.join(", "), args.tokens);
    if json {
        print::json(&records);
    } else {
        print::line(markdown(&title, &records));
    }
    match keep(args, &title, &records) {
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

/// Stores the rows, and writes the report.
fn keep(args: &BenchArgs, title: &str, records: &[RunRecord]) -> anyhow::Result<()> {
    let batch = History::open(&History::default_path())?.append(title, records)?;
    print::message(&format!("stored as batch {batch}: `webnibble report {batch}`"));
    match &args.out {
        Some(folder) => report::write(folder, title, records),
        None => Ok(()),
    }
}

fn request(args: &BenchArgs, verbose: bool, bar: &Bar) -> BenchRequest {
    let launch = args.launch.options();
    let platforms = match (&args.platform[..], args.all) {
        ([], true) => vec![Platform::Webgpu, Platform::Webnn, Platform::Wasm],
        ([], false) => vec![Platform::Webgpu, Platform::Wasm],
        (given, _) => given.to_vec(),
    };
    let mut precisions: Vec<Precision> = match &args.bits[..] {
        [] => [Bits::B16, Bits::B8, Bits::B4, Bits::B2].map(Precision::weights).to_vec(),
        given => given.iter().copied().map(Precision::weights).collect(),
    };
    if args.activation_bits == Some(Bits::B8) || args.all {
        precisions.push(Precision { bits: Bits::B8, activation_bits: Bits::B8 });
    }
    let engines = if args.engine.is_empty() { vec![Engine::Native] } else { args.engine.clone() };
    let settings = Settings { granularity: args.group_size.map(Granularity::Group), ..Settings::default() };
    let measure = MeasureOptions { warmup: Some(3), runs: Some(args.runs.unwrap_or(10)), profile: None };
    BenchRequest {
        browsers: browsers(args, &launch),
        models: vec![args.model.clone()],
        platforms,
        engines,
        precisions,
        tokens: args.tokens,
        options: Options { settings, measure, ..Options::default() },
        verbose,
        revision: env!("WEBNIBBLE_REVISION").into(),
        progress: Some(sink(bar)),
    }
}

fn browsers(args: &BenchArgs, launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let nobody = args.browsers.is_empty() && launch.browser.is_none() && launch.browser_binary.is_none();
    if args.all && nobody {
        return browsers_here(launch);
    }
    let one = [launch.browser.unwrap_or(BrowserKind::Chrome)];
    let kinds = if args.browsers.is_empty() { &one[..] } else { &args.browsers };
    kinds.iter().map(|kind| LaunchOptions { browser: Some(*kind), ..launch.clone() }).collect()
}
