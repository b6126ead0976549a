//! `webnibble run`: one model, one browser, one answer with its metrics.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use webnibble_common::io::{Input, Label, NamedTensors, Output, tensors_from_json};
use webnibble_common::record::{ErrorInfo, InputInfo, RunRecord, Status, Times, TokensPerSec};
use webnibble_host::error::is_usage;
use webnibble_host::image_file;
use webnibble_host::run::{RunProgress, RunProgressSink, RunRequest, run as run_model};

use super::{UNAVAILABLE, USAGE, wrong_arguments};
use crate::args::RunArgs;
use crate::print;
use crate::progress::Bar;

/// Numbers of an embedding that are printed.
const SHOWN_NUMBERS: usize = 6;

/// Runs, prints the record or a summary of it.
pub(crate) async fn run(args: RunArgs, json: bool, verbose: bool) -> ExitCode {
    if let Some(what) = args.not_yet() {
        let (message, hint) =
            (format!("{what} is not there yet"), "give --text, --text-file, --ids, --image or --input".into());
        print::failure(&ErrorInfo { code: "not_yet".into(), message, hint }, json);
        return ExitCode::FAILURE;
    }
    let input = match input(&args) {
        Ok(input) => input,
        Err(error) => return wrong_arguments(format!("{error:#}"), "", json),
    };
    if args.generates_for_nothing() {
        let hint = "give --prompt, or --ids with --max-tokens";
        return wrong_arguments("options for text that is generated, and nothing to go on from", hint, json);
    }
    let bar = Bar::new(!json && !verbose);
    let (options, generates) = (args.options(), args.generates());
    let no_fallback = options.fallback == Some(false);
    let request = RunRequest {
        model: args.model,
        options,
        input,
        outputs: args.output,
        generate: generates,
        compare_f32: args.compare_f32,
        verbose,
        revision: env!("WEBNIBBLE_REVISION").into(),
        progress: Some(if generates && !json { streaming(&bar) } else { sink(&bar) }),
    };
    let record = run_model(request).await;
    bar.clear();
    if generates && !json {
        print::line("");
    }
    match (json, &record.error) {
        (true, _) => print::json(&record),
        (false, None) => print_summary(&record),
        (false, Some(_)) => {}
    }
    if let Some(error) = &record.error {
        print::error(error);
    }
    exit_code(&record, no_fallback)
}

/// Shows on a bar how far a run is.
pub(crate) fn sink(bar: &Bar) -> RunProgressSink {
    let bar = bar.clone();
    Arc::new(move |at| match at {
        // Quantizing counts weights; everything else that is counted here is fetched.
        // Files are counted in bytes as they are fetched; what is computed here, in pieces.
        RunProgress::Host { what, done, total } => bar.show(what, done, total, what.contains('.')),
        RunProgress::Page { stage, done, total } => bar.stage(stage, done, total),
        // Whoever shows it as it comes does so besides.
        RunProgress::Part { .. } => {}
    })
}

/// The same, with the text on standard output as it comes: the bar ends with its first piece.
fn streaming(bar: &Bar) -> RunProgressSink {
    let (told, bar, begun) = (sink(bar), bar.clone(), AtomicBool::new(false));
    Arc::new(move |at| match at {
        RunProgress::Part { text, .. } => {
            if !begun.swap(true, Ordering::Relaxed) {
                bar.clear();
            }
            print::piece(text);
        }
        _ if begun.load(Ordering::Relaxed) => {}
        _ => told(at),
    })
}

