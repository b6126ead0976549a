//! Defaults by platform, browser and family, and which of them wins.
//!
//! The tables of this file are all that is known about browsers and families. [`resolve`] lays them over one another:
//!
//! 1. what the caller chose,
//! 2. what the platform can do (WebNN: 8 bits),
//! 3. what the browser needs (Safari: 8 bits, chunked, portable),
//! 4. what the family recommends,
//! 5. the browser's default, or else the program's.
//!
//! The record names each value's [`Source`]. A default that gives way is no fallback; an explicit request that could
//! not be kept is one, and comes back in [`Resolved::fallbacks`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::options::{BrowserKind, Engine, ExecutionProvider, GpuProfile, Options, Platform, Settings};
use crate::quant::{Bits, Granularity, Scheme};
use crate::result::{Fallback, OptionValue};

mod effects;

pub use effects::idle_options;

/// Where an option's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The caller chose it.
    Explicit,
    /// The platform, its adapter or the engine can do no other.
    Platform,
    /// The browser needs it.
    Browser,
    /// Recommended for the model's family, or of no use to it.
    Family,
    /// The browser's default, or the program's.
    Default,
}

/// A value and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

/// Kinds of model that have recommendations of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyKind {
    /// BERT, T5.
    Text,
    /// ViT, CLIP.
    Vision,
    /// Whisper, Wav2Vec2.
    Audio,
    /// LLaMA, Qwen2.
    Llm,
}

/// The kind of a family, by the family's name as it is in packages; `None` for a name that is not known here.
pub fn family_kind(family: &str) -> Option<FamilyKind> {
    FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, kind)| *kind)
}

const FAMILIES: &[(&str, FamilyKind)] = &[
    ("bert", FamilyKind::Text),
    ("t5", FamilyKind::Text),
    ("vit", FamilyKind::Vision),
    ("clip", FamilyKind::Vision),
    ("whisper", FamilyKind::Audio),
    ("wav2vec2", FamilyKind::Audio),
    ("llama", FamilyKind::Llm),
    ("qwen2", FamilyKind::Llm),
];

/// Nothing chosen: what the tables below start from.
const NONE: Settings = Settings {
    browser_optimized: None,
    quantization: None,
    bits: None,
    scheme: None,
    granularity: None,
    mixed_precision: None,
    attention_bits: None,
    embedding_bits: None,
    activation_bits: None,
    calibrated_weights: None,
    experimental_precision: None,
    skip_layernorm: None,
    compute_shaders: None,
    workgroup_size: None,
    execution_provider: None,
    lowering: None,
    threads: None,
    chunked_operations: None,
    portable_kernels: None,
    half_tiles: None,
    shader_precompilation: None,
};

/// What is known of one browser.
struct BrowserProfile {
    browser: BrowserKind,
    /// Whether it can have WebNN at all.
    webnn: bool,
    /// What it needs, against the family's recommendation.
    needs: Settings,
    /// What it needs for audio models, beside `needs`.
    audio_needs: Settings,
    /// What suits it where nobody says otherwise.
    defaults: Settings,
}

const CHROME: BrowserProfile = BrowserProfile {
    browser: BrowserKind::Chrome,
    webnn: true,
    needs: NONE,
    audio_needs: NONE,
    defaults: Settings {
        bits: Some(Bits::B4),
        scheme: Some(Scheme::Symmetric),
        granularity: Some(Granularity::Group(128)),
        mixed_precision: Some(true),
        ..NONE
    },
};

const SAFARI: BrowserProfile = BrowserProfile {
    browser: BrowserKind::Safari,
    webnn: false,
    needs: Settings {
        bits: Some(Bits::B8),
        scheme: Some(Scheme::Symmetric),
        granularity: Some(Granularity::Channel),
        mixed_precision: Some(false),
        chunked_operations: Some(true),
        portable_kernels: Some(true),
        ..NONE
    },
    audio_needs: NONE,
    defaults: NONE,
};

const BROWSERS: &[BrowserProfile] = &[
    CHROME,
    BrowserProfile {
        browser: BrowserKind::Edge,
        defaults: Settings { execution_provider: Some(ExecutionProvider::Gpu), ..CHROME.defaults },
        ..CHROME
    },
    BrowserProfile {
        browser: BrowserKind::Firefox,
        webnn: false,
        audio_needs: Settings { compute_shaders: Some(true), workgroup_size: Some([256, 1, 1]), ..NONE },
        defaults: Settings { mixed_precision: Some(false), ..CHROME.defaults },
        ..CHROME
    },
    SAFARI,
    BrowserProfile { browser: BrowserKind::Webkit, ..SAFARI },
];

