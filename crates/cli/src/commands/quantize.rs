//! `webnibble quantize`: writes a package, and prints what it cost; or tries one tensor.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use webnibble_common::options::{Options, Platform};
use webnibble_common::quant::{Bits, ErrorStats};
use webnibble_host::calibrate::{ActivationReport, CalibrationData};
use webnibble_host::loader::Model;
use webnibble_host::output::check_outputs;
use webnibble_host::quantizer::{
    QuantizeError, QuantizeOptions, QuantizeReport, TensorSource, quantize_tensor, quantize_with, write_package,
};
use webnibble_host::run::{family, resolve};
use webnibble_host::{HostError, prepare};

use super::{broken, failed};
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
        Ok(Err(error)) => failed(&error, json),
        Err(error) => broken("quantizing", &error, json),
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
    let mut settings = args.quantization.settings();
    if args.calibrate.is_some() && settings.calibrated_weights.is_none() && settings.activation_bits.is_none() {
        match settings.bits {
            Some(Bits::B2 | Bits::B4) => settings.calibrated_weights = Some(true),
            _ => settings.activation_bits = Some(Bits::B8),
        }
    }
    // Ranges are measured for WebNN alone: wasm finds its own as it computes.
    let platform = if settings.activation_bits == Some(Bits::B8) { Platform::Webnn } else { Platform::Webgpu };
    let options = Options { settings, ..Options::default() };
    Ok(QuantizeOptions::from(&resolve(&options, platform, family)?.settings))
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
        prepare::settings_for(&model, &args.quantization.settings(), Platform::Webnn)?;
        let what = if let Model::Onnx(_) = model { "quantizing ONNX weights" } else { "quantizing a package again" };
        return Err(HostError::NotYet {
            what: what.into(),
            instead: "give the model's folder in Hugging Face layout".into(),
        });
    };
    let options = options(args, family(&model))?;
    let output = output.unwrap_or_else(|| Path::new("model.safetensors"));
    let reads: Vec<&Path> = args.calibrate.iter().map(PathBuf::as_path).chain([model.path()]).collect();
    check_outputs(&[output.to_owned()], &reads)?;
    let data = match &args.calibrate {
        Some(path) => CalibrationData::read(path).map_err(QuantizeError::from)?,
        None => CalibrationData::built_in(),
    };
    let quantized = quantize_with(folder, &options, &data, &mut |at| bar.show(at.what, at.done, at.total, false))?;
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
            "options": options, "groups": groups, "total": quantized.report.total(), "dropped": quantized.report.dropped,
            "calibration": quantized.report.calibration });
        return Ok(print::pretty(&document));
    }
    let calibration = quantized.report.calibration.as_ref().map(calibration).unwrap_or_default();
    Ok(format!("{}\n\n{calibration}{}: {}", groups(&quantized.report), output.display(), print::megabytes(bytes)))
}

/// Which operators are int8, and what that costs on the sample.
fn calibration(report: &ActivationReport) -> String {
    let int8 = report.linears.iter().filter(|linear| linear.int8).count();
    let floats: Vec<&str> = report.floats().map(|linear| linear.name.as_str()).collect();
    let floats = if floats.is_empty() { String::new() } else { format!("\nin floats: {}", floats.join(", ")) };
    format!(
        "activations in int8 in {int8} of {} linear operators, calibrated on {} texts of {}\n\
         mean cosine to f32 on them: {:.5}; {:.5} with activations in floats{floats}\n\n",
        report.linears.len(),
        report.samples,
        report.source,
        report.cosine,
        report.cosine_weights_only,
    )
}

const HEADER: [&str; 10] =
    ["weights of", "number", "format", "weights", "mean abs", "rmse", "max", "cosine", "MB", "% of f16"];

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
        format!("{:.1}", 100.0 - stats.reduction_percent_f16()),
    ]
}
