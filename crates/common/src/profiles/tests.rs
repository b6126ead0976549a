//! The tables, and which row of them wins.

use serde_json::{Value, json};

use super::*;
use crate::options::{BrowserKind, ExecutionProvider, GpuProfile, Platform};
use crate::quant::{Bits, Granularity, Scheme};

fn context(platform: Platform, browser: BrowserKind, family: &str) -> Context<'_> {
    Context { platform, browser, family, gpu: GpuProfile::Software }
}

fn settings(chosen: Settings, context: Context<'_>) -> ResolvedSettings {
    resolve(&Options { settings: chosen, ..Options::default() }, context).unwrap().settings
}

fn sourced<T>(value: T, source: Source) -> Sourced<T> {
    Sourced { value, source }
}

#[test]
fn text_in_chrome_is_mixed_4_bit_by_groups_of_128() {
    let found = settings(NONE, context(Platform::Webgpu, BrowserKind::Chrome, "bert"));
    assert_eq!(found.bits, sourced(Bits::B4, Source::Family));
    assert_eq!(found.scheme, sourced(Scheme::Symmetric, Source::Default));
    assert_eq!(found.granularity, sourced(Granularity::Group(128), Source::Default));
    assert_eq!(found.mixed_precision, sourced(true, Source::Family));
    assert_eq!(found.attention_bits, sourced(Bits::B8, Source::Default));
    assert_eq!(found.embedding_bits, sourced(Bits::B16, Source::Default));
    assert_eq!(found.activation_bits, sourced(Bits::B32, Source::Default));
    assert_eq!(found.skip_layernorm, sourced(true, Source::Family));
    assert_eq!(found.execution_provider.value, None);
}

#[test]
fn each_browser_has_the_defaults_of_the_guide() {
    let of = |browser| settings(NONE, context(Platform::Webgpu, browser, "unknown"));
    for browser in [BrowserKind::Chrome, BrowserKind::Edge] {
        assert_eq!((of(browser).bits.value, of(browser).mixed_precision.value), (Bits::B4, true));
    }
    let edge = settings(NONE, context(Platform::Webnn, BrowserKind::Edge, "unknown"));
    assert_eq!(edge.execution_provider, sourced(Some(ExecutionProvider::Gpu), Source::Default));
    assert_eq!(of(BrowserKind::Firefox).mixed_precision, sourced(false, Source::Default));
    for browser in [BrowserKind::Safari, BrowserKind::Webkit] {
        let found = of(browser);
        assert_eq!(found.bits, sourced(Bits::B8, Source::Browser));
        assert_eq!(found.granularity.value, Granularity::Channel);
        assert_eq!((found.chunked_operations.value, found.portable_kernels.value), (true, true));
    }
    let webnn: Vec<_> = BrowserKind::ALL.iter().copied().filter(|browser| may_have_webnn(*browser)).collect();
    assert_eq!(webnn, [BrowserKind::Chrome, BrowserKind::Edge]);
}

#[test]
fn audio_in_firefox_takes_compute_shaders_of_256() {
    let found = settings(NONE, context(Platform::Webgpu, BrowserKind::Firefox, "whisper"));
    assert_eq!(found.compute_shaders, sourced(true, Source::Browser));
    assert_eq!(found.workgroup_size, sourced(Some([256, 1, 1]), Source::Browser));
    let text = settings(NONE, context(Platform::Webgpu, BrowserKind::Firefox, "bert"));
    assert_eq!((text.compute_shaders.value, text.workgroup_size.value), (false, None));
    let chrome = settings(NONE, context(Platform::Webgpu, BrowserKind::Chrome, "wav2vec2"));
    assert_eq!(chrome.compute_shaders, sourced(true, Source::Family));
}

