//! The CPU executor's binaries and threads, from the command line.

use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_tests::{Sandbox, browser_available, mini_lm, mini_lm_available, repository, skip_unless};

use crate::golden::{answer, cosine, error, golden_input, run_golden};

/// Whether `make wasm` built the binary with threads.
pub(crate) fn threads_built() -> Result<(), String> {
    let binary = "pkg/threads/webnibble_agent_bg.wasm";
    if repository().join(binary).is_file() { Ok(()) } else { Err(format!("no {binary} (make wasm)")) }
}

#[test]
fn as_many_threads_as_asked_for_give_the_golden_answer() {
    skip_unless!(browser_available(), threads_built());
    for threads in ["1", "2", "3"] {
        let sandbox = Sandbox::default();
        let (input, expected) = golden_input(&sandbox);
        let options = ["--platform", "wasm", "--bits", "32", "--runs", "2", "--threads", threads];
        let record = run_golden(&sandbox, &input, &options);
        let kernels = record.kernels.as_ref().unwrap();
        // The page is cross-origin isolated, and this browser has relaxed SIMD.
        assert_eq!(kernels["threads"], threads, "{kernels:?}");
        assert_eq!(kernels["product"], "relaxed-simd", "{kernels:?}");
        let found = error(&answer(&record), &expected);
        println!("golden BERT at 32 bits on {threads} threads: error {found:.2e}");
        assert!(found <= 1e-3);
        sandbox.assert_clean();
    }
}

#[test]
fn linear_operators_in_int8_are_real_and_near_f32() {
    skip_unless!(browser_available(), threads_built());
    for threads in ["1", "2"] {
        let sandbox = Sandbox::default();
        let (input, expected) = golden_input(&sandbox);
        let options = ["--platform", "wasm", "--bits", "8", "--activation-bits", "8", "--no-fallback"];
        let record = run_golden(&sandbox, &input, &[&options[..], &["--threads", threads]].concat());
        assert_int8(&record);
        let answer = answer(&record);
        let cosine = cosine(&answer, &expected);
        println!(
            "golden BERT in int8 on {threads} threads: cosine {cosine:.5}, error {:.2e}",
            error(&answer, &expected)
        );
        assert!(cosine >= 0.99, "{cosine}");
        // Nothing was quantized if nothing is lost.
        assert!(cosine < 0.999_999, "{cosine}");
        sandbox.assert_clean();
    }
}

#[test]
fn a_sentence_in_int8_is_near_f32_without_calibration() {
    skip_unless!(browser_available(), threads_built(), mini_lm_available());
    let sandbox = Sandbox::default();
    let args = ["run", "--json", "--platform", "wasm", "--activation-bits", "8", "--no-fallback", "--runs", "1"];
    let model = mini_lm();
    let more = ["--model", model.to_str().unwrap(), "--text", "Rain fell on the roof all night."];
    let finished = sandbox.run(&[&args[..], &more].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    assert_int8(&record);
    assert_eq!(record.kernels.as_ref().unwrap()["linear"], "int8_dynamic: 24");
    let cosine = record.performance_metrics.quantization_error.unwrap().cosine;
    println!("all-MiniLM-L6-v2 in int8: cosine to f32 {cosine:.5}");
    assert!(cosine >= 0.995, "{cosine}");
    sandbox.assert_clean();
}

fn assert_int8(record: &RunRecord) {
    assert_eq!(record.implementation_type, Some(ImplementationType::RealWasm));
    let made = record.quantization.as_ref().unwrap();
    assert_eq!((made.bits, made.activation_bits), (Bits::B8, Bits::B8));
    assert!(record.fallbacks.is_empty(), "{:?}", record.fallbacks);
    assert!(record.kernels.as_ref().unwrap()["linear"].starts_with("int8_dynamic: "), "{:?}", record.kernels);
}
