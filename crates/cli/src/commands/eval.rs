//! `webnibble eval`: accuracy per bit width, in a table.

use std::process::ExitCode;

use webnibble_host::eval::{
    Agreement, Eval, EvalRequest, EvalRow, Evaluation, PackageFormat, Place, TextEval, TextRow, eval,
};

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
        Ok(Evaluation::Pairs(eval)) => print_eval(&eval),
        Ok(Evaluation::Text(eval)) => print_text(&eval),
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

fn print_text(eval: &TextEval) {
    let (tokens, window) = (eval.tokens, eval.window_tokens);
    print::line(format!("{} on {tokens} tokens of {}, {window} at once", eval.model, eval.data.display()));
    print::line("computed on this machine's processor, in no browser");
    if let Some(forced) = eval.forced_tokens {
        print::line(format!("agreement: of {forced} tokens that f32 chose, those that are the likeliest here too"));
    }
    print::line("");
    let header = ["bits", "attention", "format", "package MB", "perplexity", "top 1", "agreement with f32"];
    let dash = || "-".to_owned();
    let in_f32 = eval.f32.iter().map(|found| {
        let head = ["f32", "f32", "floats"].map(str::to_owned);
        [&head[..], &[dash(), format!("{:.3}", found.perplexity), format!("{:.4}", found.top1), dash()]].concat()
    });
    let rows: Vec<Vec<String>> = in_f32.chain(eval.rows.iter().map(text_cells)).collect();
    print::line(print::table(&header, &rows));
}

fn text_cells(row: &TextRow) -> Vec<String> {
    vec![
        row.format.bits.to_string(),
        row.format.attention_bits.to_string(),
        stored_as(&row.format),
        format!("{:.1}", row.format.package_bytes as f64 / 1e6),
        format!("{:.3}", row.scores.perplexity),
        format!("{:.4}", row.scores.top1),
        number(row.forced_agreement, 4),
    ]
}

/// Scheme and groups of integers.
fn stored_as(format: &PackageFormat) -> String {
    let scheme = format!("{:?}", format.scheme).to_lowercase();
    let group = format.group_size.map(|size| format!(" {size}")).unwrap_or_default();
    if format.bits.is_integer() { format!("{scheme}, {}{group}", format.granularity) } else { "floats".to_owned() }
}

fn reference_cells(found: &Agreement) -> Vec<String> {
    let dash = || "-".to_owned();
    let head = ["f32", "floats", "f32", "floats", "native"].map(str::to_owned);
    [head.to_vec(), vec![dash(), number(found.spearman, 4), number(found.pearson, 4), dash(), dash()]].concat()
}

fn cells(row: &EvalRow) -> Vec<String> {
    let activations = row.int8_linears.map_or_else(|| "floats".to_owned(), |count| format!("int8 in {count}"));
    vec![
        row.format.bits.to_string(),
        activations,
        row.format.attention_bits.to_string(),
        stored_as(&row.format),
        row.implementation_type.map_or_else(|| "native".to_owned(), |kind| kind.to_string()),
        format!("{:.1}", row.format.package_bytes as f64 / 1e6),
        number(row.agreement.spearman, 4),
        number(row.agreement.pearson, 4),
        number(row.against_f32.map(|error| error.cosine), 5),
        row.against_f32.map_or_else(|| "-".to_owned(), |error| format!("{:.2e}", error.rmse)),
    ]
}

fn number(found: Option<f64>, digits: usize) -> String {
    found.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
