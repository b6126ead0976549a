//! How weights are quantized, how a model is run, and what is measured: flags that several commands share.

use clap::{ArgAction, Args};
use webnibble_common::options::{Engine, ExecutionProvider, MeasureOptions, Options, Platform, Settings};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::{Bits, Granularity, Scheme};

use super::launch::LaunchArgs;
use super::switch::switch;

/// Declares flags that have a `--no-` form, and how they become options.
macro_rules! switches {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $yes:ident / $no:ident,)* }) => {
        #[derive(Clone, Debug, Args)]
        $(#[$meta])*
        pub(crate) struct $name {
            $(
                $(#[$doc])*
                #[arg(long, action = ArgAction::SetTrue, overrides_with = stringify!($no))]
                $yes: bool,
                #[arg(long, action = ArgAction::SetTrue, hide = true)]
                $no: bool,
            )*
        }

        impl $name {
            fn fill(&self, settings: &mut Settings) {
                $(settings.$yes = switch(self.$yes, self.$no);)*
            }
        }
    };
}

switches! {
    /// Whether attention has bits of its own.
    #[command(next_help_heading = "Quantization (each switch also as --no-…)")]
    MixedSwitch {
        /// Attention projections at --attention-bits, the rest at --bits
        mixed_precision / no_mixed_precision,
    }
}

switches! {
    /// Switches of the quantization.
    #[command(next_help_heading = "Quantization (each switch also as --no-…)")]
    QuantizationSwitches {
        /// Fit weights to what they are multiplied by, on sample texts: slower, and nearer to f32 at 2 and 4 bits
        calibrated_weights / no_calibrated_weights,
        /// Formats that a platform takes, but that are not known to be good
        experimental_precision / no_experimental_precision,
        /// Leave normalizations in f32 (the default; quantizing them is not offered)
        skip_layernorm / no_skip_layernorm,
        /// Quantize at all (the default)
        quantization / no_quantization,
    }
}

switches! {
    /// Switches of the execution.
    #[command(next_help_heading = "Execution (each switch also as --no-…)")]
    EngineSwitches {
        /// Take what suits the browser (the default)
        browser_optimized / no_browser_optimized,
        /// Audio front end on the GPU (no family of sound can be run yet)
        compute_shaders / no_compute_shaders,
        /// Split weights and dispatches into small parts; by default only what the adapter cannot bind whole
        chunked_operations / no_chunked_operations,
        /// Only core features and limits of WebGPU; by default only when other kernels fail to build
        portable_kernels / no_portable_kernels,
        /// Keep tiles of matrix products in f16, where the adapter has shader-f16
        half_tiles / no_half_tiles,
        /// Build every pipeline and warm up before the first inference
        shader_precompilation / no_shader_precompilation,
    }
}

/// How weights are quantized.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Quantization (each switch also as --no-…)")]
pub(crate) struct QuantizationArgs {
    /// Bits of the weights: 2, 4, 8, 16, or 32 for the reference
    #[arg(long, value_name = "N")]
    bits: Option<Bits>,
    #[command(flatten)]
    format: FormatArgs,
}

impl QuantizationArgs {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        Settings { bits: self.bits, ..self.format.settings() }
    }
}

/// How weights are quantized, besides their bits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Quantization (each switch also as --no-…)")]
pub(crate) struct FormatArgs {
    /// Weights that share a scale: a multiple of 16
    #[arg(long, value_name = "N", conflicts_with_all = ["per_channel", "per_tensor"])]
    group_size: Option<usize>,
    #[command(flatten)]
    mixed: MixedSwitch,
    #[command(flatten)]
    precision: PrecisionArgs,
}

impl FormatArgs {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.precision.settings();
        settings.granularity = self.group_size.map(Granularity::Group).or(settings.granularity);
        self.mixed.fill(&mut settings);
        settings
    }
}

/// What of the quantization is one value also where others are lists.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Quantization (each switch also as --no-…)")]
pub(crate) struct PrecisionArgs {
    /// symmetric or asymmetric
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    scheme: Option<Scheme>,
    /// One scale for each output channel
    #[arg(long, conflicts_with = "per_tensor")]
    per_channel: bool,
    /// One scale for each tensor
    #[arg(long)]
    per_tensor: bool,
    /// Bits of attention projections under mixed precision
    #[arg(long, value_name = "N")]
    attention_bits: Option<Bits>,
    /// Bits of embedding tables
    #[arg(long, value_name = "N")]
    embedding_bits: Option<Bits>,
    /// Bits of activations: 8 computes linear layers in int8 (WebNN, wasm), 32 in floats. In `bench`, 8 adds rows in int8
    #[arg(long, value_name = "N")]
    activation_bits: Option<Bits>,
    #[command(flatten)]
    switches: QuantizationSwitches,
}

