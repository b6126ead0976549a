//! The one table of options: names, help texts, types, defaults, and what becomes of them.
//!
//! The types, the wire, the command line, the record and TypeScript's declarations all come from its rows. A new option is
//! a row here, and code that reads it where it has an effect.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::kinds::{Engine, ExecutionProvider, Platform};
use super::types::OptionType;
use super::value::{OptionValue, Source, Sourced};
use crate::quant::{Bits, Granularity, Scheme};

/// One option of [`Settings`].
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name in Rust, JSON and the record: `half_tiles`.
    pub name: &'static str,
    /// Where the command line lists it.
    pub heading: Heading,
    /// What stands for its value in help; `None` for a switch, which has a `--no-` form too.
    pub value_name: Option<&'static str>,
    /// Its type in TypeScript; `None` where the page does not take it.
    pub typescript: Option<&'static str>,
    /// Where it has an effect; `None` for everywhere.
    pub effect: Option<Effect>,
    text: &'static str,
    choose: fn(&str) -> Result<Settings, String>,
}

impl Row {
    /// Its help: sentences, the last without its full stop.
    pub const fn help(&self) -> &'static str {
        let text = self.text.trim_ascii();
        match text.as_bytes() {
            [.., b'.'] => text.split_at(text.len() - 1).0,
            _ => text,
        }
    }

    /// Its name on the command line, without hyphens before it: `half-tiles`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Settings with this option alone, as it is typed; a switch is `true` or `false`.
    ///
    /// # Errors
    /// Says what was expected and what was found.
    pub fn choose(&self, text: &str) -> Result<Settings, String> {
        (self.choose)(text)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.name).finish()
    }
}

/// Where the command line lists an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// With what says how weights are quantized.
    Quantization,
    /// With what says how the model is computed.
    Execution,
    /// Where each command puts it: some take a list of values, or name it otherwise.
    ByHand,
}

/// Where an option has an effect.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// Whether a platform, by an engine, heeds it.
    pub reaches: fn(Platform, Engine) -> bool,
    /// Whether the CPU executor heeds it when it stands in for the platform.
    pub simulated: bool,
    /// What it is for, in a sentence that begins "it is for".
    pub purpose: &'static str,
}

/// What only the native engine's kernels on WebGPU heed.
pub(crate) const KERNELS: Effect = Effect {
    reaches: |platform, engine| (platform, engine) == (Platform::Webgpu, Engine::Native),
    simulated: false,
    purpose: "the native engine's kernels on webgpu",
};

const INT8: Effect = Effect {
    reaches: |platform, engine| engine == Engine::Native && platform != Platform::Webgpu,
    simulated: true,
    purpose: "the native engine on webnn and wasm, which take 8 bits; others compute with activations in floats",
};

const WEBNN_FORMATS: Effect =
    Effect { reaches: |platform, _| platform == Platform::Webnn, simulated: true, purpose: "formats of webnn" };

const WEBNN_DEVICES: Effect = Effect { simulated: false, purpose: "devices of webnn", ..WEBNN_FORMATS };

const WEBNN_GRAPHS: Effect = Effect {
    reaches: |platform, engine| (platform, engine) == (Platform::Webnn, Engine::Native),
    simulated: false,
    purpose: "the native engine's graphs on webnn",
};

const THREADS: Effect = Effect {
    reaches: |platform, engine| (platform, engine) != (Platform::Webgpu, Engine::Native),
    simulated: true,
    purpose: "the CPU executor, parts of webnn, and transformers-js",
};

