//! `run` and `doctor` in a real browser.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::{Value, json};
use webnibble_common::result::RunRecord;
use webnibble_tests::{Sandbox, browser_available, golden_bert, mini_lm_available, skip_unless};

#[test]
fn doctor_reports_what_the_browser_can_do() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let finished = sandbox.run(&["doctor", "--gpu", "software", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let document = finished.json();
    let found = &document[0];
    assert_eq!((&found["browser"], &found["error"]), (&"chrome".into(), &Value::Null));
    let adapter = &found["capabilities"]["webgpu"]["adapter"];
    assert_eq!(adapter["hardware"], false, "{adapter}");
    assert_eq!(found["capabilities"]["cross_origin_isolated"], true);
    let ping = &found["ping_ms"];
    println!("socket round trips: {} ms p50, {} ms p90, {} of them", ping["p50"], ping["p90"], ping["runs"]);
    assert!(ping["p50"].as_f64().unwrap() > 0.0);
    sandbox.assert_clean();
}

/// The golden model's inputs as `--input` takes them, and its answer.
fn golden_input(sandbox: &Sandbox) -> (PathBuf, Vec<f32>) {
    let bytes = std::fs::read(golden_bert().join("io.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ids = |name: &str| -> Value {
        let tensor = file.tensor(&format!("in.{name}")).unwrap();
        let whole = tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
        json!({ "shape": tensor.shape(), "dtype": "u32", "data": whole.collect::<Vec<_>>() })
    };
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let input: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), ids(name))).collect();
    let path = sandbox.path().join("input.json");
    std::fs::write(&path, Value::Object(input).to_string()).unwrap();
    let expected = file.tensor("out.last_hidden_state").unwrap();
    let expected = expected.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (path, expected)
}

fn run_golden(sandbox: &Sandbox, input: &Path, options: &[&str]) -> RunRecord {
    let (bert, input) = (golden_bert(), input.to_str().unwrap());
    let args = ["run", "--json", "--gpu", "software", "--model", bert.to_str().unwrap(), "--input", input];
    let finished = sandbox.run(&[&args, options].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    // Every field of the record is there by its name, and no other: written again, it has the same ones.
    assert_eq!(names(&serde_json::to_value(&record).unwrap()), names(&finished.json()));
    record
}

/// The names of all fields, each with those that it is in. Numbers are left out: reading and writing rounds them.
fn names(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let inner = names(value).into_iter().map(move |inner| format!("{name}.{inner}"));
                std::iter::once(name.clone()).chain(inner)
            })
            .collect(),
        Value::Array(items) => items.first().map(names).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn answer(record: &RunRecord) -> Vec<f32> {
    match record.output.as_ref().expect("there is an answer") {
        webnibble_common::result::Output::Tensor { tensor } => tensor.data.clone(),
        other => panic!("expected hidden states, found {other:?}"),
    }
}

/// `max |a − b| / max |reference|`.
fn error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).fold(0.0f32, |largest, (a, b)| largest.max((a - b).abs())) / largest
}

#[test]
fn the_golden_answer_on_webgpu_with_every_field_of_the_record() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let record =
        run_golden(&sandbox, &input, &["--platform", "webgpu", "--bits", "32", "--runs", "3", "--no-fallback"]);
    let document = serde_json::to_value(&record).unwrap();
    for section in
        ["run", "model", "input", "browser", "adapter", "kernels", "quantization", "performance_metrics", "output"]
    {
        assert!(document[section].is_object(), "{section}: {}", document[section]);
    }
    assert_eq!(document["implementation_type"], "REAL_WEBGPU");
    assert_eq!((record.is_simulation, record.using_transformers_js), (Some(false), Some(false)));
    assert!(!record.adapter.as_ref().unwrap().hardware, "SwiftShader is no hardware");
    let found = error(&answer(&record), &expected);
    println!("golden BERT at 32 bits on WebGPU: error {found:.2e}");
    assert!(found <= 1e-3);

    let metrics = &record.performance_metrics;
    let times = metrics.inference_time_ms.unwrap();
    assert!(times.runs == 3 && times.min > 0.0 && times.min <= times.p50 && times.p50 <= times.p90, "{times:?}");
    assert!(metrics.first_inference_time_ms.unwrap() > 0.0);
    assert!(metrics.initialization_time_ms.unwrap().total > 0.0);
    assert!(metrics.memory.weights_bytes.unwrap() > 100_000);
    assert!(metrics.memory.browser_rss_bytes.unwrap() > 10_000_000);
    assert!(metrics.quantization_error.unwrap().cosine > 0.99999, "{:?}", metrics.quantization_error);
    assert!(!record.kernels.as_ref().unwrap().is_empty());
    assert_eq!(document["options"]["bits"], json!({"value": 32, "source": "explicit"}));
    assert_eq!(
        document["input"],
        json!({"kind": "tensors", "batch": 2, "sequence_length": null, "size": null, "seconds": null})
    );
    assert_eq!(record.model.unwrap().family, "bert");
    sandbox.assert_clean();
}

