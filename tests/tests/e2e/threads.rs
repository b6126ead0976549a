//! The CPU executor's binaries and threads, from the command line.

use webnibble_tests::{Sandbox, browser_available, repository, skip_unless};

use crate::golden::{answer, error, golden_input, run_golden};

/// Whether `make wasm` built the binary with threads.
fn threads_built() -> Result<(), String> {
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