#[test]
fn explicit_beats_platform_beats_browser_beats_family_beats_default() {
    // Vision: the family says 8 bits and the browser's default is 4.
    let family = settings(NONE, context(Platform::Webgpu, BrowserKind::Chrome, "vit"));
    assert_eq!(family.bits, sourced(Bits::B8, Source::Family));
    assert_eq!(family.shader_precompilation, sourced(true, Source::Family));
    // Safari needs 8 bits where the family says 4.
    let browser = settings(NONE, context(Platform::Webgpu, BrowserKind::Safari, "bert"));
    assert_eq!(browser.bits, sourced(Bits::B8, Source::Browser));
    assert_eq!(browser.mixed_precision, sourced(false, Source::Browser));
    // WebNN says 8 before Safari does.
    let platform = settings(NONE, context(Platform::Webnn, BrowserKind::Safari, "bert"));
    assert_eq!(platform.bits, sourced(Bits::B8, Source::Platform));
    // And the caller is heard first.
    let chosen = Settings { bits: Some(Bits::B2), portable_kernels: Some(false), ..NONE };
    let explicit = settings(chosen, context(Platform::Webgpu, BrowserKind::Safari, "bert"));
    assert_eq!(explicit.bits, sourced(Bits::B2, Source::Explicit));
    assert_eq!(explicit.portable_kernels, sourced(false, Source::Explicit));
    assert_eq!(explicit.chunked_operations, sourced(true, Source::Browser));
}

#[test]
fn without_browser_optimized_the_browser_has_no_say() {
    let chosen = Settings { browser_optimized: Some(false), ..NONE };
    let found = settings(chosen, context(Platform::Webgpu, BrowserKind::Safari, "bert"));
    assert_eq!(found.bits, sourced(Bits::B4, Source::Family));
    assert!(!found.portable_kernels.value);
}

#[test]
fn attention_and_embeddings_follow_the_bits() {
    let chrome = context(Platform::Webgpu, BrowserKind::Chrome, "bert");
    let of = |bits| settings(Settings { bits: Some(bits), ..NONE }, chrome);
    let both = |bits| (of(bits).attention_bits.value, of(bits).embedding_bits.value);
    assert_eq!(both(Bits::B2), (Bits::B8, Bits::B16));
    assert_eq!(both(Bits::B8), (Bits::B8, Bits::B16));
    assert_eq!(both(Bits::B16), (Bits::B16, Bits::B16));
    assert_eq!(both(Bits::B32), (Bits::B32, Bits::B32));
    let plain = settings(Settings { bits: Some(Bits::B4), mixed_precision: Some(false), ..NONE }, chrome);
    assert_eq!(plain.attention_bits, sourced(Bits::B4, Source::Explicit));
    let fewer = settings(Settings { bits: Some(Bits::B8), attention_bits: Some(Bits::B4), ..NONE }, chrome);
    assert_eq!(fewer.attention_bits, sourced(Bits::B4, Source::Explicit));
    let none = settings(Settings { quantization: Some(false), ..NONE }, chrome);
    assert_eq!(
        (none.bits.value, none.attention_bits.value, none.embedding_bits.value),
        (Bits::B32, Bits::B32, Bits::B32)
    );
    assert_eq!(none.bits.source, Source::Explicit);
}

#[test]
fn fewer_bits_than_webnn_takes_are_a_fallback_only_when_asked_for() {
    let webnn = context(Platform::Webnn, BrowserKind::Chrome, "bert");
    let of = |settings| resolve(&Options { settings, ..Options::default() }, webnn).unwrap();
    let asked = of(Settings { bits: Some(Bits::B4), ..NONE });
    assert_eq!(asked.settings.bits, sourced(Bits::B8, Source::Platform));
    assert_eq!(asked.fallbacks.len(), 1);
    assert_eq!(asked.fallbacks[0].reason, "WebNN takes weights of 8 and 16 bits, found bits 4");
    assert!(of(NONE).fallbacks.is_empty());
    let experiment = of(Settings { bits: Some(Bits::B4), experimental_precision: Some(true), ..NONE });
    assert_eq!(experiment.settings.bits, sourced(Bits::B4, Source::Explicit));
    let too_far = of(Settings { bits: Some(Bits::B2), experimental_precision: Some(true), ..NONE });
    assert_eq!((too_far.settings.bits.value, too_far.fallbacks.len()), (Bits::B8, 1));
}

