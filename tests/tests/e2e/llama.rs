//! The golden LLaMA: scores of the next token in browsers, against those of transformers.

use webnibble_common::io::Output;
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

#[test]
fn without_the_name_of_an_output_there_is_no_answer() {
    let sandbox = Sandbox::default();
    let (model, ids) = (golden_model("llama"), sandbox.path().join("ids"));
    std::fs::write(&ids, "1 2 3").unwrap();
    let finished = sandbox.run(&["run", "--model", model.to_str().unwrap(), "--ids", ids.to_str().unwrap()]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("name the outputs") && finished.stderr.contains("logits"), "{finished:?}");
}
