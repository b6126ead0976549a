//! What comes after a platform that fails: the next route, simulation that says so, or exit status 3.

use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_tests::{Sandbox, browser_available, golden_bert, skip_unless};

use crate::golden::{answer, error, golden_input, run_golden};

/// Chromium without any WebGPU adapter.
const NO_ADAPTER: [&str; 2] = ["--browser-arg=--disable-gpu", "--browser-arg=--disable-software-rasterizer"];

/// A simulation gives right numbers, and none of its times is the platform's.
#[track_caller]
fn assert_simulated(record: &RunRecord, kind: ImplementationType, place: &str, expected: &[f32]) {
    assert_eq!(record.implementation_type, Some(kind));
    assert_eq!((record.is_simulation, record.simulated_in.as_deref()), (Some(true), Some(place)));
    assert!(error(&answer(record), expected) <= 1e-3);
    let metrics = &record.performance_metrics;
    assert_eq!((metrics.inference_time_ms, metrics.gpu_time_ms), (None, None));
    // Nor is anything else that the stand-in took the platform's.
    assert_eq!((metrics.first_inference_time_ms, metrics.initialization_time_ms), (None, None));
    assert_eq!((metrics.start_to_first_result_ms, metrics.throughput_items_per_sec), (None, None));
    assert_eq!(metrics.cpu_time_ms.unwrap().runs, 2);
    assert!(record.adapter.is_none() && record.webnn.is_none(), "neither ran it");
    for step in &record.fallbacks {
        assert!(!step.code.is_empty() && !step.reason.is_empty(), "{step:?}");
    }
}

fn steps(record: &RunRecord) -> Vec<(&str, &str)> {
    record.fallbacks.iter().map(|step| (step.from.as_str(), step.to.as_str())).collect()
}

#[test]
fn webnn_without_a_backend_is_simulated_in_the_page_or_exits_3() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let record = run_golden(&sandbox, &input, &["--platform", "webnn", "--bits", "32", "--runs", "2"]);
    assert_simulated(&record, ImplementationType::SimulatedWebnn, "page", &expected);
    let chain = [("webnn by native", "webnn by transformers-js"), ("webnn by transformers-js", "simulated webnn")];
    assert_eq!(steps(&record), chain);
    assert!(record.fallbacks[0].reason.contains("navigator.ml is there, but gave no context"), "{record:?}");

    let (bert, input) = (golden_bert(), input.to_str().unwrap());
    let args = ["run", "--json", "--model", bert.to_str().unwrap(), "--input", input, "--platform", "webnn"];
    let finished = sandbox.run(&[&args[..], &["--no-fallback"]].concat());
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let refused = finished.json();
    assert_eq!(refused["error"]["code"], "platform_unavailable", "{}", refused["error"]);
    assert!(refused["implementation_type"].is_null() && refused["output"].is_null(), "nothing ran");
    assert!(refused["error"]["hint"].as_str().unwrap().contains("docs/webnn.md"), "{}", refused["error"]);
    sandbox.assert_clean();
}

#[test]
fn webgpu_without_an_adapter_is_simulated_in_the_page_or_exits_3() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let options = [&["--platform", "webgpu", "--bits", "32", "--runs", "2"][..], &NO_ADAPTER].concat();
    let record = run_golden(&sandbox, &input, &options);
    assert_simulated(&record, ImplementationType::SimulatedWebgpu, "page", &expected);
    assert!(record.fallbacks[0].reason.contains("gave no adapter, asked"), "asked more than once: {record:?}");

    let (bert, input) = (golden_bert(), input.to_str().unwrap());
    let args = ["run", "--model", bert.to_str().unwrap(), "--input", input, "--platform", "webgpu", "--no-fallback"];
    let finished = sandbox.run(&[&args[..], &["--gpu", "software"], &NO_ADAPTER].concat());
    assert_eq!(finished.code, Some(3), "{finished:?}");
}

#[test]
fn without_a_browser_the_host_simulates() {
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    // Safari is nowhere but on macOS.
    let options =
        ["--bits", "32", "--runs", "2", "--browser", if cfg!(target_os = "macos") { "webkit" } else { "safari" }];
    let record = run_golden(&sandbox, &input, &[&["--platform", "webgpu"][..], &options].concat());
    assert_simulated(&record, ImplementationType::SimulatedWebgpu, "host", &expected);
    assert_eq!(record.fallbacks[0].code, "browser_not_found");
    assert!(record.browser.is_none());

    let (bert, input) = (golden_bert(), input.to_str().unwrap());
    let args = ["run", "--json", "--model", bert.to_str().unwrap(), "--input", input];
    // The CPU executor in the page is what was asked for: it has no stand-in.
    for more in [&["--platform", "wasm"][..], &["--platform", "webgpu", "--no-fallback"], &["--platform", "auto"]] {
        let finished = sandbox.run(&[&args[..], &options, more].concat());
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert_eq!(finished.json()["error"]["code"], "browser_not_found");
    }
}

#[test]
fn an_input_that_does_not_fit_fails_on_every_route_alike() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (bert, ids) = (golden_bert(), sandbox.path().join("ids"));
    std::fs::write(&ids, "1 2 99999999").unwrap();
    let args = ["run", "--json", "--platform", "webgpu", "--gpu", "software", "--ids", ids.to_str().unwrap()];
    let finished = sandbox.run(&[&args[..], &["--model", bert.to_str().unwrap()]].concat());
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let record = finished.json();
    assert_eq!((&record["error"]["code"], &record["fallbacks"]), (&"bad_input".into(), &serde_json::json!([])));
}

#[test]
fn auto_measures_once_and_remembers() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let run = || run_golden(&sandbox, &input, &["--platform", "auto", "--bits", "32", "--runs", "2"]);
    let (first, second) = (run(), run());
    for record in [&first, &second] {
        assert_eq!(record.is_simulation, Some(false));
        assert!(error(&answer(record), &expected) <= 1e-3);
        let choice = record.choice.as_ref().expect("a choice is told");
        let ran: Vec<_> =
            choice.candidates.iter().filter(|one| one.ms.is_some()).map(|one| one.platform.name()).collect();
        assert_eq!(ran, ["webgpu", "wasm"], "{choice:?}");
        let fastest =
            choice.candidates.iter().filter(|one| one.ms.is_some()).min_by(|a, b| a.ms.partial_cmp(&b.ms).unwrap());
        let label = format!("REAL_{}", fastest.unwrap().platform.name().to_uppercase());
        assert_eq!(record.implementation_type.unwrap().to_string(), label);
    }
    let reasons = [first, second].map(|record| record.choice.unwrap().reason);
    assert!(reasons[0].contains("measured now") && reasons[0].contains("webnn does not run"), "{}", reasons[0]);
    assert!(reasons[1].contains("remembered from"), "{}", reasons[1]);
}
