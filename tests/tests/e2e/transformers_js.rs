//! transformers.js and onnxruntime-web beside ours: exported, run, and compared, with no network.

use std::path::{Path, PathBuf};

use serde_json::Value;
use webnibble_common::record::RunRecord;
use webnibble_tests::{Finished, Sandbox, browser_available, golden_bert, repository, skip_unless, webnn_browser};

use crate::golden::{answer, assert_near, error, golden_input, run_golden};

const ENGINE: [&str; 3] = ["--engine", "transformers-js", "--no-fallback"];

/// Whether `npm ci` brought what the host serves.
pub(crate) fn vendored() -> Result<(), String> {
    browser_available()?;
    let folder = repository().join("www/node_modules/@huggingface/transformers");
    if folder.is_dir() { Ok(()) } else { Err(format!("no {} (make setup)", folder.display())) }
}

#[track_caller]
fn assert_ran(record: &RunRecord, kind: &str, expected: &[f32], tolerance: f32) {
    assert_eq!(record.implementation_type.unwrap().to_string(), kind);
    assert_eq!((record.is_simulation, record.using_transformers_js), (Some(false), Some(true)));
    assert!(record.fallbacks.is_empty(), "{:?}", record.fallbacks);
    let found = error(&answer(record), expected);
    println!("golden BERT by transformers.js as {kind}: error {found:.2e}");
    assert!(found <= tolerance, "{found:.2e}");
    assert!(record.performance_metrics.inference_time_ms.unwrap().p50 > 0.0);
    // What the engine keeps to itself is not made up.
    let memory = &record.performance_metrics.memory;
    assert_eq!((memory.weights_bytes, memory.wasm_heap_bytes, memory.gpu_peak_bytes), (None, None, None));
    assert!(record.kernels.as_ref().unwrap().contains_key("onnxruntime-web"), "{:?}", record.kernels);
}

#[test]
fn on_wasm_with_the_weights_of_ours() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let args = [&ENGINE[..], &["--platform", "wasm", "--runs", "2"]].concat();
    let record = run_golden(&sandbox, &input, &[&args[..], &["--bits", "32"]].concat());
    assert_ran(&record, "REAL_WASM", &expected, 1e-3);
    // The same quantized weights give the same answer in both engines.
    let four = ["--platform", "wasm", "--runs", "2", "--bits", "4"];
    let theirs = run_golden(&sandbox, &input, &[&ENGINE[..], &four].concat());
    let ours = run_golden(&sandbox, &input, &four);
    let found = error(&answer(&theirs), &answer(&ours));
    println!("4 bits by transformers.js against ours: {found:.2e}");
    assert!(found <= 1e-3, "{found:.2e}");
    sandbox.assert_clean();
}

#[test]
fn on_webgpu_it_is_webgpu() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let options = ["--platform", "webgpu", "--runs", "2", "--bits", "32"];
    let record = run_golden(&sandbox, &input, &[&ENGINE[..], &options].concat());
    assert_ran(&record, "REAL_WEBGPU", &expected, 1e-3);
    assert!(record.kernels.as_ref().unwrap()["WebGpuExecutionProvider"].contains("MatMul"), "{:?}", record.kernels);
    assert!(!record.adapter.unwrap().hardware, "SwiftShader is no hardware");
}

#[test]
fn on_webnn_it_is_webnn() {
    skip_unless!(vendored(), webnn_browser());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let browser = webnn_browser().unwrap();
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let options = [&ENGINE[..], &["--platform", "webnn", "--runs", "2", "--bits", "32"], &browser].concat();
    let record = run_golden(&sandbox, &input, &options);
    assert_ran(&record, "REAL_WEBNN", &expected, 1e-3);
    let webnn = record.webnn.unwrap();
    assert!(webnn.operators["WebNNExecutionProvider"] > 0);
    assert_eq!(webnn.requested, "any");
    let native = run_golden(&sandbox, &input, &[&["--platform", "webnn", "--runs", "1"], &browser[..]].concat());
    assert_eq!(webnn.reported_devices, native.webnn.unwrap().reported_devices, "both are read back");
}

