//! The golden LLaMA: scores of the next token in browsers, against those of transformers.

use webnibble_common::generate::FinishReason;
use webnibble_common::io::Output;
use webnibble_common::record::RunRecord;
use webnibble_tests::{Sandbox, browser_available, firefox, golden_model, skip_unless};

use crate::golden::{cosine, error, golden_tensors, input_file, run_golden_model};

/// Runs it on WebGPU and on the CPU of a browser, at 32 bits and at fewer.
#[track_caller]
fn scores_are_those_of_transformers(browser: &[&str]) {
    let sandbox = Sandbox::default();
    let input = input_file(&sandbox, &golden_tensors("llama", "in."));
    let expected = golden_tensors("llama", "out.").into_iter().find(|(name, _)| name == "logits").unwrap().1;
    for (platform, real) in [("webgpu", "REAL_WEBGPU"), ("wasm", "REAL_WASM")] {
        for (bits, least) in [("32", None), ("8", Some(0.999)), ("4", Some(0.95))] {
            let options =
                ["--platform", platform, "--bits", bits, "--runs", "1", "--no-fallback", "--output", "logits"];
            let record = run_golden_model(&sandbox, "llama", &input, &[&options[..], browser].concat());
            assert_eq!(record.implementation_type.unwrap().to_string(), real);
            let Some(Output::Tensors { tensors }) = &record.output else { panic!("{:?}", record.output) };
            let (found, expected) = (&tensors["logits"], expected.as_f32().unwrap());
            assert_eq!(found.shape, [1, 16, 256]);
            let (off, near) = (error(&found.data, expected), cosine(&found.data, expected));
            println!("golden LLaMA on {platform} at {bits} bits: error {off:.1e}, cosine {near:.6}");
            assert!(least.map_or(off <= 1e-3, |least| near >= least), "{platform} at {bits} bits: {off:.1e}, {near}");
        }
    }
    sandbox.assert_clean();
}

#[test]
fn in_chromium_scores_are_those_of_transformers() {
    skip_unless!(browser_available());
    scores_are_those_of_transformers(&[]);
}

