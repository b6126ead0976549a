//! What is missing is named, by what the page detected or said.

use webnibble_common::capabilities::{Adapter, WebNn, WebNnDevice};
use webnibble_common::wire::RemoteError;

use super::*;

#[test]
fn a_platform_that_turns_out_to_be_missing_is_unavailable() {
    let remote = |code| HostError::from(RemoteError::new(code, "no adapter", ""));
    let of = |error, platform| with_platform_named(error, platform, &Capabilities::default());
    assert_eq!(of(remote(ErrorCode::WebgpuUnavailable), Platform::Webgpu).code(), "platform_unavailable");
    assert_eq!(of(remote(ErrorCode::WebgpuUnavailable), Platform::Wasm).code(), "webgpu_unavailable");
    assert_eq!(of(remote(ErrorCode::Unsupported), Platform::Webnn).code(), "platform_unavailable");
    let hinted = HostError::from(RemoteError::new(ErrorCode::WebnnUnavailable, "m", "do this"));
    assert_eq!(of(hinted, Platform::Webnn).hint(), "do this");
}

#[test]
fn hints_are_those_of_the_browser() {
    let firefox = Capabilities { user_agent: "Gecko/20100101 Firefox/153.0".into(), ..Capabilities::default() };
    let hint = missing(&firefox, Platform::Webgpu, None).unwrap().hint();
    assert!(hint.contains("dom.webgpu.enabled") && !hint.contains("--gpu software"), "{hint}");
    let old = Capabilities { user_agent: "Chrome/121.0.0.0 Safari/537.36".into(), ..Capabilities::default() };
    let error = missing(&old, Platform::Webnn, None).unwrap();
    assert!(error.to_string().contains("version 121") && error.hint().contains("Chrome 122"), "{error}");
}

fn reason(capabilities: &Capabilities, platform: Platform, device: Option<ExecutionProvider>) -> Option<String> {
    match missing(capabilities, platform, device)? {
        HostError::PlatformUnavailable { reason, .. } => Some(reason),
        other => panic!("expected that the platform is missing, found {other}"),
    }
}

#[test]
fn what_the_page_detected_says_what_is_missing() {
    let mut capabilities = Capabilities::default();
    let of = |capabilities: &Capabilities, platform| reason(capabilities, platform, None);
    assert_eq!(of(&capabilities, Platform::Webgpu), Some("the page has no navigator.gpu".into()));
    assert_eq!(of(&capabilities, Platform::Webnn), Some("the page has no navigator.ml".into()));
    assert_eq!(of(&capabilities, Platform::Wasm), None);
    capabilities.webgpu.present = true;
    assert_eq!(of(&capabilities, Platform::Webgpu), Some("the browser gave no adapter".into()));
    capabilities.webgpu.adapter = Some(Adapter::default());
    assert_eq!(of(&capabilities, Platform::Webgpu), None);
}

#[test]
fn navigator_ml_without_a_backend_is_no_webnn() {
    let refused = WebNnDevice { error: Some("NotSupportedError".into()), ..WebNnDevice::default() };
    let created = WebNnDevice { created: true, ..WebNnDevice::default() };
    let devices = [("cpu".to_owned(), refused.clone()), ("gpu".to_owned(), created)];
    let capabilities =
        Capabilities { webnn: WebNn { present: true, devices: devices.into() }, ..Capabilities::default() };
    assert_eq!(reason(&capabilities, Platform::Webnn, None), None);
    assert_eq!(reason(&capabilities, Platform::Webnn, Some(ExecutionProvider::Gpu)), None);
    let cpu = reason(&capabilities, Platform::Webnn, Some(ExecutionProvider::Cpu)).unwrap();
    assert_eq!(cpu, "navigator.ml is there, but gave no context (cpu: NotSupportedError)");
    let alike = [("cpu".to_owned(), refused.clone()), ("npu".to_owned(), refused)];
    let capabilities =
        Capabilities { webnn: WebNn { present: true, devices: alike.into() }, ..Capabilities::default() };
    let both = reason(&capabilities, Platform::Webnn, None).unwrap();
    assert_eq!(both, "navigator.ml is there, but gave no context (cpu, npu: NotSupportedError)");
}