#[test]
fn another_device_of_webnn_than_the_one_asked_for_is_an_error() {
    skip_unless!(vendored(), webnn_browser());
    let sandbox = Sandbox::default();
    let (input, _) = golden_input(&sandbox);
    let browser = webnn_browser().unwrap();
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let (bert, input) = (golden_bert(), input.to_str().unwrap().to_owned());
    let args = ["run", "--json", "--gpu", "software", "--model", bert.to_str().unwrap(), "--input", &input];
    let more = ["--platform", "webnn", "--runs", "1", "--execution-provider", "npu", "--bits", "32"];
    let finished = sandbox.run(&[&args[..], &more, &ENGINE, &browser].concat());
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    match record.webnn {
        // A machine that has one, or a browser that does not say where graphs run.
        Some(webnn) if record.error.is_none() => {
            let devices = webnn.reported_devices;
            assert!(devices.as_ref().is_none_or(|names| names.contains(&"npu".to_owned())), "{devices:?}");
        }
        _ => {
            assert_eq!(finished.code, Some(3), "{finished:?}");
            let error = record.error.unwrap();
            assert_eq!(error.code, "platform_unavailable", "{error:?}");
            assert!(error.message.contains("npu"), "{error:?}");
        }
    }
}

#[test]
fn options_that_it_cannot_keep_are_fallbacks() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let options = ["--engine", "transformers-js", "--platform", "wasm", "--runs", "1", "--activation-bits", "8"];
    let record = run_golden(&sandbox, &input, &[&options[..], &["--lowering", "int8", "--half-tiles"]].concat());
    assert_near(&record, &expected, 0.97);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WASM");
    let steps: Vec<_> = record.fallbacks.iter().map(|step| step.from.as_str()).collect();
    assert_eq!(steps, ["activation_bits 8", "lowering int8", "half_tiles true"]);
    for (name, now) in [("activation_bits", Value::from(32)), ("lowering", Value::Null), ("half_tiles", false.into())] {
        assert_eq!(record.options[name].value, now, "{name}");
    }
}

/// The golden model in a folder of its own, with an ONNX file of these bytes.
fn with_onnx(sandbox: &Sandbox, onnx: &[u8]) -> PathBuf {
    let folder = sandbox.path().join("model");
    std::fs::create_dir_all(folder.join("onnx")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden_bert().join(name), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("onnx/model.onnx"), onnx).unwrap();
    folder
}

fn run_folder(sandbox: &Sandbox, folder: &Path, what: &[&str]) -> Finished {
    let args = ["run", "--json", "--platform", "wasm", "--bits", "32", "--runs", "1", "--model"];
    sandbox.run(&[&args[..], &[folder.to_str().unwrap()], &ENGINE, what].concat())
}

#[test]
fn a_file_of_the_models_own_is_taken_and_a_broken_one_is_named() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3 4").unwrap();
    let ids = ["--ids", ids.to_str().unwrap()];

    let whole = sandbox.path().join("whole.onnx");
    let (bert, path) = (golden_bert(), whole.to_str().unwrap());
    let args = ["export", "--onnx", bert.to_str().unwrap(), path, "--bits", "32", "--embedding-bits", "32"];
    assert_eq!(sandbox.run(&args).code, Some(0));
    let whole = std::fs::read(&whole).unwrap();
    let finished = run_folder(&sandbox, &with_onnx(&sandbox, &whole), &ids);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record = finished.json();
    assert_eq!(record["using_transformers_js"], true);
    assert_eq!(record["quantization"], Value::Null, "weights that somebody else made");
    let metrics = &record["performance_metrics"];
    assert_eq!((&metrics["quantization_bits"], &metrics["memory_reduction_percent"]), (&Value::Null, &Value::Null));
    assert_eq!(record["model"]["onnx_file"], "onnx/model.onnx");

    // Half of it, and an operator that nobody has.
    let unknown: Vec<u8> = replace(&whole, b"Softmax", b"Hardmux");
    for (bytes, word) in [(&whole[..whole.len() / 2], "model.onnx"), (&unknown[..], "Hardmux")] {
        let finished = run_folder(&sandbox, &with_onnx(&sandbox, bytes), &ids);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let error = &finished.json()["error"];
        assert_eq!(error["code"], "engine_failed", "{error}");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("export --onnx"), "{error}");
    }
    sandbox.assert_clean();
}

/// `from` by `to` of the same length, wherever it is.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = bytes.to_vec();
    let places: Vec<usize> =
        found.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|p| p.0).collect();
    assert!(!places.is_empty(), "there is something to replace");
    places.into_iter().for_each(|place| found[place..place + to.len()].copy_from_slice(to));
    found
}

