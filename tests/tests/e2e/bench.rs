//! The matrix in a real browser: its rows, what it writes, presets, and engines turn by turn.

use std::collections::BTreeSet;

use serde_json::Value;
use webnibble_tests::{Finished, Sandbox, browser_available, golden_bert, skip_unless, webnn_browser};

use crate::threads::threads_built;
use crate::transformers_js::vendored;

/// The matrix of the committed model in Chromium.
fn bench(sandbox: &Sandbox, options: &[&str]) -> Finished {
    let model = golden_bert();
    let args = ["bench", "--json", "--gpu", "software", "--browser", "chrome", "--model", model.to_str().unwrap()];
    sandbox.run(&[&args, options].concat())
}

#[track_caller]
fn rows(finished: &Finished) -> Vec<Value> {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.json().as_array().unwrap().clone()
}

#[test]
fn rows_that_cannot_be_stored_are_written_all_the_same() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    std::fs::create_dir(sandbox.path().join("history.sqlite")).unwrap();
    let out = sandbox.path().join("out");
    let options = ["--platform", "wasm", "--bits", "8", "--tokens", "4", "--runs", "2", "--out", out.to_str().unwrap()];
    let finished = bench(&sandbox, &options);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("warning: rows are not stored"), "{finished:?}");
    assert!(["results.json", "report.md", "report.html"].iter().all(|name| out.join(name).is_file()), "{finished:?}");
}

#[test]
fn rows_are_measured_in_one_session_stored_and_reported() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let out = sandbox.path().join("out");
    let sizes = ["--tokens", "4,8", "--batch", "1,2", "--bits", "8", "--runs", "2"];
    let options = [&["--platform", "webgpu,wasm"], &sizes[..], &["--out", out.to_str().unwrap()]].concat();
    let finished = bench(&sandbox, &options);
    let rows = rows(&finished);
    assert_eq!(rows.len(), 8);
    let started: BTreeSet<_> = rows.iter().map(|row| row["browser"]["start_ms"].to_string()).collect();
    assert_eq!(started.len(), 1, "one browser for all rows");
    for row in &rows {
        let metrics = &row["performance_metrics"];
        assert!(row["error"].is_null(), "{row}");
        assert_eq!(metrics["inference_time_ms"]["runs"], 2, "{metrics}");
        assert!(metrics["quantization_error"]["cosine"].as_f64().unwrap() > 0.99, "{metrics}");
        assert!(metrics["start_to_first_result_ms"].is_null(), "its browser ran already");
        assert!(metrics["memory"]["browser_rss_bytes"].as_u64().unwrap() > 10_000_000);
        let gpu_runs = &metrics["gpu_time_ms"]["runs"];
        assert_eq!(gpu_runs.is_u64(), row["platform"] == "webgpu", "SwiftShader has timestamps: {metrics}");
    }
    let sizes: Vec<_> =
        rows[..4].iter().map(|row| (&row["input"]["batch"], &row["input"]["sequence_length"])).collect();
    let sizes: Vec<_> = sizes.iter().map(|(batch, tokens)| (batch.as_u64(), tokens.as_u64())).collect();
    assert_eq!(sizes, [(1, 4), (1, 8), (2, 4), (2, 8)].map(|(batch, tokens)| (Some(batch), Some(tokens))));

    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("results.json")).unwrap(), Value::from(rows));
    assert!(read("report.md").contains("## Cost as length and batch grow"), "{}", read("report.md"));
    assert!(read("report.html").contains("<canvas id=\"memory\""));
    let stored = sandbox.run(&["report", "--json", "--compare", "1", out.to_str().unwrap()]);
    let changes = stored.json();
    assert_eq!(changes.as_array().unwrap().len(), 8);
    assert!(changes.as_array().unwrap().iter().all(|change| change["verdict"] == "same"), "{changes}");
    sandbox.assert_clean();
}

#[test]
fn threads_and_what_run_takes_are_in_the_rows() {
    skip_unless!(browser_available(), threads_built());
    let sandbox = Sandbox::default();
    let size = ["--tokens", "4", "--bits", "8", "--runs", "1", "--warmup", "3"];
    let options = ["--platform", "wasm", "--threads", "1,2", "--per-channel", "--scheme", "asymmetric"];
    let rows = rows(&bench(&sandbox, &[&options[..], &size].concat()));
    let ran: Vec<_> = rows.iter().map(|row| row["kernels"]["threads"].as_str().unwrap()).collect();
    assert_eq!(ran, ["1", "2"]);
    for row in &rows {
        let made = &row["quantization"];
        assert_eq!((&made["granularity"], &made["scheme"]), (&"channel".into(), &"asymmetric".into()), "{made}");
        assert_eq!(row["options"]["warmup"], serde_json::json!({ "value": 3, "source": "explicit" }));
    }
    let report = sandbox.run(&["report"]).stdout;
    assert!(report.contains("threads 1") && report.contains("threads 2"), "{report}");
    let changes = sandbox.run(&["report", "--json", "--compare", "1", "1"]).json();
    let keys: BTreeSet<_> = changes.as_array().unwrap().iter().map(|change| change["key"].to_string()).collect();
    assert_eq!(keys.len(), 2, "a row is found again by its threads: {keys:?}");
    let out = sandbox.path().join("out");
    let printed = sandbox.run(&["report", "--json", "--out", out.to_str().unwrap()]).json();
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("results.json")).unwrap()).unwrap();
    assert!(printed == written && printed.as_array().unwrap().len() == 2, "written and printed");
    sandbox.assert_clean();
}