#[test]
fn contradictions_are_errors() {
    let chrome = context(Platform::Webgpu, BrowserKind::Chrome, "bert");
    let fails = |settings| resolve(&Options { settings, ..Options::default() }, chrome).unwrap_err().to_string();
    assert_eq!(
        fails(Settings { mixed_precision: Some(false), attention_bits: Some(Bits::B8), ..NONE }),
        "`--attention-bits` and `--no-mixed-precision` exclude one another; leave one of them out"
    );
    for size in [0, 24] {
        let error = fails(Settings { granularity: Some(Granularity::Group(size)), ..NONE });
        assert_eq!(error, format!("`--group-size` should be a positive multiple of 16, found {size}"));
    }
    for (size, found) in [([0, 1, 1], "0,1,1"), ([96, 1, 1], "96,1,1"), ([16, 16, 1], "16,16,1")] {
        let error = fails(Settings { workgroup_size: Some(size), ..NONE });
        assert!(error.contains("`--workgroup-size` should be X,1,1") && error.ends_with(found), "{error}");
    }
    let error = fails(Settings { skip_layernorm: Some(false), ..NONE });
    assert!(error.starts_with("`--no-skip-layernorm` is not offered"), "{error}");
    let mut options = Options::default();
    options.measure.runs = Some(0);
    assert!(resolve(&options, chrome).is_err());
}

#[test]
fn the_record_names_every_option_with_its_source() {
    let mut options = Options::default();
    options.settings.granularity = Some(Granularity::Channel);
    options.measure.runs = Some(3);
    options.generation.seed = Some(9);
    let record = resolve(&options, context(Platform::Webgpu, BrowserKind::Chrome, "bert")).unwrap().record();
    let at = |name: &str| serde_json::to_value(&record[name]).unwrap();
    assert_eq!(at("granularity"), json!({"value": "channel", "source": "explicit"}));
    assert_eq!(at("group_size"), json!({"value": null, "source": "explicit"}));
    assert_eq!(at("bits"), json!({"value": 4, "source": "family"}));
    assert_eq!(at("runs"), json!({"value": 3, "source": "explicit"}));
    assert_eq!(at("seed"), json!({"value": 9, "source": "explicit"}));
    assert_eq!(at("browser"), json!({"value": "chrome", "source": "default"}));
    // Every field of the options has its row, so that none can be forgotten.
    let Value::Object(fields) = serde_json::to_value(Options::default()).unwrap() else {
        panic!("options are an object")
    };
    let missing: Vec<_> = fields.keys().filter(|name| !record.contains_key(*name)).collect();
    assert!(missing.is_empty(), "not in the record: {missing:?}");
}

#[test]
fn safari_always_has_a_window() {
    let of = |headless| {
        let mut options = Options::default();
        options.launch.headless = headless;
        resolve(&options, context(Platform::Wasm, BrowserKind::Safari, "bert")).unwrap()
    };
    let quiet = of(None);
    assert_eq!((quiet.headless, quiet.fallbacks.len()), (sourced(false, Source::Browser), 0));
    let asked = of(Some(true));
    assert_eq!((asked.headless, asked.fallbacks.len()), (sourced(false, Source::Browser), 1));
    assert_eq!(of(Some(false)).headless, sourced(false, Source::Explicit));
}

#[test]
fn compute_shaders_are_for_models_of_sound_and_nothing_else() {
    let of = |family, chosen| {
        let options = Options { settings: Settings { compute_shaders: chosen, ..NONE }, ..Options::default() };
        resolve(&options, context(Platform::Webgpu, BrowserKind::Chrome, family)).unwrap()
    };
    assert_eq!(of("whisper", None).settings.compute_shaders, sourced(true, Source::Family));
    assert_eq!(of("whisper", Some(false)).settings.compute_shaders, sourced(false, Source::Explicit));
    let text = of("bert", Some(true));
    assert_eq!(text.settings.compute_shaders, sourced(false, Source::Family));
    assert!(text.fallbacks[0].reason.contains("bert take no sound"), "{:?}", text.fallbacks);
    assert!(of("bert", Some(false)).fallbacks.is_empty());
}

