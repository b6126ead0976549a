//! Which routes there are, which failures go on, and what the record says of them.

use webnibble_common::capabilities::Capabilities;
use webnibble_common::wire::RemoteError;

use super::*;
use crate::run::platform::unavailable;

#[test]
fn the_chain_is_native_then_transformers_js_then_simulation() {
    use Route::*;
    assert_eq!(routes(Platform::Webnn, Engine::Native, true), [Native, TransformersJs, Simulation]);
    assert_eq!(routes(Platform::Webgpu, Engine::TransformersJs, true), [TransformersJs, Native, Simulation]);
    assert_eq!(routes(Platform::Wasm, Engine::Native, true), [Native, TransformersJs]);
    assert_eq!(routes(Platform::Webgpu, Engine::Native, false), [Native]);
}

#[test]
fn a_step_says_from_where_to_where_and_why() {
    let error = unavailable(Platform::Webnn, "no context".into(), &Capabilities::default());
    let step = step(Platform::Webnn, Route::TransformersJs, Route::Simulation, &error.info());
    assert_eq!((step.from.as_str(), step.to.as_str()), ("webnn by transformers-js", "simulated webnn"));
    assert_eq!(
        (step.code.as_str(), step.reason.as_str()),
        ("platform_unavailable", "webnn is not available: no context")
    );
}

#[test]
fn of_ours_only_failures_of_the_platform_go_on_and_of_transformers_js_nearly_all() {
    let remote = |code| HostError::from(RemoteError::new(code, "m", ""));
    let on = [ErrorCode::WebgpuUnavailable, ErrorCode::EngineFailed, ErrorCode::Unsupported, ErrorCode::OutOfMemory];
    for code in on {
        assert!(goes_on(Route::Native, &remote(code)), "{code:?}");
    }
    let ends = [
        ErrorCode::BadInput,
        ErrorCode::BadPackage,
        ErrorCode::NotFinite,
        ErrorCode::DeviceLost,
        ErrorCode::Disconnected,
    ];
    for code in ends {
        assert!(!goes_on(Route::Native, &remote(code)), "{code:?}");
        let page_is_gone = code == ErrorCode::Disconnected;
        assert_eq!(goes_on(Route::TransformersJs, &remote(code)), !page_is_gone, "{code:?}");
    }
    let io = || HostError::io("writing")(std::io::Error::other("full"));
    assert!(goes_on(Route::TransformersJs, &io()) && !goes_on(Route::Native, &io()));
}

#[test]
fn without_a_browser_only_simulation_is_left() {
    let not_found = HostError::BrowserNotFound { browser: "b".into(), looked: vec![], hint: String::new() };
    assert!(needs_no_browser(&not_found, &routes(Platform::Webgpu, Engine::Native, true)));
    assert!(!needs_no_browser(&not_found, &routes(Platform::Webgpu, Engine::Native, false)));
    assert!(!needs_no_browser(&not_found, &routes(Platform::Wasm, Engine::Native, true)));
    let input = HostError::from(RemoteError::new(ErrorCode::BadInput, "m", ""));
    assert!(!needs_no_browser(&input, &routes(Platform::Webgpu, Engine::Native, true)));
}
