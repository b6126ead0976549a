//! `webnibble bench`: the matrix of browsers, platforms, engines and bits.

use std::process::ExitCode;

use anyhow::Context as _;
use webnibble_common::options::{BrowserKind, Engine, LaunchOptions, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_host::bench::{BenchRequest, Precision, Size, USUAL_BITS, bench};
use webnibble_host::browsers::{browsers_for, webnn_browser_missing};
use webnibble_host::error::is_usage;
use webnibble_host::history::{History, HistoryError};
use webnibble_host::loader::DEFAULT_MODEL;
use webnibble_host::report::markdown;

use super::defaults::{DEFAULT_TOKENS, typed_or};
use super::{USAGE, report};
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
    tell_of_webnn(args, &request, &records);
    let all_bad = records.iter().all(|record| record.error.as_ref().is_some_and(|error| is_usage(&error.code)));
    match keep(args, store, &title, &records) {
        // Nothing that ran is nothing that was measured.
        Ok(()) if records.iter().any(|record| record.error.is_none()) => ExitCode::SUCCESS,
        Ok(()) if all_bad && !records.is_empty() => ExitCode::from(USAGE),
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            print::message(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says that WebNN had no browser, where one can be fetched.
fn tell_of_webnn(args: &BenchArgs, request: &BenchRequest, records: &[RunRecord]) {
    let ran = records.iter().any(|record| record.implementation_type == Some(ImplementationType::RealWebnn));
    if args.launch.kinds().is_empty() && request.platforms.contains(&Platform::Webnn) && !ran {
        webnn_browser_missing().iter().for_each(|text| print::message(text));
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
            *self = Self::begin(title, record).unwrap_or_else(Self::failed);
        }
        let Store::Open(history, batch) = self else { return };
        if let Err(error) = history.add(*batch, record) {
            *self = Self::failed(error);
        }
    }

    /// Said at once: who measures for hours wants to know at their beginning.
    fn failed(error: HistoryError) -> Self {
        print::message(&format!("warning: rows are not stored: {error}"));
        Store::Failed(error)
    }

    fn begin(title: &str, record: &RunRecord) -> Result<Self, HistoryError> {
        let mut history = History::open(&History::default_path())?;
        let batch = history.begin(title, &record.run)?;
        print::message(&format!("rows are stored as batch {batch}: `webnibble report {batch}`"));
        Ok(Store::Open(history, batch))
    }
}

/// Writes the report, also where rows could not be stored.
fn keep(args: &BenchArgs, store: Store, title: &str, records: &[RunRecord]) -> anyhow::Result<()> {
    if let Some(folder) = &args.out {
        report::write(folder, title, records)?;
    }
    match store {
        Store::Failed(error) => Err(error).context("rows were not stored"),
        Store::Empty | Store::Open(..) => Ok(()),
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
    let options = args.options();
    let usual = match args.all {
        true => &[Platform::Webgpu, Platform::Webnn, Platform::Wasm][..],
        false => &[Platform::Webgpu, Platform::Wasm],
    };
    let models = args.preset.map_or(&[DEFAULT_MODEL][..], |preset| preset.models);
    let models: Vec<String> = models.iter().map(|model| (*model).to_owned()).collect();
    // A sweep where nobody said what sizes are wanted.
    let sweep = args.all && args.tokens.is_empty() && args.batch.is_empty();
    BenchRequest {
        browsers: browsers(args),
        models: typed_or(&args.model, &models),
        platforms: typed_or(&args.platforms(), args.preset.map_or(usual, |preset| preset.platforms)),
        engines: typed_or(&args.engine, &[Engine::Native]),
        precisions: precisions(args, &options.settings),
        sizes: Size::combinations(&typed_or(&args.batch, &[1]), &typed_or(&args.tokens, &[DEFAULT_TOKENS])),
        threads: args.threads.clone(),
        sweep: if sweep { Size::sweep() } else { Vec::new() },
        sessions: args.sessions,
        options,
        verbose,
        revision: env!("WEBNIBBLE_REVISION").into(),
        progress: Some(sink(bar)),
    }
}

fn precisions(args: &BenchArgs, shared: &Settings) -> Vec<Precision> {
    let preset = args.preset;
    // Without quantization weights are as the checkpoint has them.
    let usual = if shared.quantization == Some(false) { &[Bits::B32] } else { USUAL_BITS };
    let bits = typed_or(&args.bits, preset.map_or(usual, |preset| preset.bits));
    let of_preset = preset.filter(|_| shared.granularity.is_none()).map_or(&[][..], |preset| preset.group_sizes);
    let group_sizes = typed_or(&args.group_size, of_preset);
    let typed = [(args.mixed_precision, true), (args.no_mixed_precision, false)];
    let typed: Vec<bool> = typed.iter().filter(|(typed, _)| *typed).map(|(_, mixed)| *mixed).collect();
    let mixed = typed_or(&typed, preset.map_or(&[], |preset| preset.mixed_precision));
    let mut precisions = Precision::combinations(&bits, &group_sizes, &mixed);
    for precision in &mut precisions {
        precision.experimental = preset.is_some_and(|preset| preset.experimental) && precision.bits < Bits::B8;
    }
    let int8 = match shared.activation_bits {
        Some(bits) => bits == Bits::B8,
        None => args.all && args.bits.is_empty() && shared.quantization != Some(false),
    };
    precisions.extend(int8.then(Precision::int8));
    precisions
}

/// Those that were named; Chrome, where nobody asked for all.
fn browsers(args: &BenchArgs) -> Vec<LaunchOptions> {
    let (named, launch) = (args.launch.kinds(), args.launch.options());
    match named.is_empty() && !args.all && args.preset.is_none() {
        true => browsers_for(&[BrowserKind::Chrome], &launch),
        false => browsers_for(&named, &launch),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use webnibble_common::quant::{Granularity, Scheme};

    use super::*;
    use crate::args::{Cli, Command};

    fn request_of(words: &str) -> BenchRequest {
        let words = ["webnibble", "bench"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words).expect("these are arguments").command {
            Command::Bench(args) => request(&args, false, &Bar::new(false)),
            other => panic!("expected bench, found {other:?}"),
        }
    }

    #[test]
    fn threads_and_browsers_are_dimensions() {
        let request = request_of("--threads 1,2 --threads 4 --platform wasm --browser firefox,chrome --browser webkit");
        assert_eq!(request.threads, [1, 2, 4]);
        let kinds: Vec<_> = request.browsers.iter().map(|launch| launch.browser.unwrap()).collect();
        assert_eq!(kinds, [BrowserKind::Firefox, BrowserKind::Chrome, BrowserKind::Webkit]);
        assert_eq!(request_of("--browsers edge").browsers[0].browser, Some(BrowserKind::Edge));
        assert_eq!(request_of("--firefox --chrome").browsers.len(), 2);
        assert_eq!(request_of("").browsers.len(), 1);
        assert!(request_of("").threads.is_empty(), "the page finds what is best");
    }

    #[test]
    fn what_run_takes_is_an_option_of_every_row() {
        let request = request_of(
            "--scheme asymmetric --per-channel --attention-bits 4 --embedding-bits 8 --experimental-precision \
             --execution-provider gpu --no-fallback --warmup 3 --runs 7 --portable-kernels --no-half-tiles",
        );
        let (settings, measure) = (&request.options.settings, &request.options.measure);
        assert_eq!((settings.scheme, settings.granularity), (Some(Scheme::Asymmetric), Some(Granularity::Channel)));
        assert_eq!((settings.attention_bits, settings.embedding_bits), (Some(Bits::B4), Some(Bits::B8)));
        assert_eq!((settings.experimental_precision, settings.portable_kernels), (Some(true), Some(true)));
        assert_eq!((settings.half_tiles, settings.execution_provider.is_some()), (Some(false), true));
        assert_eq!((request.options.fallback, measure.warmup, measure.runs), (Some(false), Some(3), Some(7)));
    }

    #[test]
    fn activations_in_int8_are_a_row_and_32_is_none() {
        let has_int8 = |words: &str| request_of(words).precisions.contains(&Precision::int8());
        let found = ["", "--activation-bits 8", "--all", "--all --activation-bits 32"].map(has_int8);
        assert_eq!(found, [false, true, true, false]);
        assert_eq!(request_of("--no-quantization").precisions, [Precision::weights(Bits::B32)]);
    }
}
