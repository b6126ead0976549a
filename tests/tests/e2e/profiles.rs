//! Every option that profiles have a say in, by its effect. docs/profiles.md has the table.

use serde_json::{Value, json};
use webnibble_common::options::{ExecutionProvider, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity};
use webnibble_common::record::RunRecord;
use webnibble_host::run::Input;
use webnibble_tests::{
    Sandbox, chromium, firefox, golden_bert, mini_lm, mini_lm_available, skip_unless, webkit, webnn_browser,
};

use crate::golden::{answer, assert_near, error, golden};
use crate::opened::{Opened, failure, option, ran_as};

const NONE: fn() -> Settings = Settings::default;

/// The golden answer, whatever option was set.
#[track_caller]
fn assert_golden(record: &RunRecord) {
    assert_eq!(ran_as(record), "REAL_WEBGPU");
    let found = error(&answer(record), &golden().1);
    assert!(found <= 1e-3, "{found:.2e}");
}

/// Names of the kernels that ran.
fn kernels(record: &RunRecord) -> String {
    let kernels = record.kernels.as_ref().expect("kernels ran");
    kernels.values().cloned().collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn workgroup_size_is_that_of_the_kernels_that_take_one() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let sized = |size| Settings { bits: Some(Bits::B32), workgroup_size: Some([size, 1, 1]), ..NONE() };
    let record = browser.golden(Platform::Webgpu, sized(16)).await;
    assert_golden(&record);
    for file in ["embedding", "norm", "linear_direct"] {
        let kernel = &record.kernels.as_ref().unwrap()[file];
        assert!(kernel.split("; ").all(|one| one.contains("WG=16")), "{kernel}");
    }
    assert_eq!(option(&record, "workgroup_size"), (json!([16, 1, 1]), "explicit".into()));
    // More than any adapter has: an error with the limit, and no simulation in its place.
    let record = browser.golden(Platform::Webgpu, sized(1 << 20)).await;
    let error = failure(&record);
    assert_eq!((error.code.as_str(), record.fallbacks.len()), ("bad_option", 0), "{error:?}");
    assert!(error.message.contains("1048576") && error.message.contains("at most"), "{error:?}");
    let record = browser.golden(Platform::Webgpu, sized(24)).await;
    assert_eq!(failure(&record).code, "bad_options");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn portable_kernels_take_no_feature_of_the_adapter() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let run = |portable| {
        let settings = Settings { bits: Some(Bits::B32), portable_kernels: portable, ..NONE() };
        browser.golden(Platform::Webgpu, settings)
    };
    let native = run(None).await;
    assert_golden(&native);
    assert!(kernels(&native).contains("SUBGROUPS"), "this adapter has them: {}", kernels(&native));
    let portable = run(Some(true)).await;
    assert_golden(&portable);
    assert!(!kernels(&portable).contains("SUBGROUPS"), "{}", kernels(&portable));
    assert_eq!(option(&portable, "portable_kernels"), (json!(true), "explicit".into()));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shader_precompilation_builds_while_loading() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    for (chosen, compiled) in [(None, false), (Some(true), true)] {
        let settings = Settings { bits: Some(Bits::B32), shader_precompilation: chosen, ..NONE() };
        let record = browser.golden(Platform::Webgpu, settings).await;
        assert_golden(&record);
        let times = record.performance_metrics.initialization_time_ms.unwrap();
        assert_eq!(times.compile.is_some(), compiled, "{times:?}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_tiles_are_taken_where_the_adapter_has_f16_and_told_where_not() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let settings = Settings { bits: Some(Bits::B32), half_tiles: Some(true), ..NONE() };
    let record = browser.golden(Platform::Webgpu, settings).await;
    assert_eq!(ran_as(&record), "REAL_WEBGPU");
    assert_near(&record, &golden().1, 0.9999);
    let has_f16 = record.adapter.as_ref().unwrap().features.iter().any(|feature| feature == "shader-f16");
    if has_f16 {
        assert!(kernels(&record).contains("F16"));
    } else {
        assert_eq!(option(&record, "half_tiles"), (json!(false), "platform".into()));
        let step = &record.fallbacks[0];
        assert_eq!((step.from.as_str(), step.to.as_str()), ("half_tiles true", "half_tiles false"));
        assert!(step.reason.contains("shader-f16"), "{step:?}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_firefox_kernels_with_f16_give_the_embedding_of_f32() {
    skip_unless!(firefox(), mini_lm_available());
    let browser = Opened::start(&firefox().expect("looked for before")).await;
    for half in [false, true] {
        let settings = Settings { bits: Some(Bits::B16), half_tiles: Some(half), ..NONE() };
        let record = browser
            .run(Platform::Webgpu, settings, |request| {
                request.model = mini_lm().display().to_string();
                let texts = vec!["Rain fell on the roof all night.".to_owned()];
                request.input = Input::texts(texts);
                request.options.fallback = Some(false);
                request.options.measure.runs = Some(1);
            })
            .await;
        assert_eq!(ran_as(&record), "REAL_WEBGPU");
        assert_eq!(option(&record, "half_tiles"), (json!(half), "explicit".into()), "{:?}", record.fallbacks);
        let tiles = record.kernels.as_ref().unwrap().get("linear_tiles").cloned().unwrap_or_default();
        assert_eq!(!tiles.is_empty() && tiles.split("; ").all(|kernel| kernel.contains(" F16 ")), half, "{tiles}");
        let cosine = record.performance_metrics.quantization_error.unwrap().cosine;
        println!("Firefox, f16 tiles {half}: cosine {cosine:.7} to the model in f32");
        assert!(cosine >= 0.9999, "{cosine}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compute_shaders_are_for_sound_alone() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let settings = Settings { bits: Some(Bits::B32), compute_shaders: Some(true), ..NONE() };
    let record = browser.golden(Platform::Webgpu, settings).await;
    assert_golden(&record);
    assert_eq!(option(&record, "compute_shaders"), (json!(false), "family".into()));
    assert!(record.fallbacks[0].reason.contains("no audio front end"), "{:?}", record.fallbacks);
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quantization_can_be_left_out_and_norms_stay_in_f32() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let record = browser.golden(Platform::Webgpu, Settings { quantization: Some(false), ..NONE() }).await;
    assert_golden(&record);
    let made = record.quantization.as_ref().unwrap();
    assert!(made.bits_by_tensor.values().all(|bits| *bits == Bits::B32), "{made:?}");
    let record = browser.golden(Platform::Webgpu, NONE()).await;
    let made = record.quantization.as_ref().unwrap();
    let (norms, others): (Vec<_>, Vec<_>) =
        made.bits_by_tensor.iter().partition(|(name, _)| name.contains("LayerNorm"));
    assert!(norms.len() > 6 && norms.iter().all(|(_, bits)| **bits == Bits::B32), "{norms:?}");
    assert!(others.iter().any(|(_, bits)| **bits == Bits::B4), "{others:?}");
    assert_eq!(option(&record, "skip_layernorm"), (json!(true), "family".into()));
    let record = browser.golden(Platform::Webgpu, Settings { skip_layernorm: Some(false), ..NONE() }).await;
    let error = failure(&record);
    assert!(error.code == "bad_options" && error.message.contains("--no-skip-layernorm"), "{error:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_optimized_takes_the_browsers_profile() {
    skip_unless!(webkit());
    let browser = Opened::start(&webkit().expect("looked for before")).await;
    let run = |optimized| browser.golden(Platform::Wasm, Settings { browser_optimized: optimized, ..NONE() });
    let taken = run(None).await;
    assert_eq!(ran_as(&taken), "REAL_WASM");
    assert_eq!(taken.quantization.as_ref().unwrap().bits, Bits::B8);
    let of = |record: &RunRecord| ["bits", "chunked_operations", "portable_kernels"].map(|name| option(record, name));
    // What it has of kernels on WebGPU is out of force here.
    let profile = [(json!(8), "browser"), (json!(false), "platform"), (json!(false), "platform")];
    assert_eq!(of(&taken), profile.map(|(value, source)| (value, source.to_owned())));
    assert!(taken.fallbacks.is_empty(), "{:?}", taken.fallbacks);
    let left = run(Some(false)).await;
    assert_eq!(left.quantization.as_ref().unwrap().bits, Bits::B4);
    let defaults = [(json!(4), "family"), (json!(false), "default"), (json!(false), "default")];
    assert_eq!(of(&left), defaults.map(|(value, source)| (value, source.to_owned())));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn execution_provider_is_the_device_that_webnn_is_asked_for() {
    skip_unless!(webnn_browser());
    let browser = Opened::start(&webnn_browser().expect("looked for before")).await;
    for device in ExecutionProvider::ALL {
        let settings = Settings { bits: Some(Bits::B16), execution_provider: Some(*device), ..NONE() };
        let record = browser.golden(Platform::Webnn, settings).await;
        let Some(webnn) = &record.webnn else {
            // Neither engine takes another device for the one asked for.
            assert_eq!((ran_as(&record).as_str(), *device), ("SIMULATED_WEBNN", ExecutionProvider::Npu));
            assert!(record.fallbacks.len() >= 2, "{:?}", record.fallbacks);
            for step in &record.fallbacks[..2] {
                assert!(step.reason.contains("run the graph on npu"), "{step:?}");
            }
            assert_eq!(option(&record, "execution_provider"), (Value::Null, "platform".into()));
            continue;
        };
        assert_eq!(ran_as(&record), "REAL_WEBNN", "{device}: {:?}", record.fallbacks);
        assert_eq!(webnn.requested, device.name());
        println!("{device} asked for, by the browser's word on {:?}", webnn.reported_devices);
        assert!(webnn.reported_devices.as_ref().is_some_and(|names| names.contains(&device.to_string())), "{webnn:?}");
        assert_near(&record, &golden().1, 0.9999);
        assert_eq!(option(&record, "execution_provider"), (json!(device.name()), "explicit".into()));
    }
    let record = browser.golden(Platform::Webnn, Settings { bits: Some(Bits::B16), ..NONE() }).await;
    assert_eq!(option(&record, "execution_provider"), (Value::Null, "default".into()));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_operations_leave_a_usual_model_as_it_is() {
    skip_unless!(chromium());
    let browser = Opened::start(&chromium().expect("looked for before")).await;
    let mut ran = Vec::new();
    for chunked in [true, false] {
        let settings = Settings {
            bits: Some(Bits::B8),
            granularity: Some(Granularity::Channel),
            chunked_operations: Some(chunked),
            ..NONE()
        };
        let record = browser.golden(Platform::Webgpu, settings).await;
        assert_eq!(ran_as(&record), "REAL_WEBGPU");
        assert_eq!(option(&record, "chunked_operations"), (json!(chunked), "explicit".into()));
        assert_near(&record, &golden().1, 0.999);
        ran.push((kernels(&record), answer(&record)));
    }
    assert_eq!(ran[0], ran[1], "the same kernels, and the same answer to the bit");
    browser.close().await;
}

/// Rows of 64 floats that make a table of 136 MB, where browsers bind 128 MiB on many adapters.
const MANY_TOKENS: usize = 530_000;

/// The golden model with a table of many tokens.
fn golden_with_a_large_table(sandbox: &Sandbox) -> std::path::PathBuf {
    const TABLE: &str = "embeddings.word_embeddings.weight";
    let folder = sandbox.path().join("large");
    std::fs::create_dir(&folder).unwrap();
    let config = std::fs::read_to_string(golden_bert().join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["vocab_size"] = MANY_TOKENS.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(golden_bert().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    // A linear congruential generator (Numerical Recipes): rows that differ, and repeat with the seed.
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    let table: Vec<u8> = (0..MANY_TOKENS * 64).flat_map(|_| random().to_le_bytes()).collect();
    let large = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![MANY_TOKENS, 64], &table).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let view = if name == TABLE { large.clone() } else { view };
        (name, view)
    });
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
    folder
}

#[test]
fn in_firefox_a_table_over_the_binding_limit_is_bound_in_parts() {
    skip_unless!(firefox());
    let sandbox = Sandbox::default();
    let (model, ids) = (golden_with_a_large_table(&sandbox), sandbox.path().join("ids"));
    // Tokens of both ends, and of both sides of where the table is cut.
    std::fs::write(&ids, "0 1 529999 524287 524288 300000").unwrap();
    let firefox = firefox().expect("looked for before");
    let browser: Vec<&str> = firefox.iter().map(String::as_str).collect();
    let run = |options: &[&str]| {
        let args = ["run", "--json", "--platform", "webgpu", "--no-fallback", "--bits", "32", "--runs", "1"];
        let more = ["--profile", "--model", model.to_str().unwrap(), "--ids", ids.to_str().unwrap()];
        sandbox.run(&[&args[..], &more, &browser, options].concat())
    };
    let finished = run(&[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    let limit = record.adapter.as_ref().unwrap().limits["maxStorageBufferBindingSize"];
    let bytes = (MANY_TOKENS * 64 * 4) as u64;
    if limit >= bytes {
        println!("skipped: this adapter binds {limit} bytes, and the table has {bytes}");
        return;
    }
    assert_eq!(ran_as(&record), "REAL_WEBGPU");
    assert_eq!(option(&record, "chunked_operations"), (json!(true), "platform".into()));
    let rows = record.profile.as_ref().expect("this adapter has timestamps");
    let parts: Vec<u64> = rows.iter().filter(|r| r.kernel.starts_with("embedding")).map(|r| r.bytes).collect();
    println!("{bytes} bytes of a table in parts that bind {parts:?}, limit {limit}");
    assert!(parts.len() == 2 && parts.iter().sum::<u64>() > bytes, "{parts:?}");
    // Beside the table a part binds the other planes of the embedding, ids and outputs: 40 KB.
    assert!(parts.iter().all(|part| *part <= limit + (40 << 10)), "{parts:?}");
    let error = record.performance_metrics.quantization_error.unwrap();
    assert!(error.cosine > 0.999_999, "{error:?}");

    let refused = run(&["--no-chunked-operations"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let error = &refused.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&bytes.to_string()) && message.contains(&limit.to_string()), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--no-chunked-operations"), "{error}");
    sandbox.assert_clean();
}