#[test]
fn in_firefox_scores_are_those_of_transformers() {
    skip_unless!(firefox());
    let browser = firefox().expect("looked for before");
    scores_are_those_of_transformers(&browser.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The prompt's ids as a file, and what transformers goes on with.
fn prompt(sandbox: &Sandbox) -> (String, Vec<u32>) {
    let ids = golden_tensors("llama", "in.").remove(0).1.as_u32().unwrap().to_vec();
    let outputs = golden_tensors("llama", "out.");
    let greedy = outputs.into_iter().find(|(name, _)| name == "greedy").unwrap().1.as_u32().unwrap().to_vec();
    let path = sandbox.path().join("prompt");
    std::fs::write(&path, ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")).unwrap();
    (path.to_str().unwrap().to_owned(), greedy[ids.len()..].to_vec())
}

/// Has it go on from the golden prompt.
#[track_caller]
fn gone_on(sandbox: &Sandbox, ids: &str, options: &[&str]) -> RunRecord {
    let model = golden_model("llama");
    let args = ["run", "--json", "--gpu", "software", "--model", model.to_str().unwrap(), "--bits", "32", "--ids", ids];
    let finished = sandbox.run(&[&args, &["--no-fallback", "--ignore-eos"][..], options].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    serde_json::from_str(&finished.stdout).unwrap()
}

#[track_caller]
fn tokens(record: &RunRecord) -> (&[u32], FinishReason) {
    let Some(Output::Text { text: None, tokens, finish_reason }) = &record.output else {
        panic!("{:?}", record.output)
    };
    (tokens, *finish_reason)
}

#[track_caller]
fn tokens_are_those_of_transformers(browser: &[&str]) {
    let sandbox = Sandbox::default();
    let (ids, expected) = prompt(&sandbox);
    for (platform, real) in [("webgpu", "REAL_WEBGPU"), ("wasm", "REAL_WASM")] {
        let options = ["--platform", platform, "--max-tokens", "16"];
        let record = gone_on(&sandbox, &ids, &[&options[..], browser].concat());
        assert_eq!(record.implementation_type.unwrap().to_string(), real);
        assert_eq!(tokens(&record), (&expected[..], FinishReason::MaxTokens), "{platform}");
        let metrics = &record.performance_metrics;
        let speed = metrics.tokens_per_sec.expect("it was measured");
        assert!(metrics.time_to_first_token_ms.unwrap() > 0.0 && speed.decode.unwrap() > 0.0 && speed.prefill > 0.0);
        assert_eq!(metrics.inference_time_ms, None, "it ran once");
    }
    sandbox.assert_clean();
}

#[test]
fn in_chromium_tokens_are_those_of_transformers() {
    skip_unless!(browser_available());
    tokens_are_those_of_transformers(&[]);
}

#[test]
fn in_firefox_tokens_are_those_of_transformers() {
    skip_unless!(firefox());
    let browser = firefox().expect("looked for before");
    tokens_are_those_of_transformers(&browser.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn it_ends_with_the_context_and_draws_the_same_tokens_by_a_seed() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (ids, expected) = prompt(&sandbox);
    let whole = gone_on(&sandbox, &ids, &["--platform", "wasm", "--max-tokens", "1000"]);
    let (said, reason) = tokens(&whole);
    // Of 128 positions the prompt has 16; what is chosen behind the last one is not run.
    assert_eq!((said.len(), reason), (113, FinishReason::ContextFull));
    assert_eq!(said[..16], expected);
    let drawn = |platform| {
        let options =
            ["--platform", platform, "--max-tokens", "24", "--seed", "7", "--temperature", "1.5", "--top-k", "40"];
        tokens(&gone_on(&sandbox, &ids, &options)).0.to_vec()
    };
    let (on_wasm, on_webgpu) = (drawn("wasm"), drawn("webgpu"));
    assert_eq!(on_wasm, on_webgpu, "the same noise, and scores that are the same up to rounding");
    assert!(on_wasm != said[..24]);
    sandbox.assert_clean();
}

#[test]
fn what_cannot_be_gone_on_from_is_an_error() {
    let sandbox = Sandbox::default();
    let (ids, _) = prompt(&sandbox);
    let (llama, bert) = (golden_model("llama"), golden_model("bert"));
    let long = sandbox.path().join("long");
    std::fs::write(&long, vec!["3"; 129].join(" ")).unwrap();
    let two = sandbox.path().join("two");
    std::fs::write(&two, "1 2\n3 4\n").unwrap();
    let [llama, bert, long, two] = [&llama, &bert, &long, &two].map(|path| path.to_str().unwrap());
    for (model, options, message) in [
        (bert, vec!["--ids", &ids, "--max-tokens", "4"], "scores no next token"),
        (llama, vec!["--ids", long, "--max-tokens", "4"], "has 129 tokens, the model takes 128"),
        (llama, vec!["--ids", two, "--max-tokens", "4"], "one text or one row of ids"),
        (
            llama,
            vec!["--ids", &ids, "--max-tokens", "4", "--top-p", "1.5"],
            "`top_p` should be above 0 and at most 1, found 1.5",
        ),
        (llama, vec!["--ids", &ids, "--max-tokens", "4", "--stop", "x"], "with a tokenizer"),
        (llama, vec!["--ids", &ids, "--top-k", "4"], "nothing to go on from"),
        (llama, vec!["--ids", &ids, "--max-tokens", "0"], "--max-tokens"),
        (llama, vec!["--prompt", "Once"], "tokenizer"),
    ] {
        let finished = sandbox.run(&[&["run", "--model", model][..], &options].concat());
        assert!(matches!(finished.code, Some(1 | 2)), "{options:?}: {finished:?}");
        assert!(finished.stderr.contains(message), "{options:?}: {finished:?}");
    }
    sandbox.assert_clean();
}

#[test]
fn without_the_name_of_an_output_there_is_no_answer() {
    let sandbox = Sandbox::default();
    let (model, ids) = (golden_model("llama"), sandbox.path().join("ids"));
    std::fs::write(&ids, "1 2 3").unwrap();
    let finished = sandbox.run(&["run", "--model", model.to_str().unwrap(), "--ids", ids.to_str().unwrap()]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("name the outputs") && finished.stderr.contains("logits"), "{finished:?}");
}
