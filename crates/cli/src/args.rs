//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use webnibble_common::options::{
    BrowserKind, Engine, ExecutionProvider, GpuProfile, LaunchOptions, MeasureOptions, Options, Platform, Settings,
};
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_host::bench::Preset;
use webnibble_host::loader::DEFAULT_MODEL;
use webnibble_host::onnx::WeightForm;
use webnibble_host::quantizer::TensorSource;
use webnibble_host::server::DEFAULT_ADDRESS;

/// Quantized neural networks in real browsers, on WebGPU.
#[derive(Debug, Parser)]
#[command(name = "webnibble", version, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Print one JSON document on stdout; logs go to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log what is done, with the browser's output and console
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find browsers and drivers, start each, and report what it can do
    Doctor(DoctorArgs),
    /// Install missing drivers of browsers, and replace those of another version
    Drivers(DriversArgs),
    /// Does the real path work here, and in which browsers: a small built-in model on every platform
    Verify(VerifyArgs),
    /// Run one model in one browser: one answer with its metrics
    Run(Box<RunArgs>),
    /// Measure accuracy per bit width, against labels and against f32
    Eval(Box<EvalArgs>),
    /// Quantize a model into a package, or one tensor to see what it costs
    Quantize(QuantizeArgs),
    /// Measure the matrix of browsers, platforms, models and precisions, or ours beside onnxruntime-web
    Bench(Box<BenchArgs>),
    /// Show stored results, and what moved between them
    Report(ReportArgs),
    /// Write a model with its quantized weights as ONNX
    Export(ExportArgs),
    /// List what is in a model file
    Inspect(InspectArgs),
    /// Serve the page and wait for browsers
    Serve(ServeArgs),
    /// Show a sentence-embedding model at 16, 8, 4 and 2 bits
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct RunArgs {
    /// A folder in Hugging Face layout, a package, or a name
    #[arg(long, short, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub(crate) model: String,
    /// A text; several make one batch
    #[arg(long, value_name = "TEXT", group = "what", num_args = 1..)]
    pub(crate) text: Vec<String>,
    /// Cut texts over the model's limit
    #[arg(long, requires = "text")]
    pub(crate) truncate: bool,
    /// Token ids: JSON lists, or one line a text
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) ids: Option<PathBuf>,
    /// Tensors by name: {"input_ids": {"shape": […], "dtype": "u32", "data": […]}}
    #[arg(long, value_name = "FILE.json", group = "what")]
    pub(crate) input: Option<PathBuf>,
    /// An image (not there yet)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) image: Option<PathBuf>,
    /// An audio file (not there yet)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) audio: Option<PathBuf>,
    /// A prompt to go on from (not there yet)
    #[arg(long, value_name = "TEXT", group = "what")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) execution: ExecutionArgs,
}

impl RunArgs {
    /// The kind of input that was typed, where no model takes it yet.
    pub(crate) fn not_yet(&self) -> Option<&'static str> {
        let kinds =
            [(self.image.is_some(), "--image"), (self.audio.is_some(), "--audio"), (self.prompt.is_some(), "--prompt")];
        kinds.iter().find(|(typed, _)| *typed).map(|(_, kind)| *kind)
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A folder in Hugging Face layout, a package, or a name: a sentence-embedding model
    #[arg(long, short, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Pairs of sentences with scores, separated by tabs: score, sentence, sentence; or as the STS benchmark has them
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Bits of the weights, a row each (default: 16 8 4 2, or those of a package)
    #[arg(long, value_name = "N", num_args = 1..)]
    pub(crate) bits: Vec<Bits>,
    /// The first rows of the data only
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..))]
    pub(crate) limit: Option<usize>,
    /// Compute in a browser: webgpu, webnn or wasm (default: on this machine's processor, without a browser)
    #[arg(long, value_name = "PLATFORM", value_parser = eval_platform)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

impl EvalArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> Options {
        let (settings, launch) = (self.format.settings(), self.launch.options());
        Options { platform: self.platform, settings, launch, ..Options::default() }
    }
}

fn eval_platform(text: &str) -> Result<Platform, String> {
    match text.parse()? {
        Platform::Auto => Err("accuracy is measured on a platform of its own: take webgpu, webnn or wasm".into()),
        platform => Ok(platform),
    }
}

