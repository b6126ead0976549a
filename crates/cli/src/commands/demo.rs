//! `webnibble demo`: one model at several bit widths, in a table.

use std::process::ExitCode;

use webnibble_common::options::Platform;
use webnibble_host::demo::{Answered, Demo, DemoRequest, DemoRow, demo};
use webnibble_host::loader::DEFAULT_MODEL;

use super::failed;
use super::run::sink;
use crate::args::DemoArgs;
use crate::print;
use crate::progress::Bar;

/// Shows, or says what failed.
pub(crate) async fn run(args: DemoArgs, json: bool, verbose: bool) -> ExitCode {
    let bar = Bar::new(!json && !verbose);
    let others = args.others();
    let request = DemoRequest {
        model: args.model.unwrap_or_else(|| DEFAULT_MODEL.into()),
        platform: args.platform.unwrap_or(Platform::Webgpu),
        launch: args.launch.options(),
        runs: args.runs,
        others,
        verbose,
        progress: Some(sink(&bar)),
    };
    let shown = demo(request).await;
    bar.clear();
    match shown {
        Ok(demo) if json => print::json(&demo),
        Ok(demo) => print_demo(&demo),
        Err(error) => return failed(&error, json),
    }
    ExitCode::SUCCESS
}

fn print_demo(demo: &Demo) {
    let Demo { browser, .. } = demo;
    let mode = if browser.headless { "headless" } else { "with a window" };
    print::line(format!("{} in {} {} ({mode})", demo.model, browser.name, browser.version));
    if let Some(adapter) = &demo.adapter {
        let kind = if adapter.hardware { "hardware" } else { "software: right results, times of a processor" };
        print::line(format!("WebGPU adapter: {} {} ({kind})", adapter.vendor, adapter.architecture));
    }
    print::line("");
    print::line(format!("query: {}", demo.query));
    if let Some(answer) = demo.reference_answer {
        print::line(format!("f32 on this processor: {answer}"));
    }
    print::line("");
    let header = [
        "bits",
        "ran as",
        "adapter",
        "package MB",
        "weights MB",
        "first ms",
        "p50 ms",
        "cosine to f32",
        "nearest sentence",
    ];
    print::line(print::table(&header, &demo.rows.iter().map(cells).collect::<Vec<_>>()));
    if !demo.others.is_empty() {
        print::line("");
        let header = ["model", "bits", "ran as", "asked", "answer", "first ms", "tokens/s"];
        print::line(print::table(&header, &demo.others.iter().map(other_cells).collect::<Vec<_>>()));
    }
}

fn other_cells(found: &Answered) -> Vec<String> {
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.1}"));
    vec![
        found.model.clone(),
        found.bits.to_string(),
        found.implementation_type.to_string(),
        found.asked.clone(),
        found.answer.split_whitespace().collect::<Vec<_>>().join(" "),
        number(found.first_ms),
        number(found.tokens_per_sec),
    ]
}

fn cells(row: &DemoRow) -> Vec<String> {
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        row.bits.to_string(),
        row.implementation_type.to_string(),
        or_dash(row.hardware.map(|hardware| if hardware { "hardware" } else { "software" }.to_owned())),
        megabytes(row.package_bytes),
        megabytes(row.weights_bytes),
        format!("{:.1}", row.first_ms),
        or_dash(row.times_ms.map(|times| format!("{:.2}", times.p50))),
        or_dash(row.cosine.map(|cosine| format!("{cosine:.5}"))),
        format!("{} ({:.3})", row.answer, row.answer_cosine),
    ]
}
