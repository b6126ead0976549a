//! Other browsers than Chromium: the same answer, and the implementation type that is expected of each.

use webnibble_common::result::RunRecord;
use webnibble_tests::{Sandbox, firefox, skip_unless, webkit};

use crate::golden::{answer, error, golden_input, run_golden};

/// The golden model in a browser; nothing is left of it.
fn run(browser: &[String], options: &[&str]) -> (RunRecord, f32) {
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let record = run_golden(&sandbox, &input, &[&browser[..], &["--runs", "2", "--bits", "32"], options].concat());
    sandbox.assert_clean();
    let found = error(&answer(&record), &expected);
    let browser = record.browser.as_ref().expect("a browser ran it");
    println!("golden BERT in {} {}: error {found:.2e}", browser.name, browser.version);
    (record, found)
}

#[test]
fn firefox_runs_webgpu_and_wasm() {
    skip_unless!(firefox());
    let browser = firefox().expect("looked for before");
    for (platform, kind) in [("webgpu", "REAL_WEBGPU"), ("wasm", "REAL_WASM")] {
        let (record, found) = run(&browser, &["--platform", platform, "--no-fallback"]);
        assert_eq!(record.implementation_type.unwrap().to_string(), kind);
        assert!(found <= 1e-3, "{platform}: {found:.2e}");
        assert!(record.performance_metrics.memory.browser_rss_bytes.unwrap() > 10_000_000);
    }
}

#[test]
fn firefox_has_no_webnn_and_says_so() {
    skip_unless!(firefox());
    let (record, found) = run(&firefox().expect("looked for before"), &["--platform", "webnn"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "SIMULATED_WEBNN");
    assert!(record.fallbacks[0].reason.contains("navigator.ml"), "{:?}", record.fallbacks);
    assert!(found <= 1e-3);
}

#[test]
fn webkit_runs_wasm_and_simulates_webgpu() {
    skip_unless!(webkit());
    let browser = webkit().expect("looked for before");
    let (record, found) = run(&browser, &["--platform", "wasm", "--no-fallback"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WASM");
    assert!(found <= 1e-3);
    let (record, found) = run(&browser, &["--platform", "webgpu"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "SIMULATED_WEBGPU");
    assert!(record.fallbacks[0].reason.contains("navigator.gpu"), "{:?}", record.fallbacks);
    assert!(found <= 1e-3);
}