#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// A folder in Hugging Face layout, or a name
    #[arg(value_name = "IN", required_unless_present = "tensor")]
    pub(crate) input: Option<String>,
    /// The package to write
    #[arg(value_name = "OUT", required_unless_present = "tensor")]
    pub(crate) output: Option<PathBuf>,
    /// One matrix instead: random:768x768, or FILE.safetensors:NAME
    #[arg(long, value_name = "TENSOR", conflicts_with_all = ["input", "output"])]
    pub(crate) tensor: Option<TensorSource>,
    /// Texts to calibrate on, one a line, instead of a built-in sample. With --bits 2 or 4 it means --calibrated-weights,
    /// else --activation-bits 8
    #[arg(long, value_name = "FILE", conflicts_with = "tensor")]
    pub(crate) calibrate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) quantization: QuantizationArgs,
}

/// What ours is measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rival {
    /// The engine under transformers.js.
    OnnxruntimeWeb,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What ours is measured beside, turn by turn in one page; without it the matrix is measured
    #[arg(long, value_name = "RIVAL", value_enum)]
    pub(crate) vs: Option<Rival>,
    /// Every browser that is here, and every platform, with lengths and batches at one precision of each
    #[arg(long, conflicts_with = "vs")]
    pub(crate) all: bool,
    /// A matrix by name, in every browser that is here: guide, webgpu-only, webnn-only, ultra-low-prec. What is named
    /// besides takes the place of the preset's
    #[arg(long, value_name = "NAME", conflicts_with = "vs")]
    pub(crate) preset: Option<Preset>,
    /// Several browsers, for the matrix: chrome,firefox,webkit
    #[arg(long, value_name = "BROWSER,…", value_delimiter = ',', conflicts_with_all = ["vs", "browser"])]
    pub(crate) browsers: Vec<BrowserKind>,
    /// Several engines, for the matrix, which then take turns in one page: native,transformers-js
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',', conflicts_with = "vs")]
    pub(crate) engine: Vec<Engine>,
    /// A folder in Hugging Face layout, or a name; several for the matrix (default: all-MiniLM-L6-v2)
    #[arg(long, short, value_name = "MODEL,…", value_delimiter = ',')]
    pub(crate) model: Vec<String>,
    /// webgpu, webnn, wasm, or both for webgpu and webnn (default: webgpu,wasm)
    #[arg(long, value_name = "PLATFORM,…", value_delimiter = ',', value_parser = platforms)]
    pub(crate) platform: Vec<Platforms>,
    /// Bits of our weights (default: 32,16,8,4 beside another engine, 16,8,4,2 in the matrix)
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) bits: Vec<Bits>,
    /// 8 adds ours with int8 activations, on WebNN and wasm
    #[arg(long, value_name = "N")]
    pub(crate) activation_bits: Option<Bits>,
    /// Threads on wasm, on both sides
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1"])]
    pub(crate) threads: Vec<u32>,
    /// Length of the input; several for the matrix (default: 128)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = positive())]
    pub(crate) tokens: Vec<usize>,
    /// Texts in one run, for the matrix (default: 1)
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = positive(), conflicts_with = "vs")]
    pub(crate) batch: Vec<usize>,
    /// Measured runs of each (default: 50 beside another engine, 10 in the matrix)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: Option<u32>,
    /// Weights that share a scale: a multiple of 16; several for the matrix
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) group_size: Vec<usize>,
    /// Attention projections at 8 bits, for the matrix; with --no-mixed-precision too, both
    #[arg(long, conflicts_with = "vs")]
    pub(crate) mixed_precision: bool,
    /// All linear weights at the same bits, for the matrix
    #[arg(long, conflicts_with = "vs")]
    pub(crate) no_mixed_precision: bool,
    /// Sessions of each browser that the matrix is spread over, on this machine or behind --webdriver; on one machine they
    /// disturb one another's times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive(), conflicts_with = "vs")]
    pub(crate) sessions: usize,
    /// Folder for the results: JSON, Markdown and, for the matrix, one HTML page
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

/// Whole numbers from 1.
fn positive() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..)
}