/// What each platform can do.
const PLATFORMS: &[(Platform, Settings)] = &[(Platform::Webnn, Settings { bits: Some(Bits::B8), ..NONE })];

/// What is recommended for each kind of family.
const RECOMMENDED: &[(FamilyKind, Settings)] = &[
    (
        FamilyKind::Text,
        Settings { bits: Some(Bits::B4), mixed_precision: Some(true), skip_layernorm: Some(true), ..NONE },
    ),
    (
        FamilyKind::Vision,
        Settings { bits: Some(Bits::B8), mixed_precision: Some(true), shader_precompilation: Some(true), ..NONE },
    ),
    (FamilyKind::Audio, Settings { bits: Some(Bits::B4), compute_shaders: Some(true), ..NONE }),
    (
        FamilyKind::Llm,
        Settings { bits: Some(Bits::B4), mixed_precision: Some(true), attention_bits: Some(Bits::B8), ..NONE },
    ),
];

/// Whether a browser can have WebNN at all; what it really has, the agent finds out.
pub fn may_have_webnn(browser: BrowserKind) -> bool {
    profile_of(browser).webnn
}

fn profile_of(browser: BrowserKind) -> &'static BrowserProfile {
    BROWSERS.iter().find(|profile| profile.browser == browser).expect("every browser has a row")
}

/// What is run where: decides which rows of the tables count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The platform.
    pub platform: Platform,
    /// The browser.
    pub browser: BrowserKind,
    /// The family, as it is named in packages: `bert`.
    pub family: &'a str,
    /// What makes a browser find a GPU on this machine.
    pub gpu: GpuProfile,
}

/// Options that contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Two options exclude one another.
    #[error("`{one}` and `{other}` exclude one another; leave one of them out")]
    Conflict {
        /// As on the command line.
        one: &'static str,
        /// As on the command line.
        other: &'static str,
    },
    /// A value that no package can have.
    #[error("`{option}` is not offered: {reason}")]
    NotOffered {
        /// As on the command line.
        option: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A value is out of its range.
    #[error("`{option}` should be {expected}, found {found}")]
    Range {
        /// As on the command line.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A request that cannot be kept, where nothing else is to take its place.
    #[error(
        "`{request}` was asked for and cannot be kept: {reason}; without `--no-fallback`, `{instead}` takes its place"
    )]
    NotKept {
        /// The option and the value that was asked for, as the record has them.
        request: String,
        /// What it would be otherwise.
        instead: String,
        /// Why.
        reason: String,
    },
}

impl OptionsError {
    /// What a fallback says, where none is allowed.
    pub fn not_kept(fallback: &Fallback) -> Self {
        let Fallback { from, to, reason, .. } = fallback.clone();
        Self::NotKept { request: from, instead: to, reason }
    }
}

/// Declares the resolved settings: one sourced value for each field of [`Settings`].
macro_rules! resolved_settings {
    ($($field:ident: $type:ty = $default:expr, $wrap:expr;)*) => {
        /// A value for every field of [`Settings`], each with its source.
        #[derive(Clone, Debug, PartialEq)]
        pub struct ResolvedSettings {
            $(#[doc = concat!("See [`Settings::", stringify!($field), "`].")] pub $field: Sourced<$type>,)*
        }

        /// The first value of each field, layer by layer.
        fn lay(layers: &[(Source, Settings)]) -> ResolvedSettings {
            ResolvedSettings {
                $($field: layers
                    .iter()
                    .find_map(|(source, layer)| Some(Sourced { value: $wrap(layer.$field.clone()?), source: *source }))
                    .unwrap_or(Sourced { value: $default, source: Source::Default }),)*
            }
        }

        impl ResolvedSettings {
            fn record(&self) -> BTreeMap<String, OptionValue> {
                [$((stringify!($field).to_owned(), option_value(self.$field.clone()))),*].into()
            }
        }
    };
}

/// Takes a value as it is.
fn same<T>(value: T) -> T {
    value
}

resolved_settings! {
    browser_optimized: bool = true, same;
    quantization: bool = true, same;
    bits: Bits = Bits::B4, same;
    scheme: Scheme = Scheme::Symmetric, same;
    granularity: Granularity = Granularity::Group(128), same;
    mixed_precision: bool = false, same;
    attention_bits: Bits = Bits::B8, same;
    embedding_bits: Bits = Bits::B16, same;
    activation_bits: Bits = Bits::B32, same;
    calibrated_weights: bool = false, same;
    experimental_precision: bool = false, same;
    skip_layernorm: bool = true, same;
    compute_shaders: bool = false, same;
    workgroup_size: Option<[u32; 3]> = None, Some;
    execution_provider: Option<ExecutionProvider> = None, Some;
    lowering: Option<String> = None, Some;
    threads: Option<u32> = None, Some;
    chunked_operations: bool = false, same;
    portable_kernels: bool = false, same;
    half_tiles: bool = false, same;
    shader_precompilation: bool = false, same;
}

fn option_value<T: Serialize>(sourced: Sourced<T>) -> OptionValue {
    let value = serde_json::to_value(sourced.value).expect("options are plain data");
    OptionValue { value, source: sourced.source }
}

/// Every option with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What profiles have a say in.
    pub settings: ResolvedSettings,
    /// Who computes.
    pub engine: Sourced<Engine>,
    /// Whether a failure goes on to the next platform, or to simulation.
    pub fallback: Sourced<bool>,
    /// Without a window.
    pub headless: Sourced<bool>,
    /// Which flags make the browser find its GPU.
    pub gpu: Sourced<GpuProfile>,
    /// Runs before the measured ones; until times are steady where there is none.
    pub warmup: Sourced<Option<u32>>,
    /// Measured runs.
    pub runs: Sourced<u32>,
    /// Time every kernel.
    pub profile: Sourced<bool>,
    /// Explicit requests that could not be kept.
    pub fallbacks: Vec<Fallback>,
    /// The rest, for the record: as the caller gave it, or null.
    given: BTreeMap<String, OptionValue>,
}

