//! What is in force where.

use super::*;
use crate::options::{BrowserKind, ExecutionProvider, GpuProfile, MeasureOptions, Options, PageSettings, Settings};
use crate::profiles::{Context, Resolved, resolve};
use crate::quant::Bits;

const ENGINES: [Engine; 2] = [Engine::Native, Engine::TransformersJs];
const PLATFORMS: [Platform; 3] = [Platform::Webgpu, Platform::Webnn, Platform::Wasm];

/// Every option that does not have an effect everywhere, chosen.
fn everything() -> Options {
    let settings = Settings {
        activation_bits: Some(Bits::B8),
        experimental_precision: Some(true),
        execution_provider: Some(ExecutionProvider::Npu),
        lowering: Some("int8".into()),
        threads: Some(2),
        compute_shaders: Some(true),
        workgroup_size: Some([64, 1, 1]),
        chunked_operations: Some(true),
        portable_kernels: Some(true),
        half_tiles: Some(true),
        shader_precompilation: Some(true),
        ..Settings::default()
    };
    Options { settings, measure: MeasureOptions { profile: Some(true), ..Default::default() }, ..Default::default() }
}

fn on(options: Options, platform: Platform, engine: Engine, browser: BrowserKind) -> Resolved {
    let context = Context { platform, browser, family: "whisper", gpu: GpuProfile::Software };
    resolve(&Options { engine: Some(engine), ..options }, context).unwrap()
}

/// Names of what was not kept.
fn given_up(platform: Platform, engine: Engine) -> Vec<String> {
    let resolved = on(everything(), platform, engine, BrowserKind::Chrome);
    let record = resolved.record();
    for step in &resolved.fallbacks {
        let name = step.from.split(' ').next().unwrap();
        assert_eq!(record[name].source, Source::Platform, "{step:?}");
        assert_eq!(step.to, format!("{name} {}", text(&record[name].value)));
    }
    resolved.fallbacks.iter().map(|step| step.from.clone()).collect()
}

const OF_KERNELS: [&str; 7] = [
    "workgroup_size [64,1,1]",
    "compute_shaders true",
    "chunked_operations true",
    "portable_kernels true",
    "half_tiles true",
    "shader_precompilation true",
    "profile true",
];

#[test]
fn what_was_chosen_and_does_nothing_is_a_fallback() {
    let and_kernels = |first: &[&'static str]| [first, &OF_KERNELS].concat();
    let (native, other) = (Engine::Native, Engine::TransformersJs);
    let of_webnn = ["experimental_precision true", "execution_provider npu", "lowering int8"];
    assert_eq!(given_up(Platform::Webgpu, native), [&["activation_bits 8"], &of_webnn[..], &["threads 2"]].concat());
    assert_eq!(given_up(Platform::Webnn, native), OF_KERNELS);
    assert_eq!(given_up(Platform::Wasm, native), and_kernels(&of_webnn));
    assert_eq!(given_up(Platform::Webnn, other), and_kernels(&["activation_bits 8", "lowering int8"]));
    for platform in [Platform::Webgpu, Platform::Wasm] {
        assert_eq!(given_up(platform, other), and_kernels(&[&["activation_bits 8"], &of_webnn[..]].concat()));
    }
    assert_eq!(given_up(Platform::Auto, native), Vec::<String>::new());
}

#[test]
fn what_a_profile_chose_gives_way_quietly_and_is_not_shown_in_force() {
    for (platform, engine) in PLATFORMS.into_iter().flat_map(|one| ENGINES.map(|engine| (one, engine))) {
        for browser in BrowserKind::ALL {
            let resolved = on(Options::default(), platform, engine, *browser);
            assert!(resolved.fallbacks.is_empty(), "{:?}", resolved.fallbacks);
            let in_force = resolved.settings.portable_kernels.value;
            let wanted = matches!(browser, BrowserKind::Safari | BrowserKind::Webkit);
            assert_eq!(in_force, wanted && (platform, engine) == (Platform::Webgpu, Engine::Native));
            let device = resolved.settings.execution_provider.value;
            assert_eq!(device.is_some(), *browser == BrowserKind::Edge && platform == Platform::Webnn);
        }
    }
}

#[test]
fn what_was_switched_off_is_kept_by_whoever_never_does_it() {
    let settings = Settings { portable_kernels: Some(false), half_tiles: Some(false), ..Settings::default() };
    let options = Options { settings, ..Options::default() };
    let wasm = on(options, Platform::Wasm, Engine::Native, BrowserKind::Safari);
    assert!(wasm.fallbacks.is_empty());
    assert_eq!(wasm.settings.portable_kernels, Sourced { value: false, source: Source::Explicit });
}

#[test]
fn the_reason_says_what_the_option_is_for() {
    let resolved = on(everything(), Platform::Wasm, Engine::TransformersJs, BrowserKind::Chrome);
    let expected = "wasm by transformers-js has no use for it: it is for the native engine on webnn and wasm, which take 8 \
        bits; others compute with activations in floats";
    assert_eq!(resolved.fallbacks[0].reason, expected);
}

#[test]
fn who_stands_in_says_what_it_does_not_keep() {
    let settings = PageSettings {
        execution_provider: Some(ExecutionProvider::Gpu),
        activation_bits: Bits::B8,
        lowering: Some("int8".into()),
        threads: Some(2),
        chunked_operations: Some(false),
        portable_kernels: Some(true),
        ..PageSettings::default()
    };
    let options = LoadOptions { settings, ..LoadOptions::on(Platform::Webnn) };
    let names = |options: &LoadOptions| {
        let found = idle_options(options).into_iter();
        found.map(|one| (one.option, one.value)).collect::<Vec<_>>()
    };
    let named = |found: &[(&str, Value)]| found.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect::<Vec<_>>();
    let portable = ("portable_kernels", Value::Bool(false));
    assert_eq!(names(&options), named(std::slice::from_ref(&portable)));
    let simulated = LoadOptions { simulate: true, ..options.clone() };
    let device = ("execution_provider", Value::Null);
    assert_eq!(names(&simulated), named(&[device, ("lowering", Value::Null), portable.clone()]));
    let other = LoadOptions { engine: Engine::TransformersJs, ..options };
    let bits = ("activation_bits", 32.into());
    assert_eq!(names(&other), named(&[bits, ("lowering", Value::Null), portable]));
    assert!(idle_options(&LoadOptions::on(Platform::Webgpu)).is_empty());
}