options! {
    /// Bits of the weights: 2, 4, 8, 16, or 32 for the reference.
    bits: Bits = (Bits::B4) => ByHand;

    /// Weights that share a scale: a tensor's, an output channel's, or a group of a multiple of 16.
    granularity: Granularity = (Granularity::Group(128)) => ByHand;

    /// Attention projections at --attention-bits, the rest at --bits.
    mixed_precision: bool = false => ByHand;

    /// Where zero lies: symmetric or asymmetric.
    scheme: Scheme = (Scheme::Symmetric) => Quantization;

    /// Bits of attention projections under mixed precision.
    attention_bits: Bits = (Bits::B8) => Quantization;

    /// Bits of embedding tables.
    embedding_bits: Bits = (Bits::B16) => Quantization;

    /// Bits of activations: 8 computes linear layers in int8, on WebNN by the package's activation ranges, on wasm by
    /// ranges found as they come; 32 in floats.
    activation_bits: Bits = (Bits::B32) => Quantization, page: its_value as "8 | 32", effect: INT8;

    /// Fit weights to what they are multiplied by, on sample texts: slower, and nearer to f32 at 2 and 4 bits.
    calibrated_weights: bool = false => Quantization;

    /// Formats that a platform takes, but that are not known to be good: 4 bits on WebNN.
    experimental_precision: bool = false => Quantization, page: its_value, effect: WEBNN_FORMATS;

    /// Leave normalizations in f32 (the default; quantizing them is not offered).
    skip_layernorm: bool = true => Quantization;

    /// Quantize at all (the default); otherwise weights stay as the checkpoint has them, in f32.
    quantization: bool = true => Quantization;

    /// WebNN's device: cpu, gpu, npu; the browser's choice where it is not given.
    execution_provider: ExecutionProvider = none => Execution, page: its_value, effect: WEBNN_DEVICES;

    /// How WebNN gets its weights, by name; the fastest where it is not given.
    lowering: String = none => Execution, page: its_value, effect: WEBNN_GRAPHS;

    /// Threads of the CPU executor in the page, what the machine has where it is not given; on WebNN, parts of the input
    /// that are computed side by side.
    threads: u32 = none => ByHand, page: its_value, effect: THREADS;

    /// Workgroup size of kernels that take one, a power of two: 256,1,1.
    workgroup_size: [u32; 3] = none => Execution, page: its_value, effect: KERNELS;

    /// Take what suits the browser (the default); otherwise only platform, family and what was asked for count.
    browser_optimized: bool = true => Execution;

    /// Audio front end on the GPU (no family of sound can be run yet).
    compute_shaders: bool = false => Execution, effect: KERNELS;

    /// Split weights and dispatches into small parts; by default only what the adapter cannot bind whole.
    chunked_operations: bool = false => Execution, page: if_chosen, effect: KERNELS;

    /// Only core features and limits of WebGPU; by default only when other kernels fail to build.
    portable_kernels: bool = false => Execution, page: if_chosen, effect: KERNELS;

    /// Keep tiles of matrix products in f16, where the adapter has shader-f16.
    half_tiles: bool = false => Execution, page: its_value, effect: KERNELS;

    /// Build every pipeline and warm up before the first inference.
    shader_precompilation: bool = false => Execution, page: its_value, effect: KERNELS;
}

/// Sees every resolved option, whatever its type.
pub(crate) trait Visitor {
    /// Sees one, with its row and the program's default.
    fn visit<T: PartialEq + Serialize>(&mut self, row: &'static Row, option: &mut Sourced<T>, default: T);
}

/// The row of an option; panics where there is none of that name, which is a bug.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("every option has a row")
}

/// The value of the first layer that has one.
fn first<T, V: From<T>>(layers: &[(Source, Settings)], of: impl Fn(&Settings) -> Option<T>, default: V) -> Sourced<V> {
    let chosen = layers.iter().find_map(|(source, layer)| Some(Sourced { value: of(layer)?.into(), source: *source }));
    chosen.unwrap_or(Sourced { value: default, source: Source::Default })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_help_of_whole_sentences() {
        for row in ROWS {
            assert!(row.text.ends_with('.') && !row.help().ends_with('.'), "{}: {:?}", row.name, row.help());
            assert!(!row.help().starts_with(' ') && !row.help().contains("  "), "{}: {:?}", row.name, row.help());
        }
        assert_eq!(row("half_tiles").flag(), "half-tiles");
    }

    #[test]
    fn what_is_typed_is_that_option_alone() {
        let both = row("bits").choose("8").unwrap().or(row("lowering").choose("int8").unwrap());
        let expected = Settings { bits: Some(Bits::B8), lowering: Some("int8".into()), ..Settings::NONE };
        assert_eq!(both, expected);
        let nearer = Settings { bits: Some(Bits::B2), ..Settings::NONE };
        assert_eq!(nearer.or(expected).bits, Some(Bits::B2));
        assert!(row("attention_bits").choose("3").unwrap_err().contains("found 3"));
    }

    #[test]
    fn the_page_is_sent_values_and_of_its_own_decisions_what_was_chosen() {
        let layers = [
            (Source::Explicit, Settings { threads: Some(2), half_tiles: Some(true), ..Settings::NONE }),
            (Source::Browser, Settings { portable_kernels: Some(false), half_tiles: Some(false), ..Settings::NONE }),
        ];
        let resolved = ResolvedSettings::lay(&layers);
        assert_eq!(resolved.half_tiles, Sourced { value: true, source: Source::Explicit });
        let expected = PageSettings {
            threads: Some(2),
            half_tiles: true,
            portable_kernels: Some(false),
            ..PageSettings::default()
        };
        assert_eq!(resolved.for_page(), expected);
    }

    /// Pages of another build read these names and values.
    #[test]
    fn what_nobody_chose_is_sent_as_it_always_was() {
        let sent = serde_json::to_value(PageSettings::default()).unwrap();
        let expected = serde_json::json!({"execution_provider": null, "experimental_precision": false,
            "activation_bits": 32, "lowering": null, "threads": null, "portable_kernels": null,
            "shader_precompilation": false, "chunked_operations": null, "workgroup_size": null, "half_tiles": false});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(sent.get(name), Some(value), "{name}");
        }
        let rows = ROWS.iter().filter(|row| row.typescript.is_some()).map(|row| row.name);
        assert!(rows.clone().all(|name| sent.get(name).is_some()) && rows.count() == sent.as_object().unwrap().len());
        assert_eq!(serde_json::from_str::<PageSettings>("{}").unwrap(), PageSettings::default());
    }
}
