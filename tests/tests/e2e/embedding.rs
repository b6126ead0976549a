//! The package in pages that embed it: as it is, built by bundlers, called wrongly, and imported where there is no page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use webnibble_tests::{
    PATIENCE, Running, Sandbox, browser_available, golden_bert, node_available, repository, skip_unless,
};

use crate::golden::{error, golden_input};

const VARIANTS: [&str; 3] = ["baseline", "relaxed", "threads"];

/// Whether `make wasm` built every binary.
fn every_binary_built() -> Result<(), String> {
    let missing = VARIANTS.iter().find(|variant| !binary(variant).is_file());
    missing.map_or(Ok(()), |variant| Err(format!("no pkg/{variant} (make wasm)")))
}

fn binary(variant: &str) -> PathBuf {
    repository().join("pkg").join(variant).join("webnibble_agent_bg.wasm")
}

/// The folder of Vite and webpack, as `scripts/fetch-bundlers.sh` puts it.
fn bundlers() -> Result<String, String> {
    let mut fetch = Command::new(repository().join("scripts/fetch-bundlers.sh"));
    let fetched = fetch.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
    let folder = String::from_utf8_lossy(&fetched.stdout).trim().to_owned();
    if fetched.status.success() { Ok(folder) } else { Err(format!("no bundlers: {}", said.trim())) }
}

/// Runs tests/bundlers/check.mjs to its end; what the page reported.
#[track_caller]
fn check(sandbox: &Sandbox, model: &Path, input: &Path, what: &[&str]) -> Value {
    let temporary = sandbox.path().join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut node = Command::new("node");
    node.arg(repository().join("tests/bundlers/check.mjs")).args(what);
    node.arg("--pkg").arg(repository().join("pkg")).arg("--model").arg(model).arg("--input").arg(input);
    node.env("TMPDIR", &temporary).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = Running::of(node).finish(PATIENCE);
    assert_eq!(finished.code, Some(0), "{what:?}: {finished:?}");
    let report: Value = serde_json::from_str(finished.stdout.lines().last().unwrap_or_default()).unwrap();
    assert_eq!(report["error"], Value::Null, "{what:?}: {report}");
    report
}

/// The golden model as a package of its own f32 weights.
fn golden_package(sandbox: &Sandbox) -> PathBuf {
    let (bert, package) = (golden_bert(), sandbox.path().join("golden.safetensors"));
    let args =
        ["quantize", bert.to_str().unwrap(), package.to_str().unwrap(), "--bits", "32", "--embedding-bits", "32"];
    let finished = sandbox.run(&args);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    package
}

/// The page on WebGPU and a Worker by each binary give the golden answer, and the bundler found nothing to say.
#[track_caller]
fn assert_built(build: &str, from: &str, tools: &str) {
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let package = golden_package(&sandbox);
    let report = check(&sandbox, &package, &input, &["--build", build, "--from", from, "--tools", tools]);
    assert_eq!(report["warnings"], serde_json::json!([]), "{build} {from}");
    assert_eq!(report["page"]["implementation_type"], "REAL_WEBGPU");
    for variant in VARIANTS {
        let found = &report[variant];
        assert_eq!(
            (&found["variant"], &found["implementation_type"]),
            (&variant.into(), &"REAL_WASM".into()),
            "{found}"
        );
    }
    assert_eq!(report["threads"]["threads"], "2", "{build} {from}");
    for who in ["page", "baseline", "relaxed", "threads"] {
        let values: Vec<f32> = serde_json::from_value(report[who]["values"].clone()).unwrap();
        let found = error(&values, &expected);
        println!("{build} from {from}, {who}: error {found:.2e}");
        assert!(found <= 1e-3, "{build} {from} {who}: {found:.2e}");
    }
    sandbox.assert_clean();
}

#[test]
fn without_a_bundler() {
    skip_unless!(browser_available(), node_available(), every_binary_built());
    assert_built("plain", "source", "");
}

#[test]
fn built_by_vite() {
    skip_unless!(browser_available(), node_available(), every_binary_built(), bundlers());
    let tools = bundlers().unwrap();
    for (build, from) in
        [("vite-dev", "source"), ("vite-dev", "module"), ("vite-build", "source"), ("vite-build", "module")]
    {
        assert_built(build, from, &tools);
    }
}

