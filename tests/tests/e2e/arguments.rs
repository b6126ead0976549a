//! What needs no browser: wrong arguments, what is missing, files.

use webnibble_tests::{Sandbox, golden_bert, repository};

#[test]
fn wrong_arguments_exit_with_2() {
    let sandbox = Sandbox::default();
    for args in [
        &["dance"][..],
        &["run"],
        &["run", "--text", "a", "--bits", "3"],
        &["run", "--text", "a", "--bits", "0"],
        &["run", "--text", "a", "--platform", "vulkan"],
        &["run", "--text", "a", "--group-size", "32", "--per-channel"],
        &["run", "--text", "a", "--ids", "file"],
        &["run", "--text", "a", "--workgroup-size", "1,2"],
        &["run", "--ids", "/there/is/no/such/file"],
        &["run", "--text", "a", "--browser", "opera"],
        &["quantize"],
        &["quantize", "in"],
        &["quantize", "--tensor", "random"],
        &["demo", "--runs", "0"],
    ] {
        let finished = sandbox.run(args);
        assert_eq!(finished.code, Some(2), "{args:?}: {finished:?}");
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{args:?}: {finished:?}");
    }
}

#[test]
fn under_json_every_failure_is_one_document() {
    let sandbox = Sandbox::default();
    for (args, code, status) in [
        (&["eval", "--data", "/no/such/file"][..], "data", 1),
        (&["export", "--onnx", "./no-such-model", "out"], "model", 1),
        (&["inspect", "./no-such-model"], "model", 1),
        (&["quantize", "./no-such-model", "out"], "model", 1),
        (&["report"], "report", 1),
        (&["report", "/no/such/file"], "report", 1),
        (&["demo", "--model", "./no-such-model"], "model", 1),
        (&["bench", "--vs", "onnxruntime-web", "--model", "./no-such-model"], "model", 1),
        (&["run", "--audio", "cat.wav"], "not_yet", 1),
        (&["run", "--image", "/no/such/file.png"], "bad_arguments", 2),
        (&["run", "--ids", "/no/such/file"], "bad_arguments", 2),
        (&["bench", "--activation-bits", "4"], "bad_arguments", 2),
        (&["verify", "--platform", "vulkan"], "bad_arguments", 2),
        (&["run"], "bad_arguments", 2),
    ] {
        let finished = sandbox.run(&[args, &["--json"]].concat());
        assert_eq!(finished.code, Some(status), "{args:?}: {finished:?}");
        let document = finished.json();
        assert_eq!((&document["status"], &document["error"]["code"]), (&"error".into(), &code.into()), "{args:?}");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && finished.stderr.contains(message), "{args:?}: {finished:?}");
    }
}

#[test]
fn the_record_of_a_run_is_a_report_with_its_time_from_start_to_first_result() {
    let sandbox = Sandbox::default();
    let record = repository().join("crates/common/src/record/record.golden.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let total = golden["performance_metrics"]["start_to_first_result_ms"]["total"].as_f64().unwrap();
    let shown = sandbox.run(&["report", record.to_str().unwrap()]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut table = shown.stdout.lines().filter(|line| line.starts_with('|')).map(cells);
    let (head, row) = (table.next().unwrap(), table.nth(1).unwrap());
    let column = head.iter().position(|name| name == "start ms").expect("a column for it");
    assert_eq!(row[column], format!("{total:.2}"), "{}", shown.stdout);
}

#[test]
fn contradictions_that_only_the_model_shows_exit_with_2_and_have_a_record() {
    let bert = golden_bert();
    let sandbox = Sandbox::default();
    let model = bert.to_str().unwrap();
    for options in [
        &["--group-size", "24"][..],
        &["--group-size", "0"],
        &["--attention-bits", "8", "--no-mixed-precision"],
        // No browser is started to find that out.
        &["--platform", "auto", "--group-size", "24", "--browser-binary", "/bin/false"],
    ] {
        let args = [&["run", "--json", "--model", model, "--text", "a"], options].concat();
        let finished = sandbox.run(&args);
        assert_eq!(finished.code, Some(2), "{options:?}: {finished:?}");
        let record = finished.json();
        assert_eq!((&record["status"], &record["error"]["code"]), (&"error".into(), &"bad_options".into()));
    }
}

#[test]
fn without_fallback_a_request_that_cannot_be_kept_exits_with_3() {
    let (bert, sandbox) = (golden_bert(), Sandbox::default());
    let no_browser = ["--no-fallback", "--browser-binary", "/bin/false"];
    for options in [
        &["--platform", "webnn", "--bits", "4"][..],
        &["--platform", "webgpu", "--activation-bits", "8"],
        &["--platform", "webgpu", "--compute-shaders"],
    ] {
        let args = ["run", "--json", "--model", bert.to_str().unwrap(), "--text", "a"];
        let finished = sandbox.run(&[&args[..], options, &no_browser].concat());
        assert_eq!(finished.code, Some(3), "{options:?}: {finished:?}");
        let record = finished.json();
        assert_eq!(record["error"]["code"], "request_not_kept", "{record}");
        assert!(record["implementation_type"].is_null() && record["output"].is_null(), "{record}");
    }
}

#[cfg(not(target_os = "macos"))]
#[test]
fn a_browser_that_is_not_installed_is_named_with_what_brings_it() {
    let finished = Sandbox::default().run(&["doctor", "--safari"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("Safari was not found") && finished.stderr.contains("--browser webkit"),
        "{finished:?}"
    );
}

#[test]
fn a_missing_model_browser_or_driver_is_named() {
    let sandbox = Sandbox::default();
    let finished = sandbox.run(&["run", "--text", "a", "--model", "./no-such-model"]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("no-such-model"), "{finished:?}");
    for (flag, command) in [("--browser-binary", "apt-get install chromium"), ("--driver", "chromium-driver")] {
        let finished = sandbox.run(&["doctor", flag, "/no/such/program"]);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("/no/such/program") && finished.stderr.contains(command), "{finished:?}");
    }
}

#[test]
fn quantize_writes_a_package_that_inspect_reads() {
    let sandbox = Sandbox::default();
    let package = sandbox.path().join("four.safetensors");
    let (bert, package) = (golden_bert(), package.to_str().unwrap());
    let quantized = sandbox.run(&["quantize", bert.to_str().unwrap(), package, "--bits", "4", "--json"]);
    assert_eq!(quantized.code, Some(0), "{quantized:?}");
    let document = quantized.json();
    assert_eq!(document["options"]["bits"], 4);
    assert!(document["total"]["cosine"].as_f64().unwrap() > 0.98, "{document}");

    let inspected = sandbox.run(&["inspect", package, "--json"]);
    assert_eq!(inspected.code, Some(0), "{inspected:?}");
    let found = inspected.json();
    assert_eq!((&found["kind"], &found["family"]), (&"package".into(), &"bert".into()));
    assert_eq!(found["digest"], document["digest"]);
    let table = sandbox.run(&["inspect", package]).stdout;
    assert!(table.contains("q4-sym"), "{table}");
}

#[test]
fn one_tensor_shows_what_bits_cost() {
    let sandbox = Sandbox::default();
    let cosine = |bits: &str| {
        let finished = sandbox.run(&["quantize", "--tensor", "random:256x256", "--bits", bits, "--json"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.json()["stats"]["cosine"].as_f64().unwrap()
    };
    let (two, four, eight) = (cosine("2"), cosine("4"), cosine("8"));
    assert!(two < four && four < eight && eight > 0.9999, "{two} {four} {eight}");
}
