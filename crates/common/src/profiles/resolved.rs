//! Every option with its value and where it comes from.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::known::Context;
use crate::fallback::Fallback;
use crate::options::{Engine, ExecutionProvider, GpuProfile, OptionValue, Options, Settings, Source, Sourced};
use crate::quant::{Bits, Granularity, Scheme};

/// Declares the resolved settings: one sourced value for each field of [`Settings`].
macro_rules! resolved_settings {
    ($($field:ident: $type:ty = $default:expr, $wrap:expr;)*) => {
        /// A value for every field of [`Settings`], each with its source.
        #[derive(Clone, Debug, PartialEq)]
        pub struct ResolvedSettings {
            $(#[doc = concat!("See [`Settings::", stringify!($field), "`].")] pub $field: Sourced<$type>,)*
        }

        /// The first value of each field, layer by layer.
        pub(super) fn lay(layers: &[(Source, Settings)]) -> ResolvedSettings {
            ResolvedSettings {
                $($field: layers
                    .iter()
                    .find_map(|(source, layer)| Some(Sourced { value: $wrap(layer.$field.clone()?), source: *source }))
                    .unwrap_or(Sourced { value: $default, source: Source::Default }),)*
            }
        }

        impl ResolvedSettings {
            fn record(&self) -> BTreeMap<String, OptionValue> {
                [$((stringify!($field).to_owned(), self.$field.clone().into())),*].into()
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
    pub(super) given: BTreeMap<String, OptionValue>,
}

impl Resolved {
    /// Every option for the record.
    pub fn record(&self) -> BTreeMap<String, OptionValue> {
        let mut record = self.settings.record();
        record.extend(self.given.clone());
        let granularity = self.settings.granularity;
        let (name, group_size) = granularity_parts(granularity.value);
        let source = granularity.source;
        record.insert("granularity".into(), Sourced { value: name, source }.into());
        record.insert("group_size".into(), Sourced { value: group_size, source }.into());
        record.insert("engine".into(), self.engine.into());
        record.insert("fallback".into(), self.fallback.into());
        record.insert("headless".into(), self.headless.into());
        record.insert("gpu".into(), self.gpu.into());
        record.insert("warmup".into(), self.warmup.into());
        record.insert("runs".into(), self.runs.into());
        record.insert("profile".into(), self.profile.into());
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

pub(super) fn or_default<T>(chosen: Option<T>, default: T) -> Sourced<T> {
    match chosen {
        Some(value) => Sourced { value, source: Source::Explicit },
        None => Sourced { value: default, source: Source::Default },
    }
}

/// Options that no profile has a say in, for the record.
pub(super) fn given(options: &Options, context: Context<'_>) -> BTreeMap<String, OptionValue> {
    let launch = &options.launch;
    let generation = &options.generation;
    let platform = or_default(options.platform, context.platform);
    let browser = or_default(launch.browser, context.browser);
    let mut record: BTreeMap<String, OptionValue> =
        [("platform".into(), platform.into()), ("browser".into(), browser.into())].into();
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