#[test]
fn built_by_webpack() {
    skip_unless!(browser_available(), node_available(), every_binary_built(), bundlers());
    let tools = bundlers().unwrap();
    for (build, from) in
        [("webpack-dev", "source"), ("webpack-dev", "module"), ("webpack-build", "source"), ("webpack-build", "module")]
    {
        assert_built(build, from, &tools);
    }
}

fn plain_page(page: &str) -> Value {
    let sandbox = Sandbox::default();
    let (input, _) = golden_input(&sandbox);
    let report = check(&sandbox, &golden_package(&sandbox), &input, &["--page", page]);
    sandbox.assert_clean();
    report
}

/// An error that says what is wrong and what to do.
#[track_caller]
fn assert_error(report: &Value, name: &str, code: &str) {
    let error = &report[name]["error"];
    assert_eq!(error["code"], code, "{name}: {}", report[name]);
    assert_eq!(error["name"], "WebnibbleError", "{name}: {error}");
    for field in ["message", "hint"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {field}: {error}");
    }
}

/// One page, since a browser takes longer than all of its calls.
#[test]
fn every_call_settles_whatever_it_was_given() {
    skip_unless!(browser_available(), node_available());
    let report = plain_page("faults.html");
    assert_wrong_calls(&report);
    assert_no_waiting(&report);
    assert_panic(&report);
}

fn assert_wrong_calls(report: &Value) {
    let wrong: Vec<&String> = report.as_object().unwrap().keys().filter(|name| name.starts_with("wrong.")).collect();
    assert!(wrong.len() > 60, "{wrong:?}");
    for name in wrong {
        let option = ["init.", "options.", ".progress"].iter().any(|part| name.contains(part));
        assert_error(report, name, if option { "bad_option" } else { "bad_input" });
    }
    for name in ["before.load", "before.capabilities"] {
        assert_error(report, name, "not_initialized");
    }
    assert_eq!(report["init"]["same"], true);
    for name in ["variants.null", "load.url_object", "run.ids", "run.nothing", "run.progress_that_throws"] {
        assert!(report[name]["value"].is_string(), "{name}: {}", report[name]);
    }
}

/// A load that never ends keeps nobody else waiting; `dispose` waits for runs, and what comes later is an error.
fn assert_no_waiting(report: &Value) {
    let settled = ["stalled.capabilities", "stalled.load", "dispose.twice", "dispose.running", "dispose.queued"];
    for name in settled {
        assert!(report[name]["value"].is_string(), "{name}: {}", report[name]);
    }
    assert_error(report, "stalled.deadline", "deadline");
    assert_eq!(report["stalled.aborted"]["error"]["code"], "cancelled");
    assert_error(report, "dispose.run", "unknown_model");
    assert_eq!(report["dispose.report"]["value"], "REAL_WASM");
}

/// A panic rejects what is in flight and what comes later.
fn assert_panic(report: &Value) {
    for name in ["panic.run", "panic.running", "panic.later", "panic.load", "panic.capabilities"] {
        assert_error(report, name, "internal");
        let message = report[name]["error"]["message"].as_str().unwrap();
        assert!(message.contains("AbortController"), "{name} does not say why: {message}");
    }
    assert_eq!(report["panic.dispose"]["value"], "undefined");
}

#[test]
fn where_webassembly_is_forbidden_init_says_so() {
    skip_unless!(browser_available(), node_available());
    let report = plain_page("csp.html");
    assert_error(&report, "init", "wasm_unavailable");
    assert!(report["init"]["error"]["hint"].as_str().unwrap().contains("wasm-unsafe-eval"), "{report}");
    let binaries = report["requests"].as_array().unwrap().iter().filter(|url| url.as_str().unwrap().ends_with(".wasm"));
    assert_eq!(binaries.count(), 0, "nothing is downloaded that cannot be used: {report}");
}

#[test]
fn imported_where_there_is_no_page_it_leaves_nothing_running() {
    skip_unless!(browser_available(), node_available());
    let built = VARIANTS.iter().filter(|variant| binary(variant).is_file()).map(|variant| format!("{variant}/"));
    for folder in built.chain([String::new()]) {
        let module = repository().join(format!("pkg/{folder}webnibble_agent.js"));
        let mut node = Command::new("node");
        let script = format!("console.log(Object.keys(await import({:?})).join())", module.display().to_string());
        node.args(["--input-type=module", "--eval", &script]);
        node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let finished = Running::of(node).finish(Duration::from_secs(30));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(finished.stdout.contains("Model"), "{finished:?}");
    }
}
