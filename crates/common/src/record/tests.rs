//! The record's names and their order, and its statistics.

use super::*;
use crate::options::Source;
use crate::quant::{Bits, Scheme};
use crate::warmup::Warmup;

/// A record in which every field is filled.
fn full() -> RunRecord {
    let times = Times { p50: 2.0, p90: 3.0, min: 1.0, runs: 10 };
    RunRecord {
        schema_version: SCHEMA_VERSION,
        status: Status::Ok,
        error: Some(ErrorInfo { code: "c".into(), message: "m".into(), hint: "h".into() }),
        run: RunInfo {
            timestamp: "2026-01-02T03:04:05Z".into(),
            host: HostInfo { os: "linux x86_64".into(), cpu: Some("cpu".into()), cores: 2 },
            revision: "0.1.0".into(),
        },
        model: Some(ModelInfo {
            name: "all-MiniLM-L6-v2".into(),
            family: "bert".into(),
            task: "sentence-embedding".into(),
            parameters: 22,
            source: "folder".into(),
            digest: "d".into(),
            onnx_file: Some("onnx/model.onnx".into()),
        }),
        input: Some(InputInfo {
            kind: "text".into(),
            batch: 1,
            sequence_length: Some(9),
            size: Some([224, 224]),
            seconds: Some(1.5),
            tokens_kept: Some(vec![TokensKept { kept: 9, of: 12 }]),
            prompt_name: Some("query".into()),
        }),
        platform: Platform::Webgpu,
        engine: Engine::Native,
        implementation_type: Some(ImplementationType::RealWebgpu),
        is_simulation: Some(false),
        simulated_in: Some("page".into()),
        using_transformers_js: Some(false),
        fallbacks: vec![Fallback { from: "a".into(), to: "b".into(), code: "c".into(), reason: "r".into() }],
        choice: Some(Choice {
            reason: "faster".into(),
            candidates: vec![Candidate { platform: Platform::Wasm, ms: Some(1.0) }],
        }),
        options: [("bits".to_owned(), OptionValue { value: 4.into(), source: Source::Explicit })].into(),
        browser: Some(BrowserInfo {
            name: "chrome".into(),
            version: "156".into(),
            headless: true,
            user_agent: "ua".into(),
            start_ms: 900.0,
        }),
        adapter: Some(Adapter::default()),
        webnn: Some(WebNnInfo {
            requested: "cpu".into(),
            reported_devices: Some(vec!["cpu".into()]),
            lowering: "l".into(),
            parallel_parts: Some(1),
            choice: Some("measured".into()),
            operators: [("gemm".to_owned(), 2)].into(),
        }),
        kernels: Some([("linear".to_owned(), "q4".to_owned())].into()),
        quantization: Some(QuantizationInfo {
            bits: Bits::B4,
            scheme: Scheme::Symmetric,
            granularity: "group".into(),
            group_size: Some(128),
            mixed_precision: true,
            attention_bits: Bits::B8,
            embedding_bits: Bits::B16,
            activation_bits: Bits::B32,
            bits_by_tensor: [("t".to_owned(), Bits::B4)].into(),
            experimental: false,
        }),
        performance_metrics: PerformanceMetrics {
            start_to_first_result_ms: Some(StartToFirstResult {
                total: 7.0,
                model: 1.0,
                package: 2.0,
                browser: 3.0,
                page: 4.0,
                load: 5.0,
                first_inference: 6.0,
            }),
            initialization_time_ms: Some(InitializationTime {
                total: 4.0,
                fetch: 3.0,
                upload: Some(2.0),
                compile: Some(1.0),
                choosing: Some(0.5),
            }),
            first_inference_time_ms: Some(5.0),
            warmup: Some(Warmup { runs: 70, ms: 310.0, steady: Some(true) }),
            inference_time_ms: Some(times),
            cpu_time_ms: Some(times),
            gpu_time_ms: Some(times),
            throughput_items_per_sec: Some(500.0),
            time_to_first_token_ms: Some(6.0),
            tokens_per_sec: Some(TokensPerSec { prefill: 1.0, decode: Some(2.0) }),
            memory: MemoryUse {
                weights_bytes: Some(1),
                gpu_peak_bytes: Some(2),
                wasm_heap_bytes: Some(3),
                browser_rss_bytes: Some(4),
                browser_pss_bytes: Some(5),
            },
            memory_reduction_percent: Some(MemoryReduction { nominal: 75.0, measured: Some(40.5) }),
            quantization_bits: Some(Bits::B4),
            quantization_error: Some(QuantizationError { mean_abs: 0.25, rmse: 0.5, cosine: 0.98 }),
            not_compared: None,
            engine_ratio: Some(EngineRatio {
                to: Engine::TransformersJs,
                of_medians: 0.5,
                low: 0.25,
                high: 0.75,
                interleaved: true,
            }),
        },
        profile: Some(vec![ProfileRow { operator: "o".into(), kernel: "k".into(), ms: 0.5, bytes: 64 }]),
        output: Some(Output::Embeddings { embeddings: vec![vec![0.1, -2.5]] }),
    }
}

/// The record's text as it was released: names and their order must not change.
#[test]
fn names_and_order_are_those_that_were_released() {
    let text = serde_json::to_string_pretty(&full()).unwrap() + "\n";
    assert_eq!(text, include_str!("record.golden.json"));
    assert_eq!(serde_json::from_str::<RunRecord>(&text).unwrap(), full());
}

#[test]
fn what_was_not_measured_is_null_and_not_left_out() {
    let metrics = serde_json::to_value(PerformanceMetrics::default()).unwrap();
    let fields = metrics.as_object().unwrap();
    assert_eq!(fields.len(), 15);
    let is_null = |name: &str| fields[name].is_null();
    assert!(fields.keys().filter(|name| *name != "memory").all(|name| is_null(name)));
    assert!(fields["memory"].as_object().unwrap().values().all(serde_json::Value::is_null));
}

#[test]
fn statistics_of_times() {
    assert_eq!(Times::of(&[]), None);
    assert_eq!(Times::of(&[1.0, f64::NAN]), None);
    assert_eq!(Times::of(&[3.0]), Some(Times { p50: 3.0, p90: 3.0, min: 3.0, runs: 1 }));
    let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
    assert_eq!(Times::of(&ten), Some(Times { p50: 5.5, p90: 9.0, min: 1.0, runs: 10 }));
    let spread_widely = |late: f64| Times::of(&[4.0, 4.0, 4.0, late]).map(Times::spread_widely);
    assert_eq!((spread_widely(5.0), spread_widely(5.1)), (Some(false), Some(true)));
}
