//! Text of a real model, as it is typed and as it comes.

use webnibble_common::generate::FinishReason;
use webnibble_common::io::Output;
use webnibble_common::record::RunRecord;
use webnibble_tests::{Sandbox, browser_available, skip_unless, smol_lm, smol_lm_available};

const PROMPT: &str = "The capital of France is";

fn arguments(platform: &'static str, bits: &'static str) -> Vec<String> {
    let model = smol_lm().to_str().unwrap().to_owned();
    let args =
        ["run", "--gpu", "software", "--no-fallback", "--platform", platform, "--bits", bits, "--prompt", PROMPT];
    args.map(str::to_owned).into_iter().chain(["--model".to_owned(), model]).collect()
}

/// The record of a text.
#[track_caller]
fn said(sandbox: &Sandbox, platform: &'static str, bits: &'static str, options: &[&str]) -> RunRecord {
    let args = arguments(platform, bits);
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--json"]).chain(options.iter().copied()).collect();
    let finished = sandbox.run(&args);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap()
}

#[track_caller]
fn text(record: &RunRecord) -> (&str, FinishReason) {
    match &record.output {
        Some(Output::Text { text: Some(text), finish_reason, .. }) => (text, *finish_reason),
        other => panic!("expected a text, found {other:?}"),
    }
}

#[track_caller]
fn it_knows_the_capital_of_france(platform: &'static str) {
    let sandbox = Sandbox::default();
    for bits in ["8", "4"] {
        let record = said(&sandbox, platform, bits, &["--max-tokens", "2"]);
        let (said, reason) = text(&record);
        println!("SmolLM2 on {platform} at {bits} bits: {said:?}, {:?}", record.performance_metrics.tokens_per_sec);
        assert!(said.starts_with(" Paris"), "{platform} at {bits} bits: {said:?}");
        assert_eq!(reason, FinishReason::MaxTokens);
        assert_eq!(record.model.unwrap().task, "text-generation");
    }
    sandbox.assert_clean();
}

#[test]
fn a_real_model_on_wasm_knows_the_capital_of_france() {
    skip_unless!(browser_available(), smol_lm_available());
    it_knows_the_capital_of_france("wasm");
}

#[test]
fn a_real_model_on_webgpu_knows_the_capital_of_france() {
    skip_unless!(browser_available(), smol_lm_available());
    it_knows_the_capital_of_france("webgpu");
}

#[test]
fn a_text_is_shown_as_it_comes_and_ends_where_it_is_to() {
    skip_unless!(browser_available(), smol_lm_available());
    let sandbox = Sandbox::default();
    let record = said(&sandbox, "wasm", "8", &["--max-tokens", "40", "--stop", "."]);
    assert_eq!(text(&record), (" Paris", FinishReason::StopString));
    let args = arguments("wasm", "8");
    let args: Vec<&str> = args.iter().map(String::as_str).chain(["--max-tokens", "40", "--stop", "."]).collect();
    let finished = sandbox.run(&args);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.starts_with(" Paris\n"), "{}", finished.stdout);
    assert!(finished.stdout.contains("stop_string") && finished.stdout.contains("tokens/s"), "{}", finished.stdout);
    sandbox.assert_clean();
}
