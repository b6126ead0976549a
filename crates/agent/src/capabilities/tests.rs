//! What the test browser can do, as far as it can be known beforehand.

use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use super::*;

#[wasm_bindgen_test]
async fn what_is_detected_holds_together() {
    let found = detect(&mut Devices::default()).await;
    console_log!("{}", serde_json::to_string_pretty(&found).unwrap());
    assert!(found.user_agent.contains("Mozilla/"));
    assert!(found.hardware_concurrency > Some(0));
    // This module is built with SIMD, so it would not be running without.
    assert!(found.wasm.simd);
    assert_eq!(found.webgpu.adapter.is_none(), found.webgpu.error.is_some());
    if let Some(adapter) = &found.webgpu.adapter {
        assert!(adapter.features.is_sorted() && adapter.limits["maxStorageBufferBindingSize"] >= 128 << 20);
        let software = ["swiftshader", "llvmpipe", "lavapipe"];
        let name = format!("{} {}", adapter.architecture, adapter.description).to_lowercase();
        assert!(!(adapter.hardware && software.iter().any(|word| name.contains(word))), "{name}");
    }
    assert_eq!(found.webnn.devices.len(), if found.webnn.present { 3 } else { 0 });
    for (name, device) in &found.webnn.devices {
        assert_ne!(device.created, device.error.is_some(), "{name}");
    }
    assert!(found.webgl.version <= 2);
}

#[wasm_bindgen_test]
fn the_small_modules_are_whole() {
    for (name, module) in [("simd", SIMD_MODULE), ("relaxed simd", RELAXED_SIMD_MODULE), ("threads", THREADS_MODULE)] {
        let whole = WebAssembly::validate(&Uint8Array::from(module)).unwrap();
        let cut = WebAssembly::validate(&Uint8Array::from(&module[..module.len() - 1])).unwrap();
        // Chromium has all three since 2023; a module that is merely malformed would be taken for a missing feature.
        assert!(whole && !cut, "{name}");
    }
}

#[wasm_bindgen_test]
fn the_first_operand_of_an_operator_is_found() {
    let limits = js_sys::JSON::parse(
        r#"{"add":{"a":{"dataTypes":["float32","int32"]},"b":{"dataTypes":["int8"]},"output":{"dataTypes":[]}},
            "gather":{"indices":{"dataTypes":["int64"]},"input":{"dataTypes":["float16"]},"output":{"dataTypes":[]}},
            "input":{"dataTypes":["float32"]},"maxTensorByteLength":1024,"preferredInputLayout":"nchw"}"#,
    );
    let found = webnn::operators(limits.unwrap().unchecked_ref());
    let expected = [("add", vec!["float32", "int32"]), ("gather", vec!["float16"])];
    let found: Vec<(&str, Vec<&str>)> =
        found.iter().map(|(name, types)| (name.as_str(), types.iter().map(String::as_str).collect())).collect();
    assert_eq!(found, expected);
}