fn scheme(text: &str) -> Result<Scheme, String> {
    match text {
        "symmetric" => Ok(Scheme::Symmetric),
        "asymmetric" => Ok(Scheme::Asymmetric),
        _ => Err("expected symmetric or asymmetric".into()),
    }
}

impl PrecisionArgs {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        let granularity = match (self.per_channel, self.per_tensor) {
            (true, _) => Some(Granularity::Channel),
            (_, true) => Some(Granularity::Tensor),
            _ => None,
        };
        let mut settings = Settings {
            scheme: self.scheme,
            granularity,
            attention_bits: self.attention_bits,
            embedding_bits: self.embedding_bits,
            activation_bits: self.activation_bits,
            ..Settings::default()
        };
        self.switches.fill(&mut settings);
        settings
    }
}

/// How a model is computed in the page.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Execution (each switch also as --no-…)")]
pub(crate) struct EngineArgs {
    /// WebNN's device: cpu, gpu, npu
    #[arg(long, value_name = "DEVICE")]
    execution_provider: Option<ExecutionProvider>,
    /// How WebNN gets its weights, by name; the fastest where it is not given
    #[arg(long, value_name = "NAME")]
    lowering: Option<String>,
    /// Workgroup size of kernels that take one, a power of two: 256,1,1
    #[arg(long, value_name = "X,Y,Z", value_parser = workgroup_size)]
    workgroup_size: Option<[u32; 3]>,
    #[command(flatten)]
    switches: EngineSwitches,
}

fn workgroup_size(text: &str) -> Result<[u32; 3], String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let numbers = numbers.map_err(|_| "expected three numbers such as 256,1,1".to_owned())?;
    numbers.try_into().map_err(|_| "expected three numbers such as 256,1,1".into())
}

impl EngineArgs {
    /// `settings` with the options that were typed.
    pub(crate) fn over(&self, mut settings: Settings) -> Settings {
        settings.workgroup_size = self.workgroup_size;
        settings.execution_provider = self.execution_provider;
        settings.lowering.clone_from(&self.lowering);
        self.switches.fill(&mut settings);
        settings
    }
}

/// What is measured, and what happens where a platform fails.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Execution (each switch also as --no-…)")]
pub(crate) struct MeasureArgs {
    /// No other engine and no simulation: a platform that fails is an error (exit status 3 of `run` where it is not available)
    #[arg(long)]
    no_fallback: bool,
    /// Runs before the measured ones (default: until times are steady)
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,
    /// Measured runs (default: 10; beside another engine 50)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Time every kernel
    #[arg(long)]
    profile: bool,
}

impl MeasureArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> MeasureOptions {
        MeasureOptions { warmup: self.warmup, runs: self.runs, profile: self.profile.then_some(true) }
    }

    /// Whether a failure may go on to the next engine.
    pub(crate) fn fallback(&self) -> Option<bool> {
        self.no_fallback.then_some(false)
    }
}

/// Everything about running one model in one browser.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecutionArgs {
    /// webgpu, webnn, wasm, or auto for the fastest of them
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// native, or transformers-js
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Threads of the CPU executor in the page; on WebNN, parts of the input that are computed side by side
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    computed: EngineArgs,
    #[command(flatten)]
    quantization: QuantizationArgs,
    #[command(flatten)]
    launch: LaunchArgs,
}

impl ExecutionArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> Options {
        let settings = Settings { threads: self.threads, ..self.computed.over(self.quantization.settings()) };
        Options {
            platform: self.platform,
            engine: self.engine,
            fallback: self.measure.fallback(),
            settings,
            launch: self.launch.options(),
            measure: self.measure.options(),
            generation: Default::default(),
        }
    }
}

/// What is put before each text.
#[derive(Debug, Default, Args)]
pub(crate) struct PromptArgs {
    /// Put the model's prompt of this name before each text (default: the model's default prompt, where it has one)
    #[arg(long, value_name = "NAME", conflicts_with = "no_prompt_name")]
    prompt_name: Option<String>,
    /// Put no prompt before texts
    #[arg(long)]
    no_prompt_name: bool,
}

impl PromptArgs {
    pub(crate) fn choice(&self) -> PromptChoice {
        match (&self.prompt_name, self.no_prompt_name) {
            (Some(name), _) => PromptChoice::Named(name.clone()),
            (None, true) => PromptChoice::None,
            (None, false) => PromptChoice::Default,
        }
    }
}
