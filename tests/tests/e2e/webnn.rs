//! WebNN for real, in a browser that has a backend.

use webnibble_common::result::RunRecord;
use webnibble_tests::{Sandbox, skip_unless, webnn_browser};

use crate::golden::{answer, error, golden_input, run_golden};

/// The golden model on WebNN.
fn run(options: &[&str]) -> (RunRecord, Vec<f32>) {
    let sandbox = Sandbox::default();
    let (input, expected) = golden_input(&sandbox);
    let browser = webnn_browser().expect("looked for before");
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let args = ["--platform", "webnn", "--runs", "2"];
    let record = run_golden(&sandbox, &input, &[&args[..], &browser, options].concat());
    sandbox.assert_clean();
    (record, expected)
}

#[test]
fn the_golden_answer_on_webnn() {
    skip_unless!(webnn_browser());
    // Weights in f32 and f16 leave the answer as it is; 8 bits cost little.
    for (bits, tolerance) in [("32", 1e-3), ("16", 1e-2), ("8", 5e-2)] {
        let (record, expected) = run(&["--bits", bits, "--no-fallback"]);
        assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
        assert_eq!((record.is_simulation, record.fallbacks.len()), (Some(false), 0), "{record:?}");
        let found = error(&answer(&record), &expected);
        let webnn = record.webnn.expect("WebNN ran");
        println!("golden BERT at {bits} bits on WebNN: error {found:.2e}, lowering {}", webnn.lowering);
        assert!(found <= tolerance, "{bits} bits: {found:.2e}");
        assert!(!webnn.lowering.is_empty() && webnn.operators.values().sum::<usize>() > 10, "{webnn:?}");
        assert!(record.performance_metrics.inference_time_ms.unwrap().p50 > 0.0);
        assert!(record.performance_metrics.memory.weights_bytes.unwrap() > 100_000);
    }
}

#[test]
fn four_bits_are_an_experiment_and_otherwise_eight() {
    skip_unless!(webnn_browser());
    let (record, _) = run(&["--bits", "4"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
    assert_eq!(record.quantization.unwrap().bits.count(), 8);
    assert_eq!(record.fallbacks.len(), 1);
    assert!(record.fallbacks[0].reason.contains("8 and 16 bits"), "{:?}", record.fallbacks);

    let (record, _) = run(&["--bits", "4", "--experimental-precision", "--no-fallback"]);
    assert_eq!(record.implementation_type.unwrap().to_string(), "REAL_WEBNN");
    let made = record.quantization.unwrap();
    assert_eq!((made.bits.count(), made.experimental), (4, true));
}

#[test]
fn the_device_is_what_the_context_says() {
    skip_unless!(webnn_browser());
    let (record, _) = run(&["--bits", "16", "--execution-provider", "cpu", "--no-fallback"]);
    let webnn = record.webnn.unwrap();
    assert_eq!(webnn.requested, "cpu");
    if let Some(devices) = webnn.reported_devices {
        assert_eq!(devices, ["cpu"]);
    }
}
