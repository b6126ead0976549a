//! Faults inside the chain: each ends in the right next step or in a clear error, and the record says so.

use webnibble_common::options::{Engine, Platform};
use webnibble_common::record::{ImplementationType, RunRecord};
use webnibble_common::wire::ErrorCode;

use super::answer::Route;
use super::chain::{follow, routes};
use super::prepared::PreparedModel;
use super::record::{Known, record};
use super::request::RunRequest;
use super::route::{Assignment, run_options};
use super::testing::{Fault, Small, Step, assert_unlabelled, code, page, request, steps};
use super::{cancelled, complete};

use ErrorCode as Code;
use Route::{Native, Simulation, TransformersJs};
use Step::{Load, Run};

const NATIVE_THEN_JS: (&str, &str) = ("webgpu by native", "webgpu by transformers-js");
const JS_THEN_SIMULATION: (&str, &str) = ("webgpu by transformers-js", "simulated webgpu");

/// The record, and the route that gave its answer.
type Outcome = (RunRecord, Option<Route>);

async fn chain(small: &Small, request: &RunRequest, faults: &[Fault]) -> Outcome {
    chain_of(small.prepared(request), request, faults).await
}

async fn chain_of(prepared: PreparedModel, request: &RunRequest, faults: &[Fault]) -> Outcome {
    let (host, _) = page(faults).await;
    let mut known = Known::begin();
    let prepared = known.prepared(prepared);
    let routes = routes(prepared.platform, request.engine(), prepared.resolved.fallback.value);
    let work = Assignment { host: &host, request, prepared: &prepared };
    match follow(work, &mut known, &routes, &run_options(&prepared.resolved), None).await {
        Ok(answered) => {
            let route = answered.route;
            (record(request, &known, Ok(complete(work, answered).await)), Some(route))
        }
        Err(error) => (record(request, &known, Err(error)), None),
    }
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
        let (record, route) = chain_of(small.prepared(&request), &request, &[(Native, step, fault)]).await;
        assert_eq!(route, Some(TransformersJs), "{fault:?}");
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
        let (record, route) = chain_of(small.prepared(&request), &request, &faults).await;
        assert_eq!(route, Some(Simulation), "{fault:?}");
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
    let (record, route) = chain_of(prepared, &request, &[(Native, Run, Code::Validation)]).await;
    assert_eq!(route, Some(Simulation));
    assert_eq!(steps(&record)[1].2, "model", "{:?}", record.fallbacks);
    assert!(record.fallbacks[1].reason.contains("package.safetensors"), "{:?}", record.fallbacks);
}

#[tokio::test]
async fn a_context_that_is_lost_is_a_clear_error_without_a_label() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    for step in [Load, Run] {
        let (record, _) = chain_of(small.prepared(&request), &request, &[(Native, step, Code::DeviceLost)]).await;
        assert_eq!(code(&record), "device_lost");
        assert_unlabelled(&record);
        assert_eq!((record.error.unwrap().hint.as_str(), record.fallbacks.len()), ("hint", 0));
    }
}

#[tokio::test]
async fn a_page_that_is_gone_ends_the_chain_whoever_computes() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    for fault in [Code::Disconnected, Code::Cancelled, Code::Deadline] {
        let faults = [(Native, Load, Code::Unsupported), (TransformersJs, Run, fault)];
        let (record, _) = chain_of(small.prepared(&request), &request, &faults).await;
        assert_eq!(code(&record), fault.name());
        assert_eq!(steps(&record).len(), 1);
        assert_unlabelled(&record);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_input_is_for_ours_to_say() {
    let (small, request) = (Small::new(), request(Platform::Webgpu, Engine::TransformersJs));
    let (record, route) = chain(&small, &request, &[(TransformersJs, Run, Code::BadInput)]).await;
    assert_eq!(route, Some(Native));
    assert_eq!((record.using_transformers_js, steps(&record)[0].2), (Some(false), "bad_input"));
    // Both say so: there is nothing to try after that.
    let faults = [(TransformersJs, Run, Code::BadInput), (Native, Run, Code::BadInput)];
    let (record, _) = chain(&small, &request, &faults).await;
    assert_eq!((code(&record).as_str(), steps(&record).len()), ("bad_input", 1));
    assert_unlabelled(&record);
}

#[tokio::test]
async fn where_every_route_fails_the_first_cause_is_told_with_the_last() {
    let (small, request) = (Small::new(), request(Platform::Wasm, Engine::Native));
    let faults = [(Native, Load, Code::OutOfMemory), (TransformersJs, Load, Code::EngineFailed)];
    let (record, _) = chain(&small, &request, &faults).await;
    assert_eq!(steps(&record), [("wasm by native", "wasm by transformers-js", "out_of_memory")]);
    let error = record.error.unwrap();
    assert_eq!((error.code.as_str(), error.hint.as_str()), ("out_of_memory", "hint"));
    assert_eq!(error.message, "OutOfMemory (wasm by transformers-js gave no answer either: EngineFailed)");
    // An input that does not fit can be mended, whatever failed before it was looked at.
    let faults = [
        (Native, Load, Code::Unsupported),
        (TransformersJs, Load, Code::EngineFailed),
        (Simulation, Run, Code::BadInput),
    ];
    let request = super::testing::request(Platform::Webgpu, Engine::Native);
    let (record, _) = chain(&small, &request, &faults).await;
    assert_eq!(code(&record), "bad_input");
    assert_eq!(record.fallbacks[0].reason, "Unsupported");
}

#[tokio::test]
async fn without_fallback_the_first_failure_is_the_error() {
    let (small, mut request) = (Small::new(), request(Platform::Webgpu, Engine::Native));
    request.options.fallback = Some(false);
    let (record, _) = chain(&small, &request, &[(Native, Load, Code::Unsupported)]).await;
    assert_eq!((code(&record).as_str(), record.fallbacks.len()), ("unsupported", 0));
    assert_unlabelled(&record);
}

#[test]
fn a_run_that_is_given_up_says_what_is_known_and_calls_nothing_anything() {
    let small = Small::new();
    let request = request(Platform::Webgpu, Engine::Native);
    let mut known = Known::begin();
    known.prepared(small.prepared(&request));
    let record = record(&request, &known, Err(cancelled()));
    assert_unlabelled(&record);
    assert!(record.model.is_some() && record.performance_metrics.quantization_bits.is_some(), "that is known");
}