impl Resolved {
    /// Every option for the record.
    pub fn record(&self) -> BTreeMap<String, OptionValue> {
        let mut record = self.settings.record();
        record.extend(self.given.clone());
        let granularity = self.settings.granularity;
        let (name, group_size) = granularity_parts(granularity.value);
        let source = granularity.source;
        record.insert("granularity".into(), option_value(Sourced { value: name, source }));
        record.insert("group_size".into(), option_value(Sourced { value: group_size, source }));
        record.insert("engine".into(), option_value(self.engine));
        record.insert("fallback".into(), option_value(self.fallback));
        record.insert("headless".into(), option_value(self.headless));
        record.insert("gpu".into(), option_value(self.gpu));
        record.insert("warmup".into(), option_value(self.warmup));
        record.insert("runs".into(), option_value(self.runs));
        record.insert("profile".into(), option_value(self.profile));
        record
    }
}

/// A granularity as the record has it: `group`, `channel` or `tensor`, and the size of a group.
pub fn granularity_parts(granularity: Granularity) -> (&'static str, Option<usize>) {
    match granularity {
        Granularity::Tensor => ("tensor", None),
        Granularity::Channel => ("channel", None),
        Granularity::Group(size) => ("group", Some(size)),
    }
}

/// Finds a value for every option.
///
/// # Errors
/// Fails for options that contradict themselves or are out of range, and for requests that cannot be kept where no fallback
/// is allowed.
pub fn resolve(options: &Options, context: Context<'_>) -> Result<Resolved, OptionsError> {
    check(options)?;
    let chosen = &options.settings;
    let mut settings = lay(&layers(chosen, context));
    let engine = or_default(options.engine, Engine::Native);
    let mut profile = or_default(options.measure.profile, false);
    let mut headless = or_default(options.launch.headless, true);
    let mut fallbacks = effects::keep_effective(&mut settings, &mut profile, (context.platform, engine.value));
    derive_bits(chosen, &mut settings);
    fallbacks.extend(keep_compute_shaders(&mut settings, context.family));
    fallbacks.extend(keep_headless(&mut headless, context.browser));
    fallbacks.extend(keep_to_platform(&mut settings, context.platform));
    let fallback = or_default(options.fallback, true);
    if let (false, Some(broken)) = (fallback.value, fallbacks.first()) {
        return Err(OptionsError::not_kept(broken));
    }
    Ok(Resolved {
        settings,
        engine,
        fallback,
        headless,
        gpu: or_default(options.launch.gpu, context.gpu),
        warmup: or_default(options.measure.warmup.map(Some), None),
        runs: or_default(options.measure.runs, 10),
        profile,
        fallbacks,
        given: given(options, context),
    })
}

fn or_default<T>(chosen: Option<T>, default: T) -> Sourced<T> {
    match chosen {
        Some(value) => Sourced { value, source: Source::Explicit },
        None => Sourced { value: default, source: Source::Default },
    }
}