fn exit_code(record: &RunRecord, no_fallback: bool) -> ExitCode {
    match (&record.error, record.status) {
        (Some(error), _)
            if no_fallback && ["platform_unavailable", "request_not_kept"].contains(&error.code.as_str()) =>
        {
            ExitCode::from(UNAVAILABLE)
        }
        (Some(error), _) if is_usage(&error.code) => ExitCode::from(USAGE),
        (None, Status::Ok) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn input(args: &RunArgs) -> anyhow::Result<Input> {
    if let Some(path) = &args.ids {
        return Ok(Input::Ids { ids: ids(path)?, truncate: args.truncate });
    }
    if let Some(path) = &args.input {
        return Ok(Input::Tensors { tensors: tensors(path)? });
    }
    if !args.image.is_empty() {
        let images = args.image.iter().map(|path| image_file::read(path)).collect::<Result<_, _>>()?;
        return Ok(Input::Image { images });
    }
    if let Some(prompt) = &args.prompt {
        return Ok(Input::texts(vec![prompt.clone()]));
    }
    let texts = match &args.text_file {
        Some(path) => lines(path)?,
        None => args.text.clone(),
    };
    anyhow::ensure!(
        !texts.is_empty(),
        "there is nothing to run on: give --text, --text-file, --ids, --image or --input"
    );
    Ok(Input::Text { texts, truncate: args.truncate, prompt: args.prompts.choice() })
}

/// Texts, one a line; those of standard input for `-`.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    use anyhow::Context as _;
    let (text, name) = match path.as_os_str() == "-" {
        true => (std::io::read_to_string(std::io::stdin()).context("standard input")?, "standard input".into()),
        false => (read(path)?, path.display().to_string()),
    };
    let lines: Vec<String> = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().map(str::to_owned).collect();
    anyhow::ensure!(!lines.is_empty(), "{name}: expected texts, one a line, found none");
    // An answer stands for its line: none is passed over in silence.
    if let Some(empty) = lines.iter().position(|line| line.trim().is_empty()) {
        anyhow::bail!("{name}: line {} is empty: expected a text in every line", empty + 1);
    }
    Ok(lines)
}

fn read(path: &Path) -> anyhow::Result<String> {
    use anyhow::Context as _;
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Token ids: JSON (one list, or a list of lists), or one line of numbers a text.
fn ids(path: &Path) -> anyhow::Result<Vec<Vec<u32>>> {
    use anyhow::Context as _;
    let text = read(path)?;
    if text.trim_start().starts_with('[') {
        let many: Result<Vec<Vec<u32>>, _> = serde_json::from_str(&text);
        let one = || serde_json::from_str(&text).map(|ids| vec![ids]);
        return many.or_else(|_| one()).with_context(|| format!("{}: expected lists of token ids", path.display()));
    }
    let line = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>();
    let lines: Result<_, _> = text.lines().filter(|text| !text.trim().is_empty()).map(line).collect();
    lines.with_context(|| format!("{}: expected token ids, one text a line", path.display()))
}

/// Tensors by the names of the model's inputs: `{"input_ids": [[101, 7, 102]]}`.
fn tensors(path: &Path) -> anyhow::Result<NamedTensors> {
    use anyhow::Context as _;
    let name = || path.display().to_string();
    let document: serde_json::Value = serde_json::from_str(&read(path)?).with_context(name)?;
    tensors_from_json(&document).with_context(name)
}

fn print_summary(record: &RunRecord) {
    let row = |name: &str, text: String| print::line(format!("{name:<14} {text}"));
    if let Some(model) = &record.model {
        row("model", format!("{}, {} ({} parameters)", model.name, model.task, print::count(model.parameters)));
    }
    if let Some(kind) = record.implementation_type {
        row("ran as", format!("{kind}{}", whereabouts(record)));
    }
    if let Some(input) = &record.input {
        input_rows(input).into_iter().for_each(|(name, text)| row(name, text));
    }
    if let Some(choice) = &record.choice {
        row("chosen", choice.reason.clone());
    }
    if let Some(webnn) = &record.webnn {
        let devices =
            webnn.reported_devices.as_ref().map(|devices| format!(", by the browser's word on {}", devices.join(", ")));
        let devices = devices.unwrap_or_default();
        let parts = webnn.parallel_parts.filter(|parts| *parts > 1);
        let parts = parts.map(|parts| format!(", {parts} parts side by side")).unwrap_or_default();
        row("webnn", format!("{} asked for{devices}; lowering {}{parts}", webnn.requested, webnn.lowering));
    }
    if let Some(browser) = &record.browser {
        row("browser", format!("{} {}, ready after {:.0} ms", browser.name, browser.version, browser.start_ms));
    }
    if let Some(made) = &record.quantization {
        let attention =
            if made.mixed_precision { format!(", attention {}", made.attention_bits) } else { String::new() };
        let group = made.group_size.map(|size| format!(" of {size}")).unwrap_or_default();
        let scheme = format!("{:?}", made.scheme).to_lowercase();
        row(
            "quantization",
            format!(
                "{} bits{attention}, embeddings {}, activations {}, {scheme}, by {}{group}",
                made.bits, made.embedding_bits, made.activation_bits, made.granularity
            ),
        );
    }
    metric_rows(record).into_iter().for_each(|(name, text)| row(name, text));
    for fallback in &record.fallbacks {
        row("fallback", format!("{} to {}: {}", fallback.from, fallback.to, fallback.reason));
    }
    if let Some(rows) = &record.profile {
        let cells = rows.iter().map(|row| vec![row.operator.clone(), row.kernel.clone(), format!("{:.3}", row.ms)]);
        print::line(print::table(&["operator", "kernel", "ms"], &cells.collect::<Vec<_>>()));
    }
    if let Some(output) = &record.output {
        print_output(output);
    }
}

/// What was put before texts, and which of them were cut.
fn input_rows(input: &InputInfo) -> Vec<(&'static str, String)> {
    let prompt = input.prompt_name.iter().map(|name| ("prompt", format!("`{name}`, before each text")));
    let tokens = input.tokens_kept.iter().flatten().enumerate().filter(|(_, tokens)| tokens.is_cut());
    let cut =
        tokens.map(|(index, tokens)| ("cut", format!("text {index} to {} of its {} tokens", tokens.kept, tokens.of)));
    prompt.chain(cut).collect()
}

/// Where it ran, as far as the label does not say so.
fn whereabouts(record: &RunRecord) -> String {
    if let Some(place) = &record.simulated_in {
        return format!(": the CPU stood in, in the {place}; its time says nothing about {}", record.platform);
    }
    if record.using_transformers_js == Some(true) {
        return " by transformers.js".into();
    }
    let Some(adapter) = &record.adapter else { return String::new() };
    let kind = if adapter.hardware { "hardware" } else { "software: its times say nothing about a GPU" };
    format!(" on {} {} ({kind})", adapter.vendor, adapter.architecture)
}

fn metric_rows(record: &RunRecord) -> Vec<(&'static str, String)> {
    let metrics = &record.performance_metrics;
    let times = |times: Times| {
        let doubt = if times.spread_widely() { ": they spread widely" } else { "" };
        format!("{:.2} ms p50, {:.2} p90, {:.2} min of {}{doubt}", times.p50, times.p90, times.min, times.runs)
    };
    let mut rows = Vec::new();
    if let Some(start) = metrics.start_to_first_result_ms {
        rows.push((
            "first answer",
            format!(
                "after {:.0} ms: browser {:.0}, page {:.0}, beside them model and package {:.0}; loading {:.0}, first inference {:.0}",
                start.total, start.browser, start.page, start.model + start.package, start.load, start.first_inference
            ),
        ));
    }
    if let Some(load) = metrics.initialization_time_ms {
        rows.push(("loading", format!("{:.0} ms, of these {:.0} fetching", load.total, load.fetch)));
    }
    if let Some(first) = metrics.first_inference_time_ms {
        rows.push(("first", format!("{first:.2} ms")));
    }
    if let Some(warmup) = metrics.warmup {
        let doubt = if warmup.steady == Some(false) { ": times were not steady yet" } else { "" };
        rows.push(("warming up", format!("{} runs, {:.0} ms{doubt}", warmup.runs, warmup.ms)));
    }
    rows.extend(metrics.inference_time_ms.map(|found| ("inference", times(found))));
    rows.extend(metrics.cpu_time_ms.map(|found| ("on the CPU", times(found))));
    rows.extend(metrics.gpu_time_ms.map(|found| ("on the GPU", times(found))));
    if let Some(first) = metrics.time_to_first_token_ms {
        rows.push(("first token", format!("after {first:.0} ms")));
    }
    if let Some(TokensPerSec { prefill, decode }) = metrics.tokens_per_sec {
        // A software adapter may take many seconds for one.
        let speed = |tokens: f64| if tokens < 10.0 { format!("{tokens:.2}") } else { format!("{tokens:.0}") };
        let decode = decode.map(|decode| format!(", {} generated", speed(decode))).unwrap_or_default();
        rows.push(("tokens/s", format!("{} of the prompt{decode}", speed(prefill))));
    }
    if let Some(items) = metrics.throughput_items_per_sec {
        rows.push(("throughput", format!("{items:.1} items/s")));
    }
    if let Some(bytes) = metrics.memory.weights_bytes {
        let reduction = metrics.memory_reduction_percent.and_then(|reduction| reduction.measured);
        let reduction = reduction.map(beside_f16).unwrap_or_default();
        rows.push(("weights", format!("{}{reduction}", print::megabytes(bytes))));
    }
    if let Some(error) = metrics.quantization_error {
        rows.push(("against f32", format!("cosine {:.5}, rmse {:.2e}", error.cosine, error.rmse)));
    }
    rows.extend(metrics.not_compared.iter().map(|reason| ("against f32", reason.clone())));
    rows
}

/// A reduction against f16 in words: at 32 bits it is an increase.
fn beside_f16(percent: f64) -> String {
    match (percent.abs() < 0.05, percent > 0.0) {
        (true, _) => ", as much as in f16".into(),
        (_, true) => format!(", {percent:.1} % less than in f16"),
        (_, false) => format!(", {:.1} % more than in f16", -percent),
    }
}

fn print_output(output: &Output) {
    let shown = |numbers: &[f32]| {
        let some: Vec<_> = numbers.iter().take(SHOWN_NUMBERS).map(|number| format!("{number:.4}")).collect();
        let more = if numbers.len() > SHOWN_NUMBERS { ", …" } else { "" };
        format!("[{}{more}] ({})", some.join(", "), numbers.len())
    };
    match output {
        Output::Embeddings { embeddings } => {
            embeddings.iter().for_each(|embedding| print::line(format!("{:<14} {}", "embedding", shown(embedding))));
        }
        Output::Labels { labels } => {
            labels.iter().enumerate().for_each(|(item, labels)| print_labels(item, labels));
        }
        // The text was shown as it came.
        Output::Text { text, tokens, finish_reason } => {
            if text.is_none() {
                print::line(format!("{:<14} {tokens:?}", "tokens"));
            }
            print::line(format!("{:<14} after {} tokens: {finish_reason}", "ended", tokens.len()));
        }
        Output::Tensors { tensors } => tensors.iter().for_each(|(name, tensor)| {
            print::line(format!("{name:<14} {:?} {}", tensor.shape, shown(&tensor.data)));
        }),
    }
}

/// The labels of an item, the likeliest first.
fn print_labels(item: usize, labels: &[Label]) {
    for (index, Label { label, probability }) in labels.iter().enumerate() {
        let name = if index == 0 { format!("image {item}") } else { String::new() };
        print::line(format!("{name:<14} {:>5.1} % {label}", probability * 100.0));
    }
}

#[cfg(test)]
mod tests {
    use super::beside_f16;

    #[test]
    fn more_is_not_called_less() {
        let told = [75.0, 0.02, -0.0, -100.0].map(beside_f16);
        assert_eq!(
            told,
            [", 75.0 % less than in f16", ", as much as in f16", ", as much as in f16", ", 100.0 % more than in f16"]
        );
    }
}
