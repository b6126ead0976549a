//! Records: what failed runs say, and what figures are made of.

use webnibble_common::options::{BrowserKind, ExecutionProvider, LaunchOptions, Options, Platform, Settings};
use webnibble_common::package::{PackageMeta, QuantizationMeta};
use webnibble_common::profiles::{OptionsError, Source};
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::record::{BrowserInfo, ImplementationType};
use webnibble_common::wire::{Adjustment, ErrorCode};

use super::answer::check_kept;
use super::prepared::resolve_for;
use super::record::{memory_reduction, quantization_info};
use super::testing::{Small, answered, run_report as report};
use super::*;

fn request(options: Options) -> RunRequest {
    RunRequest {
        model: "./there-is-no-such-model".into(),
        options,
        input: Input::texts(vec!["a".into(), "b".into()]),
        outputs: Vec::new(),
        generate: false,
        compare_f32: false,
        verbose: false,
        revision: "abc".into(),
        progress: None,
    }
}

#[tokio::test]
async fn a_model_that_is_not_there_is_named() {
    let record = run(request(Options::default())).await;
    let error = record.error.unwrap();
    assert_eq!(error.code, "model");
    assert!(error.message.contains("there-is-no-such-model"), "{}", error.message);
    assert!(record.run.revision.ends_with("(abc)"));
    assert_eq!(record.run.timestamp.len(), "2026-01-02T03:04:05Z".len());
}

fn meta(bits: u8, parameters: u64) -> PackageMeta {
    PackageMeta {
        format_version: 1,
        name: "m".into(),
        family: "bert".into(),
        parameters,
        config: serde_json::Value::Null,
        sentence: None,
        generation_config: None,
        preprocessor_config: None,
        model_max_length: None,
        tensors: Default::default(),
        quantization: QuantizationMeta {
            bits,
            scheme: Scheme::Symmetric,
            granularity: Granularity::Group(128),
            mixed_precision: true,
            attention_bits: 8,
            embedding_bits: 16,
        },
        activations: None,
    }
}

#[test]
fn reduction_is_of_the_whole_model_against_f16() {
    let reduction = memory_reduction(&meta(4, 100), 150);
    assert_eq!((reduction.nominal, reduction.measured), (75.0, Some(25.0)));
    assert_eq!(memory_reduction(&meta(32, 100), 400).measured, Some(-100.0));
    assert_eq!(memory_reduction(&meta(8, 0), 1).measured, None);
}

fn ran(implementation_type: ImplementationType) -> RunRecord {
    answered(&Small::new(), &two_ids(Options::default()), report(implementation_type))
}

/// A request that names no model, with an input that every model takes.
fn two_ids(options: Options) -> RunRequest {
    RunRequest { input: Input::ids(vec![vec![1, 2], vec![3, 4]]), ..request(options) }
}

#[test]
fn times_of_a_real_run_are_the_platforms() {
    let record = ran(ImplementationType::RealWebgpu);
    let metrics = record.performance_metrics;
    assert_eq!(metrics.inference_time_ms.unwrap().p50, 2.0);
    assert_eq!((metrics.cpu_time_ms, metrics.gpu_time_ms), (None, None));
    assert_eq!(metrics.throughput_items_per_sec, Some(1000.0));
    let input = record.input.unwrap();
    assert_eq!((input.kind.as_str(), input.batch, input.sequence_length), ("ids", 2, Some(9)));
}

#[test]
fn times_of_a_stand_in_are_never_the_platforms() {
    let record = ran(ImplementationType::SimulatedWebgpu);
    assert_eq!(record.is_simulation, Some(true));
    let metrics = record.performance_metrics;
    assert_eq!(metrics.cpu_time_ms.unwrap().runs, 2);
    assert_eq!((metrics.inference_time_ms, metrics.gpu_time_ms, metrics.first_inference_time_ms), (None, None, None));
    assert_eq!((metrics.initialization_time_ms, metrics.start_to_first_result_ms), (None, None));
    assert_eq!(metrics.throughput_items_per_sec, None);
}

#[test]
fn what_the_page_set_otherwise_is_in_the_options_and_failures_are_fallbacks_too() {
    let adjustment = |option: &str, code| Adjustment {
        option: option.into(),
        value: true.into(),
        code,
        reason: "the adapter's limit".into(),
    };
    let mut report = report(ImplementationType::RealWebgpu);
    report.adjustments =
        vec![adjustment("chunked_operations", None), adjustment("portable_kernels", Some(ErrorCode::Validation))];
    // Said twice, it is no news.
    report.adjustments.extend_from_within(..);
    let record = answered(&Small::new(), &two_ids(Options::default()), report);
    for name in ["chunked_operations", "portable_kernels"] {
        let option = &record.options[name];
        assert_eq!((&option.value, option.source), (&true.into(), Source::Platform), "{name}");
    }
    // A default that gives way is no fallback.
    let steps: Vec<_> = record.fallbacks.iter().map(|step| (step.from.as_str(), step.code.as_str())).collect();
    assert_eq!(steps, [("portable_kernels false", "validation")]);
}

