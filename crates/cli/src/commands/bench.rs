//! `webnibble bench --vs onnxruntime-web`: ours beside the engine that others use; without `--vs`, the matrix.

use std::path::Path;
use std::process::ExitCode;

use webnibble_common::options::{LaunchOptions, Options, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity};
use webnibble_host::HostError;
use webnibble_host::loader::DEFAULT_MODEL;
use webnibble_host::output::{OutputError, check_outputs};
use webnibble_host::versus::{self, COMPARISON_HEADER, Versus, VersusRequest};

use super::defaults::{DEFAULT_TOKENS, typed_or};
use super::{failed, matrix, report, wrong_arguments};
use crate::args::{BenchArgs, Rival};
use crate::commands::run::sink;
use crate::print;
use crate::progress::Bar;

/// Measures, prints tables or the JSON document, and writes files where a folder was named.
pub(crate) async fn run(args: BenchArgs, json: bool, verbose: bool) -> ExitCode {
    if let Some(message) = wrong(&args) {
        return wrong_arguments(message, "docs/benchmarks.md says which options go with what", json);
    }
    if let Err(error) = check(&args) {
        return failed(&error.into(), json);
    }
    let Some(Rival::OnnxruntimeWeb) = args.vs else { return matrix::run(&args, json, verbose).await };
    let bar = Bar::new(!json && !verbose);
    let found = versus::compare(request(&args, verbose, &bar)).await;
    bar.clear();
    let versus = match found {
        Ok(versus) => versus,
        Err(error) => return failed(&error, json),
    };
    if json {
        print::json(&versus);
    } else {
        print_tables(&versus);
    }
    // What was measured is the document, also where it cannot be written.
    if let Err(error) = write(&versus, &args) {
        print::error(&error.info());
        return ExitCode::FAILURE;
    }
    // Whoever runs nothing has nothing to show for it.
    let nothing = versus.sessions.iter().all(|session| session.comparisons.is_empty());
    if nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What cannot be measured so.
fn wrong(args: &BenchArgs) -> Option<String> {
    let options = args.options();
    if args.vs.is_some() {
        let one = [
            ("--browser", args.launch.kinds().len()),
            ("--model", args.model.len()),
            ("--tokens", args.tokens.len()),
            ("--group-size", args.group_size.len()),
        ];
        if let Some((option, count)) = one.iter().find(|(_, count)| *count > 1) {
            return Some(format!("beside another engine {option} takes one value, found {count}"));
        }
        let none = [("--warmup", options.measure.warmup.is_some()), ("--profile", options.measure.profile.is_some())];
        if let Some((option, _)) = none.iter().find(|(_, typed)| *typed) {
            return Some(format!(
                "beside another engine there is no {option}: blocks of runs take turns, and none is profiled"
            ));
        }
    }
    match options.settings.activation_bits {
        None | Some(Bits::B8 | Bits::B32) => None,
        Some(other) => Some(format!("--activation-bits should be 8, or 32 for floats, found {other}")),
    }
}

/// Refuses to write over a model that is measured, or over any other, before hours go into measuring.
fn check(args: &BenchArgs) -> Result<(), OutputError> {
    let Some(folder) = &args.out else { return Ok(()) };
    let outputs = if args.vs.is_some() { versus::outputs(folder).into() } else { report::outputs(folder) };
    check_outputs(&outputs, &args.model.iter().map(Path::new).collect::<Vec<_>>())
}

fn request(args: &BenchArgs, verbose: bool, bar: &Bar) -> VersusRequest {
    let options = args.options();
    let granularity = args.group_size.first().copied().map(Granularity::Group).or(options.settings.granularity);
    let launch = LaunchOptions { browser: args.launch.kinds().first().copied(), ..args.launch.options() };
    let settings = Settings { granularity, activation_bits: None, ..options.settings.clone() };
    VersusRequest {
        model: args.model.first().map_or(DEFAULT_MODEL, String::as_str).to_owned(),
        platforms: typed_or(&args.platforms(), &[Platform::Webgpu, Platform::Wasm]),
        bits: typed_or(&args.bits, &[Bits::B32, Bits::B16, Bits::B8, Bits::B4]),
        int8_activations: options.settings.activation_bits == Some(Bits::B8),
        threads: typed_or(&args.threads, &[1]),
        tokens: args.tokens.first().copied().unwrap_or(DEFAULT_TOKENS),
        runs: options.measure.runs.unwrap_or(50),
        options: Options { settings, launch: launch.clone(), ..options },
        launch,
        verbose,
        revision: env!("WEBNIBBLE_REVISION").into(),
        progress: Some(sink(bar)),
    }
}

fn write(versus: &Versus, args: &BenchArgs) -> Result<(), HostError> {
    let Some(folder) = &args.out else { return Ok(()) };
    for path in versus::write(versus, folder)? {
        print::message(&path.display().to_string());
    }
    Ok(())
}

fn print_tables(versus: &Versus) {
    for session in &versus.sessions {
        let threads = session.threads.map(|count| format!(", {count} threads")).unwrap_or_default();
        let browser = session.browser.as_ref().map(|found| format!(" in {} {}", found.name, found.version));
        let (model, tokens) = (&versus.model, versus.tokens);
        print::line(format!(
            "{model}, {tokens} tokens, {}{threads}{}\n",
            session.platform,
            browser.unwrap_or_default()
        ));
        if let Some(error) = &session.error {
            print::line(format!("nothing ran: {error}\n"));
            continue;
        }
        let (header, rows) = versus::table(session);
        print::line(print::table(&header, &rows));
        for (label, error) in versus::failures(session) {
            print::line(format!("{label} does not run: {error}"));
        }
        if !session.comparisons.is_empty() {
            let rows: Vec<_> = session.comparisons.iter().map(versus::comparison_cells).collect();
            print::line(format!("\n{}\n", print::table(&COMPARISON_HEADER, &rows)));
        }
    }
}