impl BenchArgs {
    /// The platforms that were typed, each once.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        let mut found = Vec::new();
        for platform in self.platform.iter().flat_map(|platforms| &platforms.0) {
            if !found.contains(platform) {
                found.push(*platform);
            }
        }
        found
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A batch by its number, or a folder or file that `bench --out` wrote (default: the newest batch)
    #[arg(value_name = "RESULTS")]
    pub(crate) source: Option<String>,
    /// What moved between two of them, beyond its noise
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["source", "out", "list"])]
    pub(crate) compare: Vec<String>,
    /// List what is stored
    #[arg(long, conflicts_with_all = ["source", "out"])]
    pub(crate) list: bool,
    /// Folder for the report: JSON, Markdown and one HTML page
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The format (the only one, and so required: others may come)
    #[arg(long, required = true)]
    pub(crate) onnx: bool,
    /// A package, a folder in Hugging Face layout, or a name
    #[arg(value_name = "IN")]
    pub(crate) input: String,
    /// A folder that transformers.js loads, or one file where it ends in .onnx
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// How quantized weights are written: nbits, dequantize, integer
    #[arg(long, value_name = "FORM", default_value = "nbits")]
    pub(crate) form: WeightForm,
    /// Compute in f16 instead of f32
    #[arg(long)]
    pub(crate) half: bool,
    /// How exact MatMulNBits has to be: 0 leaves it to the engine, 4 allows activations of 8 bits
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=4))]
    pub(crate) accuracy_level: u8,
    #[command(flatten)]
    pub(crate) quantization: QuantizationArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A folder in Hugging Face layout, a package, another safetensors file, or a name
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// A sentence-embedding model (default: all-MiniLM-L6-v2)
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// webgpu or wasm
    #[arg(long, value_name = "PLATFORM", value_parser = demo_platform)]
    pub(crate) platform: Option<Platform>,
    /// Measured runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