#[test]
fn engines_take_turns_in_one_page_and_have_their_ratio() {
    skip_unless!(vendored());
    let sandbox = Sandbox::default();
    let engines = ["--engine", "native,transformers-js", "--platform", "wasm", "--bits", "8", "--tokens", "8"];
    let rows = rows(&bench(&sandbox, &[&engines[..], &["--runs", "5"]].concat()));
    let (ours, theirs) = (&rows[0]["performance_metrics"], &rows[1]["performance_metrics"]);
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["using_transformers_js"], &rows[1]["using_transformers_js"]), (&false.into(), &true.into()));
    assert!(ours["engine_ratio"].is_null(), "the first is what others are compared with: {ours}");
    let ratio = &theirs["engine_ratio"];
    assert_eq!((&ratio["to"], &ratio["interleaved"]), (&"native".into(), &true.into()));
    let [low, of_medians, high] = ["low", "of_medians", "high"].map(|name| ratio[name].as_f64().unwrap());
    assert!(0.0 < low && low <= of_medians && of_medians <= high, "{ratio}");
    for metrics in [ours, theirs] {
        assert_eq!(metrics["inference_time_ms"]["runs"], 5, "{metrics}");
        assert!(metrics["memory"]["browser_rss_bytes"].is_null(), "the other one's memory is in it: {metrics}");
    }
    sandbox.assert_clean();
}

#[test]
fn a_preset_is_its_rows_and_flags_go_before_it() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let options = ["--preset", "ultra-low-prec", "--platform", "wasm", "--tokens", "4", "--runs", "1"];
    let rows = rows(&bench(&sandbox, &options));
    let of = |row: &Value| {
        let made = &row["quantization"];
        format!("{} {} {} {}", row["platform"], made["bits"], made["group_size"], made["mixed_precision"])
    };
    let found: BTreeSet<_> = rows.iter().map(of).collect();
    let expected = ["4 128 true", "4 128 false", "4 32 true", "4 32 false"].iter().flat_map(|four| {
        let two = four.replacen('4', "2", 1);
        [format!("\"wasm\" {four}"), format!("\"wasm\" {two}")]
    });
    assert_eq!((rows.len(), found), (8, expected.collect()));
}

#[test]
fn models_that_cannot_be_had_are_rows_with_their_reason() {
    let sandbox = Sandbox::default();
    let mut command =
        sandbox.command(&["bench", "--json", "--preset", "guide", "--browser", "chrome,firefox", "--bits", "8"]);
    // Nobody listens there.
    let output = command.env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nothing ran");
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = |row: &Value| format!("{} {}", row["options"]["browser"]["value"], row["options"]["model"]["value"]);
    let told: Vec<_> = rows.as_array().unwrap().iter().map(told).collect();
    let models = ["bert-base-uncased", "vit-base", "whisper-tiny"];
    let of = |browser: &str| models.map(|model| format!("\"{browser}\" \"{model}\""));
    assert_eq!(told, [of("chrome"), of("firefox")].concat());
    for row in rows.as_array().unwrap() {
        assert_eq!(row["status"], "error");
        assert!(row["implementation_type"].is_null() && !row["error"]["message"].as_str().unwrap().is_empty(), "{row}");
    }
    sandbox.assert_clean();
}

#[test]
fn wrong_arguments_exit_with_2_and_say_what_there_is() {
    let sandbox = Sandbox::default();
    for (options, words) in [
        (&["--preset", "guid"][..], "guide, webgpu-only, webnn-only, ultra-low-prec"),
        (&["--platform", "auto"], "webgpu, webnn, wasm or both"),
        (&["--tokens", "0"], "--tokens"),
        (&["--vs", "onnxruntime-web", "--tokens", "8,16"], "takes one value"),
        (&["--vs", "onnxruntime-web", "--browser", "chrome,firefox"], "takes one value"),
        (&["--vs", "onnxruntime-web", "--warmup", "3"], "no --warmup"),
        (&["--activation-bits", "4"], "--activation-bits should be 8"),
        (&["--per-channel", "--group-size", "32"], "--group-size"),
        (&["--threads", "0"], "--threads"),
        (&["--vs", "onnxruntime-web", "--preset", "guide"], "--preset"),
    ] {
        let finished = sandbox.run(&[&["bench"], options].concat());
        assert_eq!(finished.code, Some(2), "{options:?}: {finished:?}");
        assert!(finished.stderr.contains(words), "{options:?}: {}", finished.stderr);
    }
}

#[test]
fn an_engine_that_breaks_the_pages_worker_takes_no_other_row_with_it() {
    skip_unless!(webnn_browser(), vendored());
    let sandbox = Sandbox::default();
    // This browser compiles the 8-bit form of so small a model for us, and not for onnxruntime.
    let engines = ["--engine", "native,transformers-js", "--platform", "webnn", "--bits", "8", "--tokens", "5"];
    let browser = webnn_browser().unwrap();
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let rows = rows(&bench(&sandbox, &[&engines[..], &["--runs", "3"], &browser].concat()));
    assert!(rows[1]["fallbacks"][0]["reason"].as_str().unwrap().contains("Worker stopped"), "{}", rows[1]);
    for row in &rows {
        assert_eq!((&row["error"], &row["implementation_type"]), (&Value::Null, &"REAL_WEBNN".into()), "{row}");
        assert_eq!(row["performance_metrics"]["inference_time_ms"]["runs"], 3, "{row}");
    }
    sandbox.assert_clean();
}
