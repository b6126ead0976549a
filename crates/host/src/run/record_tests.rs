//! Whole records beside those that are kept in `records/`: what a run says of itself changes only on purpose.
//!
//! Times, places and what differs from machine to machine are replaced. A record that is meant to change is written anew
//! with `WEBNIBBLE_WRITE_RECORDS=1`, and its difference is read before it is kept.

use std::path::Path;

use serde_json::Value;
use webnibble_common::generate::{FinishReason, Generated};
use webnibble_common::io::Output;
use webnibble_common::options::{Engine, LaunchOptions, Platform};
use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_common::tensor::DType;
use webnibble_common::wire::{Adjustment, AgentMessage, ErrorCode, HostMessage, KernelTime, RunReport, TensorInfo};

use super::request::RunRequest;
use super::testing::{Fault, Small, Step, answered, load_report, page, page_that, request, run_report};
use super::{Answer, Known, References, answer_in_page, record, run, run_in_turns, run_on, run_until, simulate};
use crate::host::Host;

use super::answer::Route::{Native, TransformersJs};

/// A run of the package, in a page that answers.
async fn of_package(small: &Small, change: impl FnOnce(&mut RunRequest), platform: Platform, host: &Host) -> RunRecord {
    let mut request = request(platform, Engine::Native);
    request.model = small.package_path().display().to_string();
    change(&mut request);
    run_on(host, request).await
}

/// A page whose answers have all that a report can have.
async fn full_page() -> Host {
    let mut loaded = None;
    page_that(move |asked| match asked {
        HostMessage::Load { options, .. } => {
            loaded = Some(options.clone());
            AgentMessage::Loaded { report: Box::new(load_report(options)) }
        }
        HostMessage::Run { options, .. } => {
            let report = full_report(loaded.as_ref().expect("what runs was loaded").platform);
            let report = match options.runs {
                0 => RunReport { run_ms: Vec::new(), gpu_ms: None, ..report },
                _ => report,
            };
            AgentMessage::Ran { report: Box::new(report), times: vec![] }
        }
        _ => AgentMessage::Done,
    })
    .await
}

fn full_report(platform: Platform) -> RunReport {
    let kind = match platform {
        Platform::Webgpu => ImplementationType::RealWebgpu,
        _ => ImplementationType::RealWasm,
    };
    let adjustment = |option: &str, code| Adjustment {
        option: option.into(),
        value: true.into(),
        code,
        reason: "the adapter's limit".into(),
    };
    RunReport {
        outputs: vec![TensorInfo { name: "last_hidden_state".into(), dtype: DType::F32, shape: vec![1, 2, 32] }],
        gpu_ms: (platform == Platform::Webgpu).then(|| vec![0.5, 0.5]),
        kernels: Some(vec![KernelTime { operator: "x".into(), kernel: "linear_q4".into(), ms: 0.25, bytes: 64 }]),
        adjustments: vec![
            adjustment("chunked_operations", None),
            adjustment("portable_kernels", Some(ErrorCode::Validation)),
        ],
        ..run_report(kind)
    }
}

#[tokio::test]
async fn a_success_on_webgpu() {
    let (small, host) = (Small::new(), full_page().await);
    let record = of_package(&small, |request| request.options.measure.profile = Some(true), Platform::Webgpu, &host);
    check("webgpu", &small, &record.await);
}

#[tokio::test]
async fn a_text() {
    let small = Small::new();
    let request = request(Platform::Wasm, Engine::Native);
    let generated = Generated {
        text: Some(" Paris".into()),
        tokens: vec![7042],
        finish_reason: FinishReason::EndToken,
        prompt_tokens: 5,
        prefill_ms: 2.0,
        token_ms: vec![0.5, 0.25],
    };
    let report = RunReport {
        outputs: Vec::new(),
        run_ms: Vec::new(),
        generated: Some(generated),
        ..run_report(ImplementationType::RealWasm)
    };
    let record = answered(&small, &request, report);
    let metrics = &record.performance_metrics;
    let speed = metrics.tokens_per_sec.unwrap();
    assert_eq!((metrics.time_to_first_token_ms, speed.prefill), (Some(2.0), 2500.0));
    assert!((speed.decode.unwrap() - 2666.67).abs() < 0.1, "{speed:?}");
    assert_eq!((metrics.inference_time_ms, metrics.throughput_items_per_sec), (None, None));
    let (text, tokens) = (Some(" Paris".into()), vec![7042]);
    assert_eq!(record.output, Some(Output::Text { text, tokens, finish_reason: FinishReason::EndToken }));
}

#[tokio::test]
async fn a_success_on_wasm_without_the_window_that_was_asked_for() {
    let (small, host) = (Small::new(), full_page().await);
    let windowed = |request: &mut RunRequest| {
        request.options.launch = LaunchOptions { headless: Some(false), ..LaunchOptions::default() };
    };
    check("wasm", &small, &of_package(&small, windowed, Platform::Wasm, &host).await);
}

#[tokio::test]
async fn a_platform_that_is_not_there_falls_back_to_simulation_in_the_page() {
    let (small, (host, _)) = (Small::new(), page(&[]).await);
    check("fallback", &small, &of_package(&small, |_| {}, Platform::Webnn, &host).await);
}

