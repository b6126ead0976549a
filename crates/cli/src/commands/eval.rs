//! `webnibble eval`: accuracy per bit width, in a table.

use std::process::ExitCode;

use webnibble_host::eval::{Agreement, Eval, EvalRequest, EvalRow, Place, eval};

use super::run::sink;
use super::{failed, wrong_arguments};
use crate::args::EvalArgs;
use crate::print;
use crate::progress::Bar;

/// Evaluates, or says what failed.
pub(crate) async fn run(args: EvalArgs, json: bool, verbose: bool) -> ExitCode {
    if args.lacks_platform() {
        let message = "options of the execution are for a page, and this machine's processor is to compute";
        return wrong_arguments(message, "name a platform: --platform webgpu, webnn or wasm", json);
    }
    let bar = Bar::new(!json && !verbose);
    let options = args.options();
    let request = EvalRequest {
        model: args.model,
        data: args.data,
        limit: args.limit,
        bits: args.bits,
        prompt: args.prompts.choice(),
        options,
        verbose,
        progress: Some(sink(&bar)),
    };
    let found = eval(request).await;
    bar.clear();
    match found {
        Ok(eval) if json => print::json(&eval),
        Ok(eval) => print_eval(&eval),
        Err(error) => return failed(&error, json),
    }
    ExitCode::SUCCESS
}

fn print_eval(eval: &Eval) {
    print::line(format!("{} on {} pairs of {}", eval.model, eval.pairs, eval.data.display()));
    if let Some(name) = &eval.prompt_name {
        print::line(format!("with the model's prompt `{name}` before each sentence"));
    }
    print::line(match (eval.computed_in, &eval.browser) {
        (Place::Browser, Some(browser)) => format!("computed in {} {}", browser.name, browser.version),
        _ => "computed on this machine's processor, in no browser".to_owned(),
    });
    if let Some(adapter) = &eval.adapter {
        let kind = if adapter.hardware { "hardware" } else { "software" };
        print::line(format!("WebGPU adapter: {} {} ({kind})", adapter.vendor, adapter.architecture));
    }
    print::line("");
    let header = [
        "bits",
        "activations",
        "attention",
        "format",
        "ran as",
        "package MB",
        "spearman",
        "pearson",
        "cosine to f32",
        "rmse",
    ];
    let mut rows: Vec<Vec<String>> = eval.f32.iter().map(reference_cells).collect();
    rows.extend(eval.rows.iter().map(cells));
    print::line(print::table(&header, &rows));
    for fallback in eval.rows.iter().flat_map(|row| &row.fallbacks) {
        print::line(format!("fallback: {} to {}: {}", fallback.from, fallback.to, fallback.reason));
    }
}

fn reference_cells(found: &Agreement) -> Vec<String> {
    let dash = || "-".to_owned();
    let head = ["f32", "floats", "f32", "floats", "native"].map(str::to_owned);
    [head.to_vec(), vec![dash(), number(found.spearman, 4), number(found.pearson, 4), dash(), dash()]].concat()
}

fn cells(row: &EvalRow) -> Vec<String> {
    let scheme = format!("{:?}", row.scheme).to_lowercase();
    let group = row.group_size.map(|size| format!(" {size}")).unwrap_or_default();
    let format =
        if row.bits.is_integer() { format!("{scheme}, {}{group}", row.granularity) } else { "floats".to_owned() };
    let activations = row.int8_linears.map_or_else(|| "floats".to_owned(), |count| format!("int8 in {count}"));
    vec![
        row.bits.to_string(),
        activations,
        row.attention_bits.to_string(),
        format,
        row.implementation_type.map_or_else(|| "native".to_owned(), |kind| kind.to_string()),
        format!("{:.1}", row.package_bytes as f64 / 1e6),
        number(row.agreement.spearman, 4),
        number(row.agreement.pearson, 4),
        number(row.against_f32.map(|error| error.cosine), 5),
        row.against_f32.map_or_else(|| "-".to_owned(), |error| format!("{:.2e}", error.rmse)),
    ]
}

fn number(found: Option<f64>, digits: usize) -> String {
    found.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