#[test]
fn the_golden_answer_on_wasm() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let record = run_golden(&sandbox, &input, &["--platform", "wasm", "--bits", "32", "--runs", "2"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WASM");
    assert!(record.adapter.is_none(), "no adapter ran it");
    let found = error(&answer(&record), &expected);
    println!("golden BERT at 32 bits on wasm: error {found:.2e}");
    assert!(found <= 1e-3);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    skip_unless!(browser_available());
    let sandboxes = [Sandbox::default(), Sandbox::default()];
    std::thread::scope(|scope| {
        let runs: Vec<_> = sandboxes
            .iter()
            .zip(["8", "4"])
            .map(|(sandbox, bits)| {
                scope.spawn(move || {
                    let (input, _) = golden_input(sandbox);
                    run_golden(sandbox, &input, &["--platform", "wasm", "--bits", bits, "--runs", "1"])
                })
            })
            .collect();
        let bits: Vec<_> = runs.into_iter().map(|run| run.join().unwrap().quantization.unwrap().bits.count()).collect();
        assert_eq!(bits, [8, 4]);
    });
    sandboxes.iter().for_each(Sandbox::assert_clean);
}

#[test]
fn bad_inputs_are_refused_with_their_reason() {
    skip_unless!(browser_available(), mini_lm_available());
    let sandbox = Sandbox::default();
    let long = "word ".repeat(600);
    let run = |options: &[&str]| {
        let args = ["run", "--json", "--platform", "wasm", "--bits", "4", "--runs", "1", "--warmup", "0"];
        sandbox.run(&[&args, options].concat())
    };
    for (options, reason) in
        [(&["--text", ""][..], "empty"), (&["--text", &long], "truncat"), (&["--text", "fine", ""], "text 1")]
    {
        let finished = run(options);
        assert_eq!(finished.code, Some(1), "{options:?}: {finished:?}");
        let record = finished.json();
        assert_eq!(record["error"]["code"], "bad_input", "{}", record["error"]);
        assert!(record["error"]["message"].as_str().unwrap().contains(reason), "{}", record["error"]);
        assert_eq!((&record["output"], &record["status"]), (&Value::Null, &"error".into()));
    }
    let cut = run(&["--text", &long, "--truncate"]);
    assert_eq!(cut.code, Some(0), "{cut:?}");
    assert_eq!(cut.json()["input"]["sequence_length"], 256);
}

#[test]
fn a_package_runs_as_it_is_and_as_nothing_else() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, _) = golden_input(&sandbox);
    let package = sandbox.path().join("eight.safetensors");
    let (bert, package) = (golden_bert(), package.to_str().unwrap());
    assert_eq!(sandbox.run(&["quantize", bert.to_str().unwrap(), package, "--bits", "8"]).code, Some(0));
    let run = |options: &[&str]| {
        let args = ["run", "--json", "--model", package, "--input", input.to_str().unwrap(), "--platform", "wasm"];
        sandbox.run(&[&args, options].concat())
    };
    let other = run(&["--bits", "4"]);
    assert_eq!((other.code, &other.json()["error"]["code"]), (Some(2), &"package_fixed".into()), "{other:?}");
    let finished = run(&["--runs", "1"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record = finished.json();
    assert_eq!(record["quantization"]["bits"], 8);
    assert_eq!(record["performance_metrics"]["quantization_error"], Value::Null, "its f32 weights are not at hand");
}
