//! How weights are quantized, how a model is run, and what is measured: options that several commands share.

use clap::Args;
use webnibble_common::options::{Engine, MeasureOptions, Options, Platform, Settings, row};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::{Bits, Granularity};

use super::launch::LaunchArgs;
use super::rows::{EXECUTION, EngineArgs, PrecisionArgs, QUANTIZATION};
use super::switch::switch;

/// How weights are quantized.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = QUANTIZATION)]
pub(crate) struct QuantizationArgs {
    #[arg(long, value_name = "N", help = row("bits").help())]
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
#[command(next_help_heading = QUANTIZATION)]
pub(crate) struct FormatArgs {
    /// Weights that share a scale: a multiple of 16
    #[arg(long, value_name = "N", conflicts_with_all = ["per_channel", "per_tensor"])]
    group_size: Option<usize>,
    #[command(flatten)]
    whole: WholeArgs,
    #[arg(long, overrides_with = "no_mixed_precision", help = row("mixed_precision").help())]
    mixed_precision: bool,
    #[arg(long, hide = true)]
    no_mixed_precision: bool,
    #[command(flatten)]
    precision: PrecisionArgs,
}

impl FormatArgs {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            granularity: self.group_size.map(Granularity::Group).or_else(|| self.whole.granularity()),
            mixed_precision: switch(self.mixed_precision, self.no_mixed_precision),
            ..self.precision.settings()
        }
    }
}

/// Scales of whole channels and tensors.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = QUANTIZATION)]
pub(crate) struct WholeArgs {
    /// One scale for each output channel
    #[arg(long, conflicts_with = "per_tensor")]
    per_channel: bool,
    /// One scale for each tensor
    #[arg(long)]
    per_tensor: bool,
}

impl WholeArgs {
    /// The granularity that was typed.
    pub(crate) fn granularity(&self) -> Option<Granularity> {
        match (self.per_channel, self.per_tensor) {
            (true, _) => Some(Granularity::Channel),
            (_, true) => Some(Granularity::Tensor),
            _ => None,
        }
    }
}

/// What is measured, and what happens where a platform fails.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = EXECUTION)]
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
    #[arg(long, value_name = "N", help = row("threads").help())]
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
        let settings = self.computed.settings().or(self.quantization.settings());
        let settings = Settings { threads: self.threads, ..settings };
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
