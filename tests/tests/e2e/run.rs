//! `run` and `doctor` in a real browser.

use serde_json::{Value, json};
use webnibble_common::record::RunRecord;
use webnibble_tests::{
    Sandbox, browser_available, firefox, golden_bert, mini_lm, mini_lm_available, skip_unless, webkit,
};

use crate::golden::{answer, assert_near, error, golden_input, run_golden};

#[test]
fn doctor_reports_what_browsers_can_do() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let finished = sandbox.run(&["doctor", "--gpu", "software", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let document = finished.json();
    let found = &document[0];
    assert_eq!((&found["browser"], &found["error"]), (&"chrome".into(), &Value::Null));
    // Every browser of this system has its row, whether it is here or not.
    for (name, available) in [("firefox", firefox()), ("webkit", webkit())] {
        let mut rows = document.as_array().unwrap().iter();
        let row = rows.find(|row| row["browser"] == name).unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(row["error"].is_null(), available.is_ok(), "{name}: {}", row["error"]);
    }
    let adapter = &found["capabilities"]["webgpu"]["adapter"];
    assert_eq!(adapter["hardware"], false, "{adapter}");
    assert_eq!(found["capabilities"]["cross_origin_isolated"], true);
    let ping = &found["ping_ms"];
    println!("socket round trips: {} ms p50, {} ms p90, {} of them", ping["p50"], ping["p90"], ping["runs"]);
    assert!(ping["p50"].as_f64().unwrap() > 0.0);
    sandbox.assert_clean();
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
    if cfg!(target_os = "linux") {
        assert!(metrics.memory.browser_pss_bytes.unwrap() > 10_000_000);
        assert!(metrics.memory.browser_pss_bytes <= metrics.memory.browser_rss_bytes);
    }
    // One after another, however long the model took beside them.
    let start = metrics.start_to_first_result_ms.unwrap();
    let parts = [start.browser, start.page, start.load, start.first_inference];
    assert!(parts.iter().all(|part| *part > 0.0) && start.total >= parts.iter().sum::<f64>(), "{start:?}");
    assert!(metrics.quantization_error.unwrap().cosine > 0.99999, "{:?}", metrics.quantization_error);
    assert!(!record.kernels.as_ref().unwrap().is_empty());
    assert_eq!(document["options"]["bits"], json!({"value": 32, "source": "explicit"}));
    assert_eq!(
        document["input"],
        json!({"kind": "tensors", "batch": 2, "sequence_length": null, "size": null, "seconds": null, "tokens_kept": null,
            "prompt_name": null})
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
        let runs = [(&sandboxes[0], "8"), (&sandboxes[1], "4")].map(|(sandbox, bits)| {
            scope.spawn(move || {
                let (input, expected) = golden_input(sandbox);
                (run_golden(sandbox, &input, &["--platform", "wasm", "--bits", bits, "--runs", "1"]), expected)
            })
        });
        let [(eight, expected), (four, _)] = runs.map(|run| run.join().unwrap());
        let bits = [&eight, &four].map(|record| record.quantization.as_ref().unwrap().bits.count());
        assert_eq!(bits, [8, 4]);
        assert_near(&eight, &expected, 0.999);
        assert_near(&four, &expected, 0.97);
        let lost = [&eight, &four].map(|record| error(&answer(record), &expected));
        assert!(lost[0] < lost[1], "each has its own weights: {lost:?}");
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
        // Found out before a browser was started for it.
        assert_eq!(record["browser"], Value::Null);
    }
    let too_long = run(&["--text", &long]).json();
    assert!(too_long["error"]["hint"].as_str().unwrap().contains("--truncate"), "{}", too_long["error"]);
    let named = run(&["--text", "fine", "--prompt-name", "query"]);
    assert_eq!((named.code, &named.json()["error"]["code"]), (Some(2), &"unknown_prompt".into()), "{named:?}");
    let cut = run(&["--text", "-5 degrees", &long, "--truncate"]);
    assert_eq!(cut.code, Some(0), "{cut:?}");
    let input = &cut.json()["input"];
    assert_eq!((&input["sequence_length"], &input["prompt_name"]), (&256.into(), &Value::Null));
    assert_eq!(input["tokens_kept"], json!([{"kept": 5, "of": 5}, {"kept": 256, "of": 602}]));
}

#[test]
fn lists_of_ids_are_cut_where_that_is_asked_for() {
    skip_unless!(browser_available(), mini_lm_available());
    let sandbox = Sandbox::default();
    let file = sandbox.path().join("ids.json");
    std::fs::write(&file, serde_json::to_string(&vec![2023; 300]).unwrap()).unwrap();
    let run = |options: &[&str]| {
        let args = ["run", "--platform", "wasm", "--bits", "4", "--runs", "1", "--ids", file.to_str().unwrap()];
        sandbox.run(&[&args, options].concat())
    };
    let refused = run(&["--json"]);
    let record = refused.json();
    assert_eq!((refused.code, &record["error"]["code"]), (Some(1), &"bad_input".into()), "{record}");
    assert!(record["error"]["hint"].as_str().unwrap().contains("--truncate"), "{record}");
    let cut = run(&["--truncate"]);
    assert!(cut.code == Some(0) && cut.stdout.contains("text 0 to 256 of its 300 tokens"), "{cut:?}");
}

#[test]
fn texts_come_by_file_and_prompts_from_the_model() {
    skip_unless!(browser_available(), mini_lm_available());
    let sandbox = Sandbox::default();
    let model = sandbox.path().join("prompted");
    std::fs::create_dir_all(model.join("1_Pooling")).unwrap();
    for name in ["config.json", "modules.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        std::fs::copy(mini_lm().join(name), model.join(name)).unwrap();
    }
    let prompts = r#"{"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}"#;
    std::fs::write(model.join("config_sentence_transformers.json"), prompts).unwrap();
    let file = sandbox.path().join("texts.txt");
    let record = |lines: &str, options: &[&str]| {
        std::fs::write(&file, lines).unwrap();
        let args = ["run", "--json", "--platform", "wasm", "--bits", "16", "--runs", "1", "--model"];
        let texts = [model.to_str().unwrap(), "--text-file", file.to_str().unwrap()];
        let finished = sandbox.run(&[&args[..], &texts, options].concat());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.json()
    };
    let by_default = record("a cat\nthe dog\n", &[]);
    assert_eq!((&by_default["input"]["prompt_name"], &by_default["input"]["batch"]), (&"query".into(), &2.into()));
    let written = record("query: a cat\nquery: the dog\n", &["--no-prompt-name"]);
    assert_eq!(written["input"]["prompt_name"], Value::Null);
    assert_eq!(by_default["output"], written["output"]);
    // What is compared with f32 had the same prompt.
    let cosine = &by_default["performance_metrics"]["quantization_error"]["cosine"];
    assert!(cosine.as_f64().unwrap() > 0.999, "{cosine}");
    let other = record("a cat\nthe dog\n", &["--prompt-name", "passage"]);
    assert_ne!(other["output"], written["output"]);
}

#[test]
fn a_package_runs_as_it_is_and_as_nothing_else() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
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
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    assert_near(&record, &expected, 0.999);
    let record = finished.json();
    assert_eq!(record["quantization"]["bits"], 8);
    assert_eq!(record["performance_metrics"]["quantization_error"], Value::Null, "its f32 weights are not at hand");
}
