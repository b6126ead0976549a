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
        assert!(may_fall_back(Route::Native, &remote(code)), "{code:?}");
    }
    let ends = [
        ErrorCode::BadInput,
        ErrorCode::BadPackage,
        ErrorCode::NotFinite,
        ErrorCode::DeviceLost,
        ErrorCode::Disconnected,
    ];
    for code in ends {
        assert!(!may_fall_back(Route::Native, &remote(code)), "{code:?}");
        let page_is_gone = code == ErrorCode::Disconnected;
        assert_eq!(may_fall_back(Route::TransformersJs, &remote(code)), !page_is_gone, "{code:?}");
    }
    let io = || HostError::io("writing")(std::io::Error::other("full"));
    assert!(may_fall_back(Route::TransformersJs, &io()) && !may_fall_back(Route::Native, &io()));
}

#[test]
fn without_a_browser_only_simulation_is_left() {
    let left = |error: &HostError, platform, fallback| {
        needs_no_browser(error, &LaunchOptions::default(), &routes(platform, Engine::Native, fallback))
    };
    let not_found = BrowserError::NotFound { browser: "b".into(), looked: vec![], hint: String::new() };
    let not_found = HostError::from(not_found);
    assert!(left(&not_found, Platform::Webgpu, true));
    assert!(!left(&not_found, Platform::Webgpu, false));
    assert!(!left(&not_found, Platform::Wasm, true));
    let input = HostError::from(RemoteError::new(ErrorCode::BadInput, "m", ""));
    assert!(!left(&input, Platform::Webgpu, true));
}

#[test]
fn nothing_stands_in_for_a_browser_that_was_named() {
    let named = |change: fn(&mut LaunchOptions)| {
        let mut launch = LaunchOptions::default();
        change(&mut launch);
        launch
    };
    let routes = routes(Platform::Webgpu, Engine::Native, true);
    let start = BrowserError::Start { browser: "b".into(), reason: "r".into(), log: vec![] };
    let hint = String::new;
    let run = BrowserError::DoesNotRun { program: "b".into(), reason: "r".into(), hint: hint() };
    let driver = BrowserError::DriverNotFound { browser: "b".into(), looked: vec![], hint: hint() };
    let [start, run, driver] = [start, run, driver].map(HostError::from);
    for error in [&start, &run, &driver] {
        for launch in [
            named(|launch| launch.browser_binary = Some("/b".into())),
            named(|launch| launch.driver = Some("/d".into())),
            named(|launch| launch.webdriver = Some("http://grid:4444".into())),
        ] {
            assert!(!needs_no_browser(error, &launch, &routes), "{error}: {launch:?}");
        }
        let kind = named(|launch| launch.browser = Some(webnibble_common::options::BrowserKind::Firefox));
        assert!(needs_no_browser(error, &kind, &routes), "{error}");
    }
    let window = named(|launch| launch.headless = Some(false));
    assert!(!needs_no_browser(&start, &window, &routes) && needs_no_browser(&driver, &window, &routes));
}
