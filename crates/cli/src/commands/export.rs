//! `webnibble export --onnx`: the same model with the same quantized weights, for other engines.

use std::process::ExitCode;

use serde_json::json;
use webnibble_common::options::{Options, Platform};
use webnibble_host::loader::Model;
use webnibble_host::onnx::{self, OnnxOptions};
use webnibble_host::output::{check_not_read, check_outputs};
use webnibble_host::run::{family, resolve};
use webnibble_host::{HostError, prepare};

use super::{broken, failed};
use crate::args::ExportArgs;
use crate::print;
use crate::progress::Bar;

/// Exports on a thread of its own, so that Ctrl-C is heard.
pub(crate) async fn run(args: ExportArgs, json: bool) -> ExitCode {
    let bar = Bar::new(!json);
    let work = {
        let bar = bar.clone();
        tokio::task::spawn_blocking(move || export(&args, json, &bar))
    };
    let done = work.await;
    bar.clear();
    match done {
        Ok(Ok(text)) => {
            print::line(text);
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => failed(&error, json),
        Err(error) => broken("exporting", &error, json),
    }
}

/// What is to be printed.
fn export(args: &ExportArgs, json: bool, bar: &Bar) -> Result<String, HostError> {
    let mut progress = |at: webnibble_host::loader::Progress<'_>| bar.show(at.what, at.done, at.total, false);
    let model = Model::load(&args.input, &mut progress)?;
    let settings = prepare::settings_for(&model, &args.quantization.settings(), Platform::Webgpu)?;
    let options = Options { settings, ..Options::default() };
    let resolved = resolve(&options, Platform::Webgpu, family(&model))?;
    let form = OnnxOptions { form: args.form, half: args.half, accuracy_level: args.accuracy_level };
    let outputs = onnx::outputs(&args.output, resolved.settings.bits.value, form);
    match onnx::is_export(&args.output) {
        true => check_not_read(&outputs, &[model.path()])?,
        false => check_outputs(&outputs, &[model.path()])?,
    }
    let package = prepare::package(&model, &resolved.settings, Platform::Webgpu, &mut progress)?;
    bar.step("writing ONNX");
    let written = package.read(|file| onnx::write(file, form, &args.output))?;
    if json {
        let document = json!({ "onnx": written.path, "bytes": written.bytes, "digest": package.header.digest,
            "bits": package.header.meta.quantization.bits, "opset": onnx::OPSET });
        return Ok(print::pretty(&document));
    }
    Ok(format!("{}: {}", written.path.display(), print::megabytes(written.bytes)))
}
