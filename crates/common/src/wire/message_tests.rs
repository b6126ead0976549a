//! Literal JSON of every message, in both directions, and what is not a message.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::capabilities::{Adapter, Capabilities};
use crate::generate::{FinishReason, Generated, Part};
use crate::implementation::ImplementationType;
use crate::io::Input;
use crate::options::{GenerationOptions, PageSettings, Platform};
use crate::prompt::PromptChoice;
use crate::quant::Bits;
use crate::tensor::DType;
use crate::tokens::TokensKept;
use crate::warmup::Warmup;

/// The message is written as `expected`, and `expected` is read as the message.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "callers build both in place")]
fn check<M: Serialize + DeserializeOwned + PartialEq + Debug>(body: M, expected: Value) {
    let envelope = Envelope::new(7, body);
    let text = envelope.to_text().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert_eq!(Envelope::<M>::from_text(&expected.to_string()).unwrap(), envelope);
}

fn error() -> RemoteError {
    RemoteError::new(ErrorCode::OutOfMemory, "asked for 9 bytes, 8 are free", "use fewer bits")
}

#[test]
fn a_message_is_one_flat_object_with_its_version_first() {
    let ping = Envelope::new(7, HostMessage::Ping { payload: "x".into() });
    assert_eq!(ping.to_text().unwrap(), r#"{"v":1,"id":7,"type":"ping","payload":"x"}"#);
}

#[test]
fn host_session_messages() {
    check(
        HostMessage::Welcome { resume_key: "key".into(), heartbeat_ms: 1500 },
        json!({"v": 1, "id": 7, "type": "welcome", "resume_key": "key", "heartbeat_ms": 1500}),
    );
    check(
        HostMessage::Refused { error: error() },
        json!({"v": 1, "id": 7, "type": "refused", "error": {
            "code": "out_of_memory", "message": "asked for 9 bytes, 8 are free", "hint": "use fewer bits"}}),
    );
    check(HostMessage::Cancel { request: 3 }, json!({"v": 1, "id": 7, "type": "cancel", "request": 3}));
    check(HostMessage::Ping { payload: "p".into() }, json!({"v": 1, "id": 7, "type": "ping", "payload": "p"}));
    check(HostMessage::Pong { payload: "p".into() }, json!({"v": 1, "id": 7, "type": "pong", "payload": "p"}));
    check(HostMessage::Shutdown, json!({"v": 1, "id": 7, "type": "shutdown"}));
}

#[test]
fn host_model_messages() {
    let settings = PageSettings { portable_kernels: Some(true), half_tiles: true, ..PageSettings::default() };
    // Options of the table stand beside the others; their names and values are tested with the table.
    let mut wire = serde_json::to_value(&settings).unwrap();
    let rest = json!({"platform": "webgpu", "engine": "native", "simulate": false, "prefer_device": false,
        "portable_kernels": true, "half_tiles": true, "deadline_ms": 5000});
    wire.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let options = LoadOptions { settings, deadline_ms: Some(5000), ..LoadOptions::on(Platform::Webgpu) };
    check(
        HostMessage::Load { model: "m".into(), url: "/packages/d.safetensors".into(), digest: "d".into(), options },
        json!({"v": 1, "id": 7, "type": "load", "model": "m", "url": "/packages/d.safetensors", "digest": "d",
            "options": wire}),
    );
    let options = RunOptions {
        warmup: Some(2),
        runs: 10,
        profile: true,
        outputs: vec!["pooler_output".into()],
        generate: None,
        deadline_ms: None,
    };
    check(
        HostMessage::Run {
            model: "m".into(),
            input: Input::Text { texts: vec!["a".into()], truncate: true, prompt: PromptChoice::None },
            options: options.clone(),
        },
        json!({"v": 1, "id": 7, "type": "run", "model": "m",
            "input": {"kind": "text", "texts": ["a"], "truncate": true, "prompt": "none"},
            "options": {"warmup": 2, "runs": 10, "profile": true, "outputs": ["pooler_output"],
                "deadline_ms": null}}),
    );
    check(
        HostMessage::Run { model: "m".into(), input: Input::ids(vec![vec![101, 102]]), options: options.clone() },
        json!({"v": 1, "id": 7, "type": "run", "model": "m", "input": {"kind": "ids", "ids": [[101, 102]]},
            "options": {"warmup": 2, "runs": 10, "profile": true, "outputs": ["pooler_output"],
                "deadline_ms": null}}),
    );
    let tensors = vec![TensorInfo { name: "ids".into(), dtype: DType::U32, shape: vec![1, 2] }];
    check(
        HostMessage::Run { model: "m".into(), input: Input::Tensors { tensors }, options },
        json!({"v": 1, "id": 7, "type": "run", "model": "m",
            "input": {"kind": "tensors", "tensors": [{"name": "ids", "dtype": "u32", "shape": [1, 2]}]},
            "options": {"warmup": 2, "runs": 10, "profile": true, "outputs": ["pooler_output"],
                "deadline_ms": null}}),
    );
    check(HostMessage::Unload { model: "m".into() }, json!({"v": 1, "id": 7, "type": "unload", "model": "m"}));
}

#[test]
fn agent_session_messages() {
    check(
        AgentMessage::Hello { token: "t".into(), resume_key: None, agent_version: "0.1.0".into() },
        json!({"v": 1, "id": 7, "type": "hello", "token": "t", "agent_version": "0.1.0"}),
    );
    check(
        AgentMessage::Hello { token: String::new(), resume_key: Some("k".into()), agent_version: "0.1.0".into() },
        json!({"v": 1, "id": 7, "type": "hello", "token": "", "resume_key": "k", "agent_version": "0.1.0"}),
    );
    check(
        AgentMessage::Progress { stage: Stage::Fetch, done: 1, total: 2 },
        json!({"v": 1, "id": 7, "type": "progress", "stage": "fetch", "done": 1, "total": 2}),
    );
    check(AgentMessage::Done, json!({"v": 1, "id": 7, "type": "done"}));
    check(AgentMessage::Ping { payload: "p".into() }, json!({"v": 1, "id": 7, "type": "ping", "payload": "p"}));
    check(AgentMessage::Pong { payload: "p".into() }, json!({"v": 1, "id": 7, "type": "pong", "payload": "p"}));
    check(
        AgentMessage::Error { error: error() },
        json!({"v": 1, "id": 7, "type": "error", "error": {
            "code": "out_of_memory", "message": "asked for 9 bytes, 8 are free", "hint": "use fewer bits"}}),
    );
    check(
        AgentMessage::Log { level: "info".into(), message: "line".into() },
        json!({"v": 1, "id": 7, "type": "log", "level": "info", "message": "line"}),
    );
}

fn adapter() -> Adapter {
    Adapter {
        vendor: "google".into(),
        architecture: "swiftshader".into(),
        hardware: false,
        features: vec!["timestamp-query".into()],
        limits: [("maxBindGroups".to_owned(), 4)].into(),
        subgroup_size: Some((4, 4)),
        ..Adapter::default()
    }
}

fn adapter_json() -> Value {
    json!({"vendor": "google", "architecture": "swiftshader", "device": "", "description": "", "hardware": false,
        "features": ["timestamp-query"], "limits": {"maxBindGroups": 4}, "subgroup_size": [4, 4]})
}

#[test]
fn capabilities() {
    let mut capabilities = Capabilities { user_agent: "ua".into(), opfs: true, ..Capabilities::default() };
    capabilities.webgpu.present = true;
    capabilities.webgpu.adapter = Some(adapter());
    let device = crate::capabilities::WebNnDevice { error: Some("NotSupportedError".into()), ..Default::default() };
    capabilities.webnn.devices.insert("cpu".into(), device);
    check(
        AgentMessage::Capabilities { capabilities: Box::new(capabilities) },
        json!({"v": 1, "id": 7, "type": "capabilities", "capabilities": {
            "user_agent": "ua", "hardware_concurrency": null,
            "webgpu": {"present": true, "adapter": adapter_json(), "error": null, "wgsl_language_features": []},
            "webnn": {"present": false, "devices": {"cpu": {
                "created": false, "error": "NotSupportedError", "claimed_devices": null, "operators": {}}}},
            "webgl": {"version": 0, "renderer": null},
            "wasm": {"simd": false, "relaxed_simd": false, "threads": false},
            "cross_origin_isolated": false, "opfs": true,
            "memory": {"device_gib": null, "js_heap_limit_bytes": null}}}),
    );
}

#[test]
fn loaded() {
    let report = LoadReport {
        implementation_type: ImplementationType::RealWebgpu,
        adapter: Some(adapter()),
        webnn: None,
        activation_bits: Bits::B32,
        total_ms: 4.5,
        fetch_ms: 3.0,
        upload_ms: 1.0,
        compile_ms: None,
        choosing_ms: None,
        package_bytes: 100,
        weights_bytes: 90,
        wasm_heap_bytes: 65536,
    };
    check(
        AgentMessage::Loaded { report: Box::new(report) },
        json!({"v": 1, "id": 7, "type": "loaded", "report": {
            "implementation_type": "REAL_WEBGPU", "adapter": adapter_json(), "webnn": null,
            "activation_bits": 32, "total_ms": 4.5, "fetch_ms": 3.0,
            "upload_ms": 1.0, "compile_ms": null, "choosing_ms": null, "package_bytes": 100, "weights_bytes": 90,
            "wasm_heap_bytes": 65536}}),
    );
}

#[test]
fn text_that_is_generated() {
    let generate = GenerationOptions { max_tokens: Some(8), stop: Some(vec!["\n".into()]), ..Default::default() };
    let options = RunOptions { generate: Some(generate), ..RunOptions::default() };
    check(
        HostMessage::Run { model: "m".into(), input: Input::ids(vec![vec![1, 2]]), options },
        json!({"v": 1, "id": 7, "type": "run", "model": "m", "input": {"kind": "ids", "ids": [[1, 2]]},
            "options": {"warmup": null, "runs": 0, "profile": false, "deadline_ms": null,
                "generate": {"max_tokens": 8, "temperature": null, "top_k": null, "top_p": null, "min_p": null,
                    "repetition_penalty": null, "seed": null, "stop": ["\n"], "ignore_eos": null}}}),
    );
    check(
        AgentMessage::Part { index: 3, part: Part { text: " Paris".into(), tokens: vec![7042] } },
        json!({"v": 1, "id": 7, "type": "part", "index": 3, "part": {"text": " Paris", "tokens": [7042]}}),
    );
    let generated = Generated {
        text: None,
        tokens: vec![7042],
        finish_reason: FinishReason::EndToken,
        prompt_tokens: 5,
        prefill_ms: 2.0,
        token_ms: vec![0.5],
    };
    let json = json!({"text": null, "tokens": [7042], "finish_reason": "end_token", "prompt_tokens": 5,
        "prefill_ms": 2.0, "token_ms": [0.5]});
    assert_eq!(serde_json::to_value(&generated).unwrap(), json);
    assert_eq!(serde_json::from_value::<Generated>(json).unwrap(), generated);
}

#[test]
fn ran() {
    let report = RunReport {
        implementation_type: ImplementationType::RealWasm,
        outputs: vec![TensorInfo { name: "embedding".into(), dtype: DType::F32, shape: vec![1, 384] }],
        token_counts: vec![9],
        truncated: false,
        tokens_kept: vec![TokensKept { kept: 9, of: 9 }],
        prepare_ms: 1.0,
        first_ms: 2.0,
        warmup: Warmup { runs: 2, ms: 3.0, steady: None },
        run_ms: vec![1.5],
        generated: None,
        gpu_ms: Some(vec![0.5]),
        kernels: Some(vec![KernelTime { operator: "x".into(), kernel: "linear_q4".into(), ms: 0.25, bytes: 64 }]),
        webnn: None,
        variants: [("linear".to_owned(), "q4".to_owned())].into(),
        adjustments: vec![Adjustment {
            option: "portable_kernels".into(),
            value: true.into(),
            code: Some(ErrorCode::Validation),
            reason: "kernel `x` failed to build".into(),
        }],
        dispatches: Some(40),
        gpu_peak_bytes: Some(1000),
        wasm_heap_bytes: 65536,
    };
    check(
        AgentMessage::Ran { report: Box::new(report), times: vec![] },
        json!({"v": 1, "id": 7, "type": "ran", "report": {
            "implementation_type": "REAL_WASM", "outputs": [{"name": "embedding", "dtype": "f32", "shape": [1, 384]}],
            "token_counts": [9], "truncated": false, "tokens_kept": [{"kept": 9, "of": 9}],
            "prepare_ms": 1.0, "first_ms": 2.0,
            "warmup": {"runs": 2, "ms": 3.0, "steady": null}, "run_ms": [1.5],
            "gpu_ms": [0.5], "kernels": [{"operator": "x", "kernel": "linear_q4", "ms": 0.25, "bytes": 64}],
            "webnn": null, "variants": {"linear": "q4"},
            "adjustments": [{"option": "portable_kernels", "value": true, "code": "validation",
                "reason": "kernel `x` failed to build"}], "dispatches": 40, "gpu_peak_bytes": 1000, "wasm_heap_bytes": 65536}}),
    );
}

#[test]
fn every_code_and_type_has_its_name() {
    use ErrorCode::*;
    let codes = [
        Protocol,
        Version,
        Unauthorized,
        WebgpuUnavailable,
        WebnnUnavailable,
        EngineFailed,
        Unsupported,
        Fetch,
        BadPackage,
        Validation,
        OutOfMemory,
        DeviceLost,
        BadInput,
        BadOption,
        UnknownModel,
        NotFinite,
        Deadline,
        Cancelled,
        Disconnected,
        Internal,
    ];
    assert_eq!(
        serde_json::to_value(codes).unwrap(),
        json!([
            "protocol",
            "version",
            "unauthorized",
            "webgpu_unavailable",
            "webnn_unavailable",
            "engine_failed",
            "unsupported",
            "fetch",
            "bad_package",
            "validation",
            "out_of_memory",
            "device_lost",
            "bad_input",
            "bad_option",
            "unknown_model",
            "not_finite",
            "deadline",
            "cancelled",
            "disconnected",
            "internal"
        ])
    );
    use ImplementationType::*;
    assert_eq!(
        serde_json::to_value([RealWebgpu, RealWebnn, RealWasm, SimulatedWebgpu, SimulatedWebnn]).unwrap(),
        json!(["REAL_WEBGPU", "REAL_WEBNN", "REAL_WASM", "SIMULATED_WEBGPU", "SIMULATED_WEBNN"])
    );
    assert_eq!(
        serde_json::to_value([Stage::Fetch, Stage::Compile, Stage::Warmup, Stage::Run]).unwrap(),
        json!(["fetch", "compile", "warmup", "run"])
    );
}

#[test]
fn optional_fields_may_be_left_out() {
    let read = |text: &str| Envelope::<HostMessage>::from_text(text).unwrap().body;
    assert_eq!(read(r#"{"v":1,"id":1,"type":"ping"}"#), HostMessage::Ping { payload: String::new() });
    let run = r#"{"v":1,"id":1,"type":"run","model":"m","input":{"kind":"text","texts":[]},"options":{}}"#;
    let input = Input::texts(vec![]);
    assert_eq!(read(run), HostMessage::Run { model: "m".into(), input, options: RunOptions::default() });
}

#[test]
fn what_is_not_a_message_is_refused() {
    let refused = |text: &str| Envelope::<AgentMessage>::from_text(text).unwrap_err();
    for text in [
        "",
        "null",
        "[]",
        "{",
        r#"{"id":1,"type":"done"}"#,
        r#"{"v":1,"type":"done"}"#,
        r#"{"v":1,"id":1}"#,
        r#"{"v":1,"id":-1,"type":"done"}"#,
        r#"{"v":1,"id":1,"type":"dance"}"#,
        r#"{"v":1,"id":1,"type":"progress","stage":"fetch","done":1}"#,
        r#"{"v":1,"id":1,"type":"progress","stage":"dream","done":1,"total":2}"#,
        r#"{"v":1,"id":1,"type":"error","error":{"code":"nope","message":""}}"#,
        r#"{"v":1,"id":1,"type":"welcome"}"#,
    ] {
        assert_eq!(refused(text).code, ErrorCode::Protocol, "{text}");
    }
    let error = refused(r#"{"v":2,"id":1,"type":"from the future"}"#);
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Version, "expected protocol version 1, found 2"));
}

#[test]
fn texts_over_the_limit_are_refused_both_ways() {
    let ping = Envelope::new(1, HostMessage::Ping { payload: "x".repeat(MAX_TEXT_BYTES) });
    let error = ping.to_text().unwrap_err();
    assert!(error.message.starts_with("a text frame has at most 4194304 bytes, found 4194"), "{error}");
    let error = Envelope::<HostMessage>::from_text(&" ".repeat(MAX_TEXT_BYTES + 1)).unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);
}

/// The tables of `docs/wire.md` follow the types.
#[test]
fn every_message_and_code_is_in_the_document() {
    let document = include_str!("../../../../docs/wire.md");
    let source = concat!(include_str!("message.rs"), include_str!("../error.rs"));
    let mut names = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        inside |= ["pub enum HostMessage", "pub enum AgentMessage", "pub enum ErrorCode", "pub enum Stage"]
            .iter()
            .any(|head| line.starts_with(head));
        inside &= line != "}";
        let variant = line.strip_prefix("    ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        if let (true, Some(variant)) = (inside, variant) {
            let variant = variant.trim_end_matches([',', ' ', '{']);
            let snake = variant.char_indices().fold(String::new(), |mut snake, (at, c)| {
                if c.is_ascii_uppercase() && at > 0 {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
                snake
            });
            names.push(snake);
        }
    }
    assert!(names.len() > 35, "the source is read as it is written: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/wire.md does not name {missing:?}");
}