#[tokio::test]
async fn a_failure_falls_back_to_transformers_js_with_somebody_elses_file() {
    let small = Small::new();
    let faults = [(Native, Step::Load, ErrorCode::OutOfMemory)];
    check("transformers_js", &small, &of_folder(&small, &faults).await);
}

#[tokio::test]
async fn a_lost_device_after_a_fallback_is_an_error() {
    let small = Small::new();
    let faults = [(Native, Step::Load, ErrorCode::OutOfMemory), (TransformersJs, Step::Run, ErrorCode::Cancelled)];
    check("failed_after_fallback", &small, &of_folder(&small, &faults).await);
}

#[tokio::test]
async fn a_simulation_on_this_machine() {
    let small = Small::new();
    check("simulation", &small, &simulated(&small).await);
}

#[tokio::test]
async fn a_run_that_fails_says_how_far_it_got() {
    let (small, (host, _)) = (Small::new(), page(&[(Native, Step::Run, ErrorCode::DeviceLost)]).await);
    check("failed", &small, &of_package(&small, |_| {}, Platform::Webgpu, &host).await);
}

#[tokio::test]
async fn a_model_that_is_not_there() {
    let small = Small::new();
    let mut request = request(Platform::Webgpu, Engine::Native);
    request.model = "./there-is-no-such-model".into();
    check("no_model", &small, &run(request).await);
}

#[tokio::test]
async fn options_that_contradict_a_package() {
    let (small, (host, _)) = (Small::new(), page(&[]).await);
    let eight = |request: &mut RunRequest| request.options.settings.bits = Some(webnibble_common::quant::Bits::B8);
    check("bad_options", &small, &of_package(&small, eight, Platform::Webgpu, &host).await);
}

/// Given up when the page has loaded the model.
#[tokio::test]
async fn a_run_that_is_given_up() {
    let small = Small::new();
    let (loaded, heard) = tokio::sync::oneshot::channel();
    let mut loaded = Some(loaded);
    let host = page_that(move |asked| match asked {
        HostMessage::Load { options, .. } => AgentMessage::Loaded { report: Box::new(load_report(options)) },
        HostMessage::Run { .. } => {
            let _ = loaded.take().map(|loaded| loaded.send(()));
            // Whatever comes is no answer to a run.
            AgentMessage::Progress { stage: webnibble_common::wire::Stage::Run, done: 0, total: 1 }
        }
        _ => AgentMessage::Done,
    })
    .await;
    let mut request = request(Platform::Webgpu, Engine::Native);
    request.model = small.package_path().display().to_string();
    let record = run_until(&host, &request, async { heard.await.unwrap() }).await;
    check("given_up", &small, &record);
}

#[tokio::test]
async fn engines_in_turns() {
    let (small, host) = (Small::new(), full_page().await);
    let mut request = request(Platform::Webgpu, Engine::Native);
    request.model = small.package_path().display().to_string();
    request.options.measure.runs = Some(4);
    let records = run_in_turns(&host, vec![request.clone(), request], &References::default()).await;
    let [first, second] = records.try_into().expect("a record each");
    check("turns_first", &small, &first);
    check("turns_second", &small, &second);
}

/// Compares a record with the one that is kept under a name.
#[track_caller]
fn check(name: &str, small: &Small, record: &RunRecord) {
    let folder = small.package_path().parent().unwrap().display().to_string();
    let mut value = serde_json::to_value(record).unwrap();
    steady(&mut value, "");
    let found = serde_json::to_string_pretty(&value).unwrap().replace(&folder, "FOLDER") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/run/records/{name}.json"));
    if std::env::var_os("WEBNIBBLE_WRITE_RECORDS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == found, "{} says\n{kept}\nthe run\n{found}", path.display());
}

/// Replaces what is another one in each run or on each machine.
fn steady(value: &mut Value, key: &str) {
    let differs = ["timestamp", "host", "revision", "gpu", "start_ms", "throughput_items_per_sec"].contains(&key);
    match value {
        Value::Null => {}
        _ if differs => *value = "DIFFERS".into(),
        Value::Number(_) if key.ends_with("_ms") || key == "ms" => *value = "TIME".into(),
        Value::Object(fields) => {
            let times = key.ends_with("_ms");
            for (name, field) in fields {
                let name = if times && name != "runs" { "ms" } else { name.as_str() };
                steady(field, name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| steady(item, key)),
        // The CPU's last digits are its own.
        Value::Number(number) if number.is_f64() => {
            *value = format!("{:.2}", number.as_f64().unwrap_or_default()).into();
        }
        _ => {}
    }
}

/// The folder with its package, through the chain: nothing of the user's cache is read.
async fn of_folder(small: &Small, faults: &[Fault]) -> RunRecord {
    let request = request(Platform::Webgpu, Engine::Native);
    let (host, _) = page(faults).await;
    let mut known = Known::begin();
    let prepared = known.prepared(small.prepared(&request));
    let outcome = answer_in_page(&host, &mut known, &request, &small.opened(&request), Some(&prepared), None).await;
    record(&request, &known, outcome)
}

async fn simulated(small: &Small) -> RunRecord {
    let request = request(Platform::Webgpu, Engine::Native);
    let mut known = Known::begin();
    known.input = Some(small.opened(&request).input.info);
    let prepared = known.prepared(small.prepared(&request));
    let simulated = simulate(&request, &prepared).await.unwrap();
    record(&request, &known, Ok(Answer::Here(Box::new(simulated))))
}
