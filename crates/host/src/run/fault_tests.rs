//! Faults inside the chain: each ends in the right next step or in a clear error, and the record says so.

use webnibble_common::options::{Engine, Platform};
use webnibble_common::result::{ImplementationType, RunRecord};
use webnibble_common::wire::ErrorCode;

use super::chain::{Answered, Extent, Route, follow, routes};
use super::prepared::PreparedModel;
use super::record::finish;
use super::request::RunRequest;
use super::testing::{Fault, Small, Step, assert_unlabelled, code, described, page, request, steps};
use crate::error::HostError;

use ErrorCode as Code;
use Route::{Native, Simulation, TransformersJs};
use Step::{Load, Run};

const NATIVE_THEN_JS: (&str, &str) = ("webgpu by native", "webgpu by transformers-js");
const JS_THEN_SIMULATION: (&str, &str) = ("webgpu by transformers-js", "simulated webgpu");

async fn chain(small: &Small, request: &RunRequest, faults: &[Fault]) -> (RunRecord, Result<Answered, HostError>) {
    chain_of(&small.prepared(request), request, faults).await
}

async fn chain_of(
    prepared: &PreparedModel,
    request: &RunRequest,
    faults: &[Fault],
) -> (RunRecord, Result<Answered, HostError>) {
    let (host, _) = page(faults).await;
    let mut record = described(request, prepared);
    let engine = request.options.engine.unwrap();
    let routes = routes(prepared.platform, engine, prepared.resolved.fallback.value);
    let outcome = follow(&host, &mut record, request, prepared, &routes, Extent::First).await;
    (record, outcome)
}

#[tokio::test]
async fn what_the_platform_refuses_goes_on_to_transformers_js_under_its_own_files_name() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    let prepared = small.prepared(&request);
    let package = prepared.package.header.digest.clone();
    // An operator that is refused, a graph that is too large, a kernel that does not build; while loading and after it.
    for (step, fault) in [(Load, Code::Unsupported), (Load, Code::OutOfMemory), (Load, Code::Validation)]
        .into_iter()
        .chain([(Run, Code::OutOfMemory), (Run, Code::Validation)])
    {
        let (record, outcome) = chain_of(&prepared, &request, &[(Native, step, fault)]).await;
        assert_eq!(outcome.unwrap().route, TransformersJs, "{fault:?}");
        assert_eq!(steps(&record), [(NATIVE_THEN_JS.0, NATIVE_THEN_JS.1, fault.name().as_str())]);
        assert_eq!(record.implementation_type, Some(ImplementationType::RealWebgpu));
        assert_eq!((record.is_simulation, record.using_transformers_js), (Some(false), Some(true)));
        // Somebody else's file: nothing of the package is said of it.
        let model = record.model.as_ref().unwrap();
        assert_eq!(model.onnx_file.as_deref(), Some("onnx/model_q4.onnx"));
        assert!(model.digest != package && !model.digest.is_empty(), "{}", model.digest);
        let metrics = &record.performance_metrics;
        assert_eq!((record.quantization, metrics.quantization_bits), (None, None));
        assert_eq!((metrics.memory_reduction_percent, metrics.memory.weights_bytes), (None, None));
    }
}

#[tokio::test]
async fn a_broken_onnx_file_inside_the_chain_goes_on_to_simulation() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    let prepared = small.prepared(&request);
    let faults = [Code::EngineFailed, Code::NotFinite, Code::Fetch, Code::BadPackage, Code::DeviceLost, Code::Internal];
    for fault in faults {
        let faults = [(Native, Load, Code::OutOfMemory), (TransformersJs, Load, fault)];
        let (record, outcome) = chain_of(&prepared, &request, &faults).await;
        assert_eq!(outcome.unwrap().route, Simulation, "{fault:?}");
        let (first, second) = (NATIVE_THEN_JS, JS_THEN_SIMULATION);
        let expected = [(first.0, first.1, "out_of_memory".to_owned()), (second.0, second.1, fault.name())];
        assert_eq!(steps(&record), expected.each_ref().map(|(from, to, code)| (*from, *to, code.as_str())));
        assert_eq!(record.implementation_type, Some(ImplementationType::SimulatedWebgpu));
        assert_eq!((record.simulated_in.as_deref(), record.using_transformers_js), (Some("page"), Some(false)));
        assert!(record.adapter.is_none(), "the adapter of a route that failed did not run it");
        // The package stands in, and nothing of the ONNX file is left.
        let model = record.model.as_ref().unwrap();
        assert_eq!((&model.digest, &model.onnx_file), (&prepared.package.header.digest, &None));
        assert!(record.quantization.is_some());
        let metrics = &record.performance_metrics;
        assert_eq!((metrics.initialization_time_ms, metrics.first_inference_time_ms), (None, None));
    }
}

