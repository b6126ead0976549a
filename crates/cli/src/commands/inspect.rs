//! `webnibble inspect`: what is in a model file.

use std::process::ExitCode;

use webnibble_host::HostError;
use webnibble_host::loader::{Inspection, find, inspect};

use super::{broken, failed};
use crate::args::InspectArgs;
use crate::print;

/// Lists family, shapes, types and sizes.
pub(crate) async fn run(args: InspectArgs, json: bool) -> ExitCode {
    let looked = tokio::task::spawn_blocking(move || {
        let found = find(&args.model, &mut |_| {})?;
        Ok::<_, HostError>(inspect(&found.path, &found.name)?)
    });
    match looked.await {
        Ok(Ok(inspection)) if json => print::json(&inspection),
        Ok(Ok(inspection)) => print_inspection(&inspection),
        Ok(Err(error)) => return failed(&error, json),
        Err(error) => return broken("inspecting", &error, json),
    }
    ExitCode::SUCCESS
}

fn print_inspection(found: &Inspection) {
    let row = |name: &str, text: String| print::line(format!("{name:<12} {text}"));
    row("model", found.name.clone());
    row("kind", format!("{:?}", found.kind).to_lowercase());
    row("family", found.family.clone().unwrap_or_else(|| "not known".into()));
    if let Some(problem) = &found.problem {
        row("problem", problem.clone());
    }
    row("parameters", print::count(found.parameters));
    row("size", print::megabytes(found.total_bytes));
    if let Some(sentence) = &found.sentence {
        let normalized = if sentence.normalize { ", normalized" } else { "" };
        row("embedding", format!("{:?} pooling{normalized}", sentence.pooling).to_lowercase());
    }
    if let Some(made) = &found.quantization {
        row(
            "quantization",
            format!("{} bits, attention {}, embeddings {}", made.bits, made.attention_bits, made.embedding_bits),
        );
    }
    if let Some(known) = &found.activations {
        row(
            "activations",
            format!("ranges for {} linears, from {} texts of {}", known.linears, known.samples, known.source),
        );
    }
    if let Some(digest) = &found.digest {
        row("digest", digest.clone());
    }
    let used = |used: Option<bool>| match used {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let cells = |tensor: &webnibble_host::loader::InspectedTensor| {
        let (shape, bytes) = (format!("{:?}", tensor.shape), print::count(tensor.bytes));
        vec![tensor.name.clone(), shape, tensor.format.clone(), bytes, used(tensor.used).to_owned()]
    };
    print::line("");
    print::line(print::table(
        &["tensor", "shape", "format", "bytes", "used"],
        &found.tensors.iter().map(cells).collect::<Vec<_>>(),
    ));
}