#[test]
fn int8_activations_bring_the_weights_that_go_with_them() {
    let chosen = Settings { activation_bits: Some(Bits::B8), ..NONE };
    let webnn = settings(chosen.clone(), context(Platform::Webnn, BrowserKind::Chrome, "bert"));
    assert_eq!(webnn.activation_bits, sourced(Bits::B8, Source::Explicit));
    assert_eq!((webnn.bits.value, webnn.attention_bits.value), (Bits::B8, Bits::B8));
    assert_eq!(webnn.granularity, sourced(Granularity::Channel, Source::Explicit));
    assert_eq!((webnn.scheme.value, webnn.mixed_precision.value), (Scheme::Symmetric, false));

    let wasm = settings(chosen.clone(), context(Platform::Wasm, BrowserKind::Firefox, "bert"));
    assert_eq!((&wasm.activation_bits, &wasm.granularity), (&webnn.activation_bits, &webnn.granularity));
    assert_eq!((wasm.bits.value, wasm.scheme.value), (Bits::B8, Scheme::Symmetric));

    let options = Options { settings: chosen, ..Options::default() };
    let webgpu = resolve(&options, context(Platform::Webgpu, BrowserKind::Chrome, "bert")).unwrap();
    assert_eq!(webgpu.settings.activation_bits, sourced(Bits::B32, Source::Platform));
    assert_eq!(webgpu.settings.bits.value, Bits::B4);
    assert_eq!((webgpu.fallbacks.len(), webgpu.fallbacks[0].to.as_str()), (1, "activation_bits 32"));
}

#[test]
fn int8_activations_exclude_weights_that_do_not_go_with_them() {
    let of = |chosen: Settings| {
        let chosen = Settings { activation_bits: chosen.activation_bits.or(Some(Bits::B8)), ..chosen };
        let options = Options { settings: chosen, ..Options::default() };
        resolve(&options, context(Platform::Webnn, BrowserKind::Chrome, "bert")).map(|_| ())
    };
    assert_eq!(of(NONE), Ok(()));
    let conflicts = [
        Settings { bits: Some(Bits::B4), ..NONE },
        Settings { attention_bits: Some(Bits::B16), ..NONE },
        Settings { scheme: Some(Scheme::Asymmetric), ..NONE },
        Settings { granularity: Some(Granularity::Group(32)), ..NONE },
        Settings { quantization: Some(false), ..NONE },
    ];
    for conflict in conflicts {
        assert!(matches!(of(conflict.clone()), Err(OptionsError::Conflict { .. })), "{conflict:?}");
    }
    let four = Settings { activation_bits: Some(Bits::B4), ..NONE };
    assert!(matches!(of(four), Err(OptionsError::Range { option: "--activation-bits", .. })));
}

#[test]
fn without_fallback_a_request_that_cannot_be_kept_is_an_error() {
    let of = |settings: Settings, platform, fallback| {
        let options = Options { settings, fallback, ..Options::default() };
        resolve(&options, context(platform, BrowserKind::Chrome, "bert")).map(|resolved| resolved.fallbacks.len())
    };
    let cases = [
        (Platform::Webnn, Settings { bits: Some(Bits::B4), ..NONE }, "bits 4"),
        (Platform::Webnn, Settings { attention_bits: Some(Bits::B2), ..NONE }, "attention_bits 2"),
        (Platform::Webgpu, Settings { activation_bits: Some(Bits::B8), ..NONE }, "activation_bits 8"),
        (Platform::Webgpu, Settings { compute_shaders: Some(true), ..NONE }, "compute_shaders true"),
    ];
    for (platform, settings, asked) in cases {
        assert_eq!(of(settings.clone(), platform, None), Ok(1), "{asked}");
        match of(settings, platform, Some(false)) {
            Err(OptionsError::NotKept { request, .. }) => assert_eq!(request, asked),
            other => panic!("{asked}: expected that it cannot be kept, found {other:?}"),
        }
    }
    // Defaults give way as ever: WebNN takes no 4 bits, which nobody asked for here.
    assert_eq!(of(NONE, Platform::Webnn, Some(false)), Ok(0));
    assert_eq!(of(Settings { bits: Some(Bits::B8), ..NONE }, Platform::Webnn, Some(false)), Ok(0));
}