fn check(options: &Options) -> Result<(), OptionsError> {
    let settings = &options.settings;
    if settings.mixed_precision == Some(false) && settings.attention_bits.is_some() {
        return Err(OptionsError::Conflict { one: "--attention-bits", other: "--no-mixed-precision" });
    }
    if settings.quantization == Some(false) && settings.bits.is_some_and(|bits| bits != Bits::B32) {
        return Err(OptionsError::Conflict { one: "--no-quantization", other: "--bits" });
    }
    if let Some(Granularity::Group(size)) = settings.granularity
        && (size == 0 || !size.is_multiple_of(16))
    {
        let expected = "a positive multiple of 16";
        return Err(OptionsError::Range { option: "--group-size", expected, found: size.to_string() });
    }
    if settings.skip_layernorm == Some(false) {
        let reason = "packages hold normalizations in f32; they are less than a thousandth of a model's weights";
        return Err(OptionsError::NotOffered { option: "--no-skip-layernorm", reason });
    }
    check_activations(settings)?;
    if settings.threads == Some(0) {
        return Err(OptionsError::Range { option: "--threads", expected: "at least 1", found: "0".into() });
    }
    if let Some(size) = settings.workgroup_size
        && !(size[0].is_power_of_two() && size[1..] == [1, 1])
    {
        let expected = "X,1,1 with X a power of two, since the kernels that take it have one dimension";
        let found = size.map(|extent| extent.to_string()).join(",");
        return Err(OptionsError::Range { option: "--workgroup-size", expected, found });
    }
    if options.measure.runs == Some(0) {
        return Err(OptionsError::Range { option: "--runs", expected: "at least 1", found: "0".into() });
    }
    Ok(())
}

/// Activations of 8 bits go with weights of 8 bits, symmetric, with one scale a channel or tensor.
fn check_activations(settings: &Settings) -> Result<(), OptionsError> {
    let conflict = |other| Err(OptionsError::Conflict { one: "--activation-bits 8", other });
    match settings.activation_bits {
        None | Some(Bits::B32) => return Ok(()),
        Some(Bits::B8) => {}
        Some(other) => {
            let (expected, found) = ("8, or 32 for floats", other.to_string());
            return Err(OptionsError::Range { option: "--activation-bits", expected, found });
        }
    }
    let other_than_8 = |bits: Option<Bits>| bits.is_some_and(|bits| bits != Bits::B8);
    if other_than_8(settings.bits) {
        return conflict("--bits other than 8");
    }
    if other_than_8(settings.attention_bits) {
        return conflict("--attention-bits other than 8");
    }
    if settings.scheme == Some(Scheme::Asymmetric) {
        return conflict("--scheme asymmetric");
    }
    if matches!(settings.granularity, Some(Granularity::Group(_))) {
        return conflict("--group-size");
    }
    if settings.quantization == Some(false) {
        return conflict("--no-quantization");
    }
    Ok(())
}

/// The tables' rows that count, strongest first.
fn layers(chosen: &Settings, context: Context<'_>) -> Vec<(Source, Settings)> {
    let kind = family_kind(context.family);
    let profile = profile_of(context.browser);
    let optimized = chosen.browser_optimized.unwrap_or(true);
    let row = |settings: &Settings, counts: bool| if counts { settings.clone() } else { NONE };
    let of_platform = PLATFORMS.iter().find(|(platform, _)| *platform == context.platform);
    let of_family = RECOMMENDED.iter().find(|(family, _)| Some(*family) == kind);
    vec![
        (Source::Explicit, chosen.clone()),
        (Source::Platform, of_platform.map_or(NONE, |(_, settings)| settings.clone())),
        (Source::Browser, row(&profile.needs, optimized)),
        (Source::Browser, row(&profile.audio_needs, optimized && kind == Some(FamilyKind::Audio))),
        (Source::Family, of_family.map_or(NONE, |(_, settings)| settings.clone())),
        (Source::Default, row(&profile.defaults, optimized)),
    ]
}

