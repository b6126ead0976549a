//! Browsers that die, pages that close, users who press Ctrl-C: a clear error in time, and nothing left behind.

use std::path::PathBuf;
use std::time::Duration;

use webnibble_tests::{
    Finished, PATIENCE, Running, Sandbox, browser_available, client_waits, golden_bert, signal, skip_unless, wait_until,
};

/// How long a run may take to notice that its page is gone: the page may come back for three seconds, and its browser has
/// a few for its last words and its end.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);

/// A run that goes on for hours, in the middle of its inferences.
fn long_run(sandbox: &Sandbox, platform: &str) -> Running {
    run_for(sandbox, platform, 100_000_000)
}

/// A run of so many inferences, in the middle of them.
fn run_for(sandbox: &Sandbox, platform: &str, runs: usize) -> Running {
    let ids: PathBuf = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3 4 5").unwrap();
    let (bert, ids, runs) = (golden_bert(), ids.to_str().unwrap().to_owned(), runs.to_string());
    let args = ["run", "--json", "--verbose", "--gpu", "software", "--platform", platform];
    let more = ["--model", bert.to_str().unwrap(), "--ids", &ids, "--runs", &runs];
    let mut running = sandbox.start(&[&args[..], &more].concat());
    running.wait_for_log("request 2: run");
    running
}

/// The error of a run whose browser came to harm.
#[track_caller]
fn failed(sandbox: &Sandbox, running: Running) -> (String, String) {
    let finished: Finished = running.finish(NOTICE_LIMIT);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let record = finished.json();
    assert_eq!(record["status"], "error");
    sandbox.assert_clean();
    let text = |field: &str| record["error"][field].as_str().unwrap().to_owned();
    println!("noticed after {:.1} s: {}", finished.took.as_secs_f64(), text("message"));
    (text("code"), text("message"))
}

#[test]
fn a_browser_that_is_killed_ends_the_run_with_an_error() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let running = long_run(&sandbox, "wasm");
    let browser = sandbox.processes().into_iter().find(webnibble_tests::Process::is_browser).expect("a browser runs");
    signal(browser.id, "KILL");
    let (code, message) = failed(&sandbox, running);
    assert_eq!(code, "disconnected");
    assert!(message.contains("ended unexpectedly"), "{message}");
}

#[test]
fn a_page_that_crashes_ends_the_run_with_an_error() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let running = long_run(&sandbox, "wasm");
    for process in sandbox.processes().iter().filter(|process| process.is_helper("renderer")) {
        signal(process.id, "KILL");
    }
    let (code, message) = failed(&sandbox, running);
    assert_eq!(code, "disconnected");
    assert!(message.contains("page is gone"), "{message}");
}

#[test]
fn a_gpu_process_that_dies_ends_the_run_with_an_error() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let running = long_run(&sandbox, "webgpu");
    let gpu = sandbox.processes().into_iter().find(|process| process.is_helper("gpu-process"));
    signal(gpu.expect("a GPU process runs").id, "KILL");
    let (code, _) = failed(&sandbox, running);
    assert_eq!(code, "device_lost");
}

#[test]
fn a_page_that_lost_its_host_for_a_while_comes_back_and_the_run_goes_on() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    // Longer than a page waits in silence before it tries another socket, on any machine.
    let short = run_for(&sandbox, "wasm", 200).finish(PATIENCE).json();
    let runs = 10_000.0 / short["performance_metrics"]["inference_time_ms"]["p50"].as_f64().unwrap();
    let running = run_for(&sandbox, "wasm", runs as usize);
    let log = running.stderr();
    let address = log.split("serving on http://127.0.0.1:").nth(1).expect("the address is logged");
    let port: u16 = address.split_whitespace().next().unwrap().parse().unwrap();
    // As on a laptop that is closed: the host hears and says nothing, until the page tries another socket.
    running.signal("STOP");
    wait_until("the page opens another socket", PATIENCE, || client_waits(port));
    running.signal("CONT");
    let finished = running.finish(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("is back"), "{finished:?}");
    sandbox.assert_clean();
}

#[test]
fn signals_end_a_run_and_leave_nothing_behind() {
    skip_unless!(browser_available());
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let sandbox = Sandbox::default();
        let running = long_run(&sandbox, "wasm");
        assert!(!sandbox.processes().is_empty());
        running.signal(name);
        let finished = running.finish(NOTICE_LIMIT);
        assert_eq!(finished.code, Some(code), "{name}: {finished:?}");
        sandbox.assert_clean();
    }
}

#[test]
fn even_a_command_that_is_killed_leaves_nothing_behind() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let running = long_run(&sandbox, "wasm");
    running.signal("KILL");
    running.finish(NOTICE_LIMIT);
    sandbox.assert_clean();
}

#[test]
fn a_signal_while_the_browser_starts_leaves_nothing_behind() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let running = sandbox.start(&["doctor"]);
    wait_until("a browser starts", PATIENCE, || sandbox.processes().iter().any(webnibble_tests::Process::is_browser));
    running.signal("INT");
    let finished = running.finish(NOTICE_LIMIT);
    assert_eq!(finished.code, Some(130), "{finished:?}");
    sandbox.assert_clean();
}

#[test]
fn a_panic_leaves_nothing_behind() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    // This process is the host here: nextest gives every test its own.
    let temporary = sandbox.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    tempfile::env::override_temp_dir(&temporary).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let panicked = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let _host = webnibble_host::Host::builder().start().await.unwrap();
            panic!("on purpose");
        });
    });
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    sandbox.assert_clean();
}