fn demo_platform(text: &str) -> Result<Platform, String> {
    match text.parse()? {
        platform @ (Platform::Webgpu | Platform::Wasm) => Ok(platform),
        other => Err(format!("platform `{other}` is not there yet: take webgpu or wasm")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DriversArgs {
    #[command(subcommand)]
    pub(crate) command: DriversCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DriversCommand {
    /// By the route that works on this system: its packages, cargo, or the vendor's download
    Install {
        /// chrome, firefox, edge, safari, webkit (default: all that are here)
        #[arg(long, value_name = "BROWSER,…", value_delimiter = ',', num_args = 1..)]
        browser: Vec<BrowserKind>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// webgpu, webnn, wasm, or both for webgpu and webnn (default: all of them)
    #[arg(long, value_name = "PLATFORM", value_parser = platforms)]
    pub(crate) platform: Option<Platforms>,
    /// Bits of the weights
    #[arg(long, value_name = "N", default_value_t = Bits::B4)]
    pub(crate) bits: Bits,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

/// Platforms that one word names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platforms(pub(crate) Vec<Platform>);

fn platforms(text: &str) -> Result<Platforms, String> {
    match text {
        "both" => Ok(Platforms(vec![Platform::Webgpu, Platform::Webnn])),
        "auto" => Err("platform should be webgpu, webnn, wasm or both, found `auto`".into()),
        one => Ok(Platforms(vec![one.parse()?])),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_ADDRESS)]
    pub(crate) addr: SocketAddr,
    /// Host name by which browsers on other machines reach this one
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
}

/// Which browser, and how it is started.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct LaunchArgs {
    /// chrome (or Chromium), firefox, edge, safari, webkit
    #[arg(long, value_name = "BROWSER")]
    browser: Option<BrowserKind>,
    /// Short for --browser chrome
    #[arg(long, conflicts_with_all = ["browser", "firefox", "edge", "safari"])]
    chrome: bool,
    /// Short for --browser firefox
    #[arg(long, conflicts_with_all = ["browser", "edge", "safari"])]
    firefox: bool,
    /// Short for --browser edge
    #[arg(long, conflicts_with_all = ["browser", "safari"])]
    edge: bool,
    /// Short for --browser safari
    #[arg(long, conflicts_with = "browser")]
    safari: bool,
    /// Without a window (the default)
    #[arg(long, overrides_with = "headed")]
    headless: bool,
    /// With a window
    #[arg(long)]
    headed: bool,
    /// Path of the browser
    #[arg(long, value_name = "FILE")]
    browser_binary: Option<String>,
    /// Path of its driver
    #[arg(long, value_name = "FILE")]
    driver: Option<String>,
    /// More arguments for the browser; give it as --browser-arg=--flag
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    browser_arg: Vec<String>,
    /// Where WebGPU runs: software, system, nvidia-headless
    #[arg(long, value_name = "PROFILE")]
    gpu: Option<GpuProfile>,
    /// A WebDriver server or Selenium Grid that runs already: http://127.0.0.1:4444
    #[arg(long, value_name = "URL")]
    webdriver: Option<String>,
    /// Host name by which a browser on another machine reaches this one
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
}

impl LaunchArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> LaunchOptions {
        let short = [
            (self.chrome, BrowserKind::Chrome),
            (self.firefox, BrowserKind::Firefox),
            (self.edge, BrowserKind::Edge),
            (self.safari, BrowserKind::Safari),
        ];
        let short = short.iter().find(|(typed, _)| *typed).map(|(_, browser)| *browser);
        LaunchOptions {
            browser: self.browser.or(short),
            headless: switch(self.headless, self.headed),
            gpu: self.gpu,
            browser_binary: self.browser_binary.clone(),
            driver: self.driver.clone(),
            browser_args: (!self.browser_arg.is_empty()).then(|| self.browser_arg.clone()),
            webdriver: self.webdriver.clone(),
            advertise: self.advertise.clone(),
        }
    }
}

/// A flag and its `--no-` form: what was typed, if anything.
fn switch(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

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
    /// Switches of the quantization.
    #[command(next_help_heading = "Quantization (each switch also as --no-…)")]
    QuantizationSwitches {
        /// Attention projections at --attention-bits, the rest at --bits
        mixed_precision / no_mixed_precision,
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
    ExecutionSwitches {
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
    /// symmetric or asymmetric
    #[arg(long, value_name = "SCHEME", value_parser = scheme)]
    scheme: Option<Scheme>,
    /// Weights that share a scale: a multiple of 16
    #[arg(long, value_name = "N", conflicts_with_all = ["per_channel", "per_tensor"])]
    group_size: Option<usize>,
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
    /// Bits of activations: 8 computes linear layers in int8 (WebNN, wasm), 32 in floats
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

impl FormatArgs {
    /// The options that were typed.
    pub(crate) fn settings(&self) -> Settings {
        let granularity = match (self.group_size, self.per_channel, self.per_tensor) {
            (Some(size), _, _) => Some(Granularity::Group(size)),
            (_, true, _) => Some(Granularity::Channel),
            (_, _, true) => Some(Granularity::Tensor),
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

/// Everything about running one model in one browser.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecutionArgs {
    /// webgpu, webnn, wasm, or auto for the fastest of them
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// native, or transformers-js
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// No other engine and no simulation: a platform that fails is an error (exit status 3 where it is not available)
    #[arg(long)]
    no_fallback: bool,
    /// WebNN's device: cpu, gpu, npu
    #[arg(long, value_name = "DEVICE")]
    execution_provider: Option<ExecutionProvider>,
    /// How WebNN gets its weights, by name; the fastest where it is not given
    #[arg(long, value_name = "NAME")]
    lowering: Option<String>,
    /// Threads of the CPU executor in the page; on WebNN, parts of the input that are computed side by side
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Workgroup size of kernels that take one, a power of two: 256,1,1
    #[arg(long, value_name = "X,Y,Z", value_parser = workgroup_size)]
    workgroup_size: Option<[u32; 3]>,
    /// Runs before the measured ones
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,
    /// Measured runs
    #[arg(long, value_name = "N")]
    runs: Option<u32>,
    /// Time every kernel
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    switches: ExecutionSwitches,
    #[command(flatten)]
    quantization: QuantizationArgs,
    #[command(flatten)]
    launch: LaunchArgs,
}

fn workgroup_size(text: &str) -> Result<[u32; 3], String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let numbers = numbers.map_err(|_| "expected three numbers such as 256,1,1".to_owned())?;
    numbers.try_into().map_err(|_| "expected three numbers such as 256,1,1".into())
}

impl ExecutionArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> Options {
        let mut settings = self.quantization.settings();
        self.switches.fill(&mut settings);
        settings.workgroup_size = self.workgroup_size;
        settings.execution_provider = self.execution_provider;
        settings.lowering.clone_from(&self.lowering);
        settings.threads = self.threads;
        Options {
            platform: self.platform,
            engine: self.engine,
            fallback: self.no_fallback.then_some(false),
            settings,
            launch: self.launch.options(),
            measure: MeasureOptions { warmup: self.warmup, runs: self.runs, profile: self.profile.then_some(true) },
            generation: Default::default(),
        }
    }
}