#[tokio::test]
async fn an_onnx_form_that_cannot_be_made_goes_on_to_simulation() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    let prepared = small.prepared(&request);
    std::fs::remove_file(small.package_path()).unwrap();
    let (record, outcome) = chain_of(&prepared, &request, &[(Native, Run, Code::Validation)]).await;
    assert_eq!(outcome.unwrap().route, Simulation);
    assert_eq!(steps(&record)[1].2, "model", "{:?}", record.fallbacks);
    assert!(record.fallbacks[1].reason.contains("package.safetensors"), "{:?}", record.fallbacks);
}

#[tokio::test]
async fn a_context_that_is_lost_is_a_clear_error_without_a_label() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    let prepared = small.prepared(&request);
    for step in [Load, Run] {
        let (record, outcome) = chain_of(&prepared, &request, &[(Native, step, Code::DeviceLost)]).await;
        assert_eq!(code(&outcome), "device_lost");
        assert_unlabelled(&record);
        let record = finish(record, outcome.map(drop));
        assert_eq!((record.error.unwrap().hint.as_str(), record.fallbacks.len()), ("hint", 0));
    }
}

#[tokio::test]
async fn a_page_that_is_gone_ends_the_chain_whoever_computes() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    let prepared = small.prepared(&request);
    for fault in [Code::Disconnected, Code::Cancelled, Code::Deadline] {
        let faults = [(Native, Load, Code::Unsupported), (TransformersJs, Run, fault)];
        let (record, outcome) = chain_of(&prepared, &request, &faults).await;
        assert_eq!(code(&outcome), fault.name());
        assert_eq!(steps(&record).len(), 1);
        assert_unlabelled(&record);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_input_is_for_ours_to_say() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::TransformersJs));
    let (record, outcome) = chain(&small, &request, &[(TransformersJs, Run, Code::BadInput)]).await;
    assert_eq!(outcome.unwrap().route, Native);
    assert_eq!((record.using_transformers_js, steps(&record)[0].2), (Some(false), "bad_input"));
    // Both say so: there is nothing to try after that.
    let faults = [(TransformersJs, Run, Code::BadInput), (Native, Run, Code::BadInput)];
    let (record, outcome) = chain(&small, &request, &faults).await;
    assert_eq!((code(&outcome).as_str(), steps(&record).len()), ("bad_input", 1));
    assert_unlabelled(&record);
}

#[tokio::test]
async fn where_every_route_fails_the_first_cause_is_told_with_the_last() {
    let (small, request) = (Small::new(), request(Platform::Wasm, Engine::Native));
    let faults = [(Native, Load, Code::OutOfMemory), (TransformersJs, Load, Code::EngineFailed)];
    let (record, outcome) = chain(&small, &request, &faults).await;
    assert_eq!(steps(&record), [("wasm by native", "wasm by transformers-js", "out_of_memory")]);
    let error = outcome.unwrap_err();
    assert_eq!((error.code().as_str(), error.hint().as_str()), ("out_of_memory", "hint"));
    let told = error.to_string();
    assert_eq!(told, "OutOfMemory (wasm by transformers-js gave no answer either: EngineFailed)");
    // An input that does not fit can be mended, whatever failed before it was looked at.
    let faults = [
        (Native, Load, Code::Unsupported),
        (TransformersJs, Load, Code::EngineFailed),
        (Simulation, Run, Code::BadInput),
    ];
    let request = super::testing::request(Platform::Webgpu, Engine::Native);
    let (record, outcome) = chain(&small, &request, &faults).await;
    assert_eq!(code(&outcome), "bad_input");
    assert_eq!(record.fallbacks[0].reason, "Unsupported");
}

#[tokio::test]
async fn without_fallback_the_first_failure_is_the_error() {
    let (small, mut request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    request.options.fallback = Some(false);
    let (record, outcome) = chain(&small, &request, &[(Native, Load, Code::Unsupported)]).await;
    assert_eq!((code(&outcome).as_str(), record.fallbacks.len()), ("unsupported", 0));
    assert_unlabelled(&record);
}

#[test]
fn what_was_written_of_a_run_that_is_given_up_is_taken_back() {
    let small = Small::new();
    let request = request(Platform::Webgpu, Engine::Native);
    let mut record = described(&request, &small.prepared(&request));
    (record.implementation_type, record.is_simulation) = (Some(ImplementationType::RealWebgpu), Some(false));
    record.performance_metrics.first_inference_time_ms = Some(1.0);
    let record = finish(record, Err(super::cancelled()));
    assert_unlabelled(&record);
    assert!(record.model.is_some() && record.performance_metrics.quantization_bits.is_some(), "that is known");
}
