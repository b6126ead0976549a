//! `webnibble quantize`: writes a package, and prints what it cost; or tries one tensor.

use std::process::ExitCode;

use serde_json::json;
use webnibble_common::options::{Options, Platform};
use webnibble_common::quant::ErrorStats;
use webnibble_host::loader::Model;
use webnibble_host::quantizer::{
    QuantizeOptions, QuantizeReport, TensorSource, quantize, quantize_tensor, write_package,
};
use webnibble_host::run::{family, resolve};
use webnibble_host::{HostError, prepare};

use crate::args::QuantizeArgs;
use crate::print;
use crate::progress::Bar;

/// Quantizes on a thread of its own, so that Ctrl-C is heard.
pub(crate) async fn run(args: QuantizeArgs, json: bool) -> ExitCode {
    let bar = Bar::new(!json);
    let work = {
        let bar = bar.clone();
        tokio::task::spawn_blocking(move || work(&args, json, &bar))
    };
    let done = work.await;
    bar.clear();
    match done {
        Ok(Ok(text)) => {
            print::line(text);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            print::error(&error.info());
            if error.code() == "bad_options" { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
        Err(error) => {
            print::message(&format!("error: quantizing failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is to be printed.
fn work(args: &QuantizeArgs, json: bool, bar: &Bar) -> Result<String, HostError> {
    match &args.tensor {
        Some(source) => one_tensor(args, source, json),
        None => model(args, json, bar),
    }
}

fn options(args: &QuantizeArgs, family: &str) -> Result<QuantizeOptions, HostError> {
    let options = Options { settings: args.quantization.settings(), ..Options::default() };
    Ok(QuantizeOptions::from(&resolve(&options, Platform::Webgpu, family)?.settings))
}

fn one_tensor(args: &QuantizeArgs, source: &TensorSource, json: bool) -> Result<String, HostError> {
    let report = quantize_tensor(source, &options(args, "")?)?;
    let stats = report.stats();
    if json {
        let document = json!({ "name": report.name, "shape": report.shape, "format": report.format.to_string(),
            "stats": stats, "nominal_reduction_percent": report.format.bits.nominal_reduction_percent(),
            "reduction_percent_f16": stats.reduction_percent_f16(), "reduction_percent_f32": stats.reduction_percent_f32() });
        return Ok(print::pretty(&document));
    }
    let row = row(&report.name, &format!("{:?}", report.shape), &report.format.to_string(), &stats);
    Ok(print::table(&HEADER, &[row]))
}

fn model(args: &QuantizeArgs, json: bool, bar: &Bar) -> Result<String, HostError> {
    let (input, output) = (args.input.as_deref().unwrap_or_default(), args.output.as_deref());
    let model = Model::load(input, &mut |at| bar.show(at.what, at.done, at.total, false))?;
    let Model::Folder(folder) = &model else {
        // Says which options the package does not keep, or else that it is one.
        prepare::settings_for(&model, &args.quantization.settings())?;
        return Err(HostError::NotYet {
            what: "quantizing a package again".into(),
            instead: "give the model's folder in Hugging Face layout".into(),
        });
    };
    let options = options(args, family(&model))?;
    let quantized = quantize(folder, &options, &mut |at| bar.show(at.what, at.done, at.total, false))?;
    let output = output.unwrap_or_else(|| std::path::Path::new("model.safetensors"));
    let package = write_package(&quantized, output)?;
    let bytes = package.header.total_bytes;
    if json {
        let groups: Vec<_> = quantized
            .report
            .groups()
            .iter()
            .map(|group| {
                json!({ "role": group.role,
            "format": group.format.to_string(), "tensors": group.tensors, "stats": group.stats })
            })
            .collect();
        let document = json!({ "package": output, "digest": package.header.digest, "bytes": bytes,
            "options": options, "groups": groups, "total": quantized.report.total(), "dropped": quantized.report.dropped });
        return Ok(print::pretty(&document));
    }
    Ok(format!("{}\n\n{}: {}", groups(&quantized.report), output.display(), print::megabytes(bytes)))
}

const HEADER: [&str; 10] =
    ["weights of", "number", "format", "weights", "mean abs", "rmse", "max", "cosine", "MB", "% off f16"];

fn groups(report: &QuantizeReport) -> String {
    let name = |role| format!("{role:?}").to_lowercase();
    let mut rows: Vec<_> = report
        .groups()
        .iter()
        .map(|group| row(&name(group.role), &group.tensors.to_string(), &group.format.to_string(), &group.stats))
        .collect();
    rows.push(row("all", &report.tensors.len().to_string(), "", &report.total()));
    print::table(&HEADER, &rows)
}

fn row(name: &str, number: &str, format: &str, stats: &ErrorStats) -> Vec<String> {
    vec![
        name.to_owned(),
        number.to_owned(),
        format.to_owned(),
        print::count(stats.weights),
        format!("{:.2e}", stats.mean_abs),
        format!("{:.2e}", stats.rmse),
        format!("{:.2e}", stats.max_abs),
        format!("{:.6}", stats.cosine),
        format!("{:.2}", stats.bytes as f64 / 1e6),
        format!("{:.1}", stats.reduction_percent_f16()),
    ]
}