#[test]
fn a_folder_with_onnx_alone_runs_by_transformers_js() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let (bert, folder) = (golden_bert(), sandbox.path().join("alone"));
    let folder = folder.to_str().unwrap();
    let args = ["export", "--onnx", bert.to_str().unwrap(), folder, "--bits", "32", "--embedding-bits", "32"];
    assert_eq!(sandbox.run(&args).code, Some(0));
    assert!(!Path::new(folder).join("model.safetensors").exists());
    let args = ["run", "--json", "--platform", "wasm", "--runs", "1", "--model", folder, "--input"];
    let run = |more: &[&str]| sandbox.run(&[&args[..], &[input.to_str().unwrap()], more].concat());

    let finished = run(&ENGINE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    assert_ran(&record, "REAL_WASM", &expected, 1e-3);
    assert_eq!((record.quantization, record.options["bits"].value.as_u64()), (None, Some(32)));

    // Our own engine has no use for it: an error, or one step of the chain.
    let finished = run(&["--no-fallback"]);
    let error = &finished.json()["error"];
    assert_eq!((finished.code, &error["code"]), (Some(1), &Value::from("not_yet")), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--engine transformers-js"), "{error}");
    let finished = run(&[]);
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((record.using_transformers_js, record.fallbacks.len()), (Some(true), 1), "{record:?}");
    // Bits that none of its files has.
    let finished = run(&["--bits", "4", "--engine", "transformers-js"]);
    let message = finished.json()["error"]["message"].to_string();
    assert!(message.contains("weights of 4 bits, found 32"), "{message}");
    sandbox.assert_clean();
}

#[test]
fn without_a_tokenizer_texts_are_refused() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let folder = with_onnx(&sandbox, b"");
    std::fs::remove_dir_all(folder.join("onnx")).unwrap();
    let finished = run_folder(&sandbox, &folder, &["--text", "a text"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let error = &finished.json()["error"];
    assert_eq!(error["code"], "bad_input", "{error}");
    assert!(error["message"].as_str().unwrap().contains("no tokenizer"), "{error}");
}

#[test]
fn exported_folders_are_what_transformers_js_loads() {
    let sandbox = Sandbox::default();
    let out = sandbox.path().join("out");
    let (bert, path) = (golden_bert(), out.to_str().unwrap());
    let finished = sandbox.run(&["export", "--onnx", "--json", bert.to_str().unwrap(), path, "--bits", "4"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let document = finished.json();
    assert_eq!((&document["bits"], &document["opset"]), (&4.into(), &21.into()));
    let file = out.join("onnx/model_q4.onnx");
    assert_eq!(document["onnx"], file.to_str().unwrap());
    assert_eq!(document["bytes"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
    assert!(out.join("config.json").is_file());
    // A package keeps its own bits.
    let package = sandbox.path().join("eight.safetensors");
    let package = package.to_str().unwrap();
    assert_eq!(sandbox.run(&["quantize", bert.to_str().unwrap(), package, "--bits", "8"]).code, Some(0));
    let finished = sandbox.run(&["export", "--onnx", package, path, "--bits", "4"]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
}

#[test]
fn a_bench_compares_the_same_weights_in_one_page() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let (bert, out) = (golden_bert(), sandbox.path().join("out"));
    let args = ["bench", "--vs", "onnxruntime-web", "--json", "--platform", "wasm", "--bits", "32,4"];
    let more = ["--tokens", "8", "--runs", "6", "--out", out.to_str().unwrap(), "--model", bert.to_str().unwrap()];
    let finished = sandbox.run(&[&args[..], &more].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let document = finished.json();
    let session = &document["sessions"][0];
    let rows = session["rows"].as_array().unwrap();
    let ours: Vec<_> = rows.iter().filter(|row| row["engine"] == "webnibble").map(|row| &row["form"]).collect();
    assert_eq!(ours, ["f32", "q4"]);
    for row in rows {
        assert!(row["error"].is_null(), "{row}");
        assert_eq!((&row["implementation_type"], &row["times_ms"]["runs"]), (&"REAL_WASM".into(), &6.into()), "{row}");
    }
    let comparisons = session["comparisons"].as_array().unwrap();
    let of = |ours: &str, kind: &str| {
        let fits = |found: &&Value| found["ours"] == ours && found["kind"] == kind;
        comparisons.iter().filter(fits).count()
    };
    // f32 by f32; 4 bits at both levels of accuracy.
    assert_eq!([of("f32", "same weights"), of("q4", "same weights")], [1, 2], "{comparisons:?}");
    assert_eq!([of("f32", "their best"), of("q4", "their best")], [1, 1]);
    for found in comparisons.iter().filter(|found| found["kind"] == "same weights") {
        let (ratio, cosine) = (&found["ratio"], found["cosine"].as_f64().unwrap());
        assert!(cosine > 0.999, "{found}");
        assert!(ratio["low"].as_f64().unwrap() <= ratio["high"].as_f64().unwrap(), "{found}");
    }
    let markdown = std::fs::read_to_string(out.join("versus.md")).unwrap();
    assert!(markdown.contains("q4 MatMulNBits level 4") && markdown.contains("onnxruntime-web 1."), "{markdown}");
    assert!(out.join("versus.json").is_file());
    sandbox.assert_clean();
}