/// Bits that follow from other bits, where they were not chosen.
fn derive_bits(chosen: &Settings, settings: &mut ResolvedSettings) {
    if !settings.quantization.value {
        let source = settings.quantization.source;
        settings.bits = Sourced { value: Bits::B32, source };
        settings.mixed_precision = Sourced { value: false, source };
    }
    if settings.activation_bits.value == Bits::B8 {
        // Products of int8 by int8 take one scale for each output channel, and zero at zero.
        let source = settings.activation_bits.source;
        settings.bits = Sourced { value: Bits::B8, source };
        settings.scheme = Sourced { value: Scheme::Symmetric, source };
        settings.mixed_precision = Sourced { value: false, source };
        if chosen.granularity.is_none() {
            settings.granularity = Sourced { value: Granularity::Channel, source };
        }
    }
    let bits = settings.bits.value;
    if !settings.mixed_precision.value {
        settings.attention_bits = Sourced { value: bits, source: settings.mixed_precision.source };
    } else if chosen.attention_bits.is_none() && bits > settings.attention_bits.value {
        // Attention is what suffers most: never fewer bits than the rest, unless asked for.
        settings.attention_bits = Sourced { value: bits, source: settings.bits.source };
    }
    if chosen.embedding_bits.is_none() && bits == Bits::B32 {
        // 32 bits are the reference: nothing of it is rounded.
        settings.embedding_bits = Sourced { value: Bits::B32, source: settings.bits.source };
    }
}

/// Safari always has a window. WebKitGTK has too, and is given a display of its own.
fn keep_headless(headless: &mut Sourced<bool>, browser: BrowserKind) -> Option<Fallback> {
    if !headless.value || browser != BrowserKind::Safari {
        return None;
    }
    let asked = std::mem::replace(headless, Sourced { value: false, source: Source::Browser });
    (asked.source == Source::Explicit).then(|| Fallback {
        from: "headless true".into(),
        to: "headless false".into(),
        code: "unsupported".into(),
        reason: "Safari has no headless mode".into(),
    })
}

/// Only models of sound have a front end to run on the GPU.
fn keep_compute_shaders(settings: &mut ResolvedSettings, family: &str) -> Option<Fallback> {
    let Sourced { value: wanted, source } = settings.compute_shaders;
    if !wanted || family_kind(family).is_none_or(|kind| kind == FamilyKind::Audio) {
        return None;
    }
    settings.compute_shaders = Sourced { value: false, source: Source::Family };
    (source == Source::Explicit).then(|| Fallback {
        from: "compute_shaders true".into(),
        to: "compute_shaders false".into(),
        code: "unsupported".into(),
        reason: format!("models of family {family} take no sound, so there is no audio front end to run on the GPU"),
    })
}

/// WebNN has no formats of fewer than 8 bits, but for int4 as an experiment.
fn keep_to_platform(settings: &mut ResolvedSettings, platform: Platform) -> Vec<Fallback> {
    if platform != Platform::Webnn {
        return Vec::new();
    }
    let experimental = settings.experimental_precision.value;
    let mut fallbacks = Vec::new();
    let mut keep = |name: &str, bits: &mut Sourced<Bits>| {
        let kept = bits.value >= Bits::B8 || (bits.value == Bits::B4 && experimental);
        if !kept {
            if bits.source == Source::Explicit {
                fallbacks.push(Fallback {
                    from: format!("{name} {}", bits.value),
                    to: format!("{name} {}", Bits::B8),
                    code: "unsupported".into(),
                    reason: format!("WebNN takes weights of 8 and 16 bits, found {name} {}", bits.value),
                });
            }
            *bits = Sourced { value: Bits::B8, source: Source::Platform };
        }
    };
    keep("bits", &mut settings.bits);
    keep("attention_bits", &mut settings.attention_bits);
    fallbacks
}

/// Options that no profile has a say in, for the record.
fn given(options: &Options, context: Context<'_>) -> BTreeMap<String, OptionValue> {
    let launch = &options.launch;
    let generation = &options.generation;
    let platform = or_default(options.platform, context.platform);
    let browser = or_default(launch.browser, context.browser);
    let mut record: BTreeMap<String, OptionValue> =
        [("platform".into(), option_value(platform)), ("browser".into(), option_value(browser))].into();
    let rest = [
        ("browser_binary", json!(launch.browser_binary)),
        ("driver", json!(launch.driver)),
        ("browser_args", json!(launch.browser_args)),
        ("webdriver", json!(launch.webdriver)),
        ("advertise", json!(launch.advertise)),
        ("max_tokens", json!(generation.max_tokens)),
        ("temperature", json!(generation.temperature)),
        ("top_k", json!(generation.top_k)),
        ("top_p", json!(generation.top_p)),
        ("min_p", json!(generation.min_p)),
        ("repetition_penalty", json!(generation.repetition_penalty)),
        ("seed", json!(generation.seed)),
        ("stop", json!(generation.stop)),
    ];
    for (name, value) in rest {
        let source = if value == Value::Null { Source::Default } else { Source::Explicit };
        record.insert(name.into(), OptionValue { value, source });
    }
    record
}

#[cfg(test)]
#[path = "profiles_tests.rs"]
mod tests;