#[test]
fn without_fallback_a_page_that_sets_what_was_asked_for_otherwise_is_an_error() {
    let of = |half_tiles, fallback| {
        let settings = Settings { half_tiles, ..Settings::default() };
        let options = Options { settings, fallback, ..Options::default() };
        let (option, value, reason) = ("half_tiles".to_owned(), false.into(), "no shader-f16".to_owned());
        let mut report = report(ImplementationType::RealWebgpu);
        report.adjustments = vec![Adjustment { option, value, code: Some(ErrorCode::Unsupported), reason }];
        let (option, value, reason) = ("portable_kernels".to_owned(), true.into(), "a kernel did not build".to_owned());
        report.adjustments.push(Adjustment { option, value, code: Some(ErrorCode::Validation), reason });
        check_kept(&resolve(&options, Platform::Webgpu, "bert").unwrap(), &report)
    };
    let Err(error) = of(Some(true), Some(false)) else { panic!("f16 was asked for, and not kept") };
    assert_eq!(error.code(), "request_not_kept");
    assert!(error.to_string().contains("`half_tiles true` was asked for"), "{error}");
    assert!(matches!(error, HostError::Options(OptionsError::NotKept { .. })));
    // Nobody asked, or something else is allowed. Portable kernels are no broken request of anybody.
    for (half_tiles, fallback) in [(None, Some(false)), (Some(false), Some(false)), (Some(true), None)] {
        assert!(of(half_tiles, fallback).is_ok(), "{half_tiles:?} {fallback:?}");
    }
}

#[test]
fn a_package_keeps_its_bits_on_a_platform_that_takes_others() {
    let small = Small::new();
    let mut request = request(Options::default());
    let resolved = resolve_for(&request, &small.package(), Platform::Webnn).unwrap();
    assert_eq!((resolved.settings.bits.value, resolved.fallbacks.len()), (Bits::B4, 0), "nothing made 8 bits of it");
    request.options.fallback = Some(false);
    let error = resolve_for(&request, &small.package(), Platform::Webnn).unwrap_err();
    assert_eq!(error.code(), "platform_unavailable");
    assert!(error.to_string().contains("found bits 4"), "{error}");
    resolve_for(&request, &small.package(), Platform::Webgpu).unwrap();
}

#[test]
fn experimental_is_what_ran_and_not_what_was_allowed() {
    let settings = Settings { experimental_precision: Some(true), ..Settings::default() };
    let options = Options { settings, ..Options::default() };
    let settings = resolve(&options, Platform::Webnn, "bert").unwrap().settings;
    for (kind, bits, expected) in [
        (ImplementationType::RealWebnn, Bits::B4, true),
        (ImplementationType::RealWebnn, Bits::B2, true),
        (ImplementationType::RealWebnn, Bits::B8, false),
        (ImplementationType::RealWebgpu, Bits::B4, false),
        (ImplementationType::SimulatedWebnn, Bits::B4, false),
    ] {
        let mut meta = meta(bits.into(), 1);
        let small = Small::new().prepared(&two_ids(Options::default())).package.header.meta.clone();
        let (name, mut tensor) = small.tensors.into_iter().next().expect("there are tensors");
        tensor.format.bits = bits;
        meta.tensors.insert(name, tensor);
        assert!(!quantization_info(&meta, &settings, None, None).experimental, "nothing ran yet");
        let found = quantization_info(&meta, &settings, Some(Bits::B32), Some(kind));
        assert_eq!(found.experimental, expected, "{kind} at {bits} bits");
    }
}

#[test]
fn a_device_that_edge_prefers_binds_nobody() {
    let launch = LaunchOptions { browser: Some(BrowserKind::Edge), ..Default::default() };
    let device = |options: Options| {
        let resolved = resolve(&options, Platform::Webnn, "bert").unwrap();
        let options = load_options(Platform::Webnn, &resolved);
        (options.settings.execution_provider.map(ExecutionProvider::name), options.prefer_device)
    };
    let edge = Options { launch, ..Options::default() };
    assert_eq!(device(edge.clone()), (Some("gpu"), true));
    let settings = Settings { execution_provider: Some(ExecutionProvider::Gpu), ..Default::default() };
    assert_eq!(device(Options { settings, ..edge }), (Some("gpu"), false));
}

#[test]
fn a_window_that_is_not_as_it_was_asked_for_is_a_fallback_only_where_it_was() {
    let browser = |headless| BrowserInfo {
        name: "MiniBrowser".into(),
        version: "2".into(),
        headless,
        user_agent: String::new(),
        start_ms: 1.0,
    };
    let recorded = |asked: Option<bool>, was: bool| {
        let launch = LaunchOptions { headless: asked, ..Default::default() };
        let request = two_ids(Options { launch, ..Options::default() });
        let mut known = Known::begin();
        known.prepared(Small::new().prepared(&request));
        known.browser = Some(browser(was));
        let record = record(&request, &known, Err(cancelled()));
        (record.options["headless"].value == serde_json::Value::Bool(was), record.fallbacks.len())
    };
    assert_eq!(recorded(Some(false), true), (true, 1));
    assert_eq!(recorded(None, false), (true, 0));
    assert_eq!(recorded(Some(true), true), (true, 0));
}

#[test]
fn options_are_resolved_for_this_machine() {
    let launch = LaunchOptions { gpu: Some(webnibble_common::options::GpuProfile::System), ..Default::default() };
    let resolved = resolve(&Options { launch, ..Options::default() }, Platform::Webgpu, "bert").unwrap();
    assert_eq!(resolved.gpu.value, webnibble_common::options::GpuProfile::System);
    assert_eq!(resolved.settings.bits.value, Bits::B4);
}
