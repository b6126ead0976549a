//! What can be typed.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use webnibble_common::options::{BrowserKind, Engine, LaunchOptions, Options, Platform, Settings, row};
use webnibble_common::quant::Bits;
use webnibble_host::bench::Preset;
use webnibble_host::demo::Asked;
use webnibble_host::loader::DEFAULT_MODEL;
use webnibble_host::onnx::WeightForm;
use webnibble_host::quantizer::TensorSource;
use webnibble_host::server::DEFAULT_ADDRESS;

mod generation;
mod hyphens;
mod launch;
mod options;
mod rows;
mod switch;
#[cfg(test)]
mod tests;

use generation::GenerationArgs;
use launch::{BrowsersArgs, LaunchArgs};
use options::{ExecutionArgs, FormatArgs, MeasureArgs, PromptArgs, QuantizationArgs, WholeArgs};
use rows::{EngineArgs, PrecisionArgs};

pub(crate) use hyphens::with_texts_joined;

/// Quantized neural networks in real browsers, on WebGPU, WebNN and WebAssembly.
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
    /// Serve a page on which a person runs models in a browser of their own
    Serve(Box<ServeArgs>),
    /// Show a sentence-embedding model at 16, 8, 4 and 2 bits
    Demo(DemoArgs),
}

impl Command {
    /// How a browser is started; `None` for a command that starts none.
    pub(crate) fn launch(&self) -> Option<LaunchOptions> {
        match self {
            Self::Doctor(args) => Some(args.launch.options()),
            Self::Verify(args) => Some(args.launch.options()),
            Self::Run(args) => Some(args.execution.options().launch),
            Self::Eval(args) => Some(args.launch.options()),
            Self::Bench(args) => Some(args.launch.options()),
            Self::Demo(args) => Some(args.launch.options()),
            Self::Drivers(_)
            | Self::Quantize(_)
            | Self::Report(_)
            | Self::Export(_)
            | Self::Inspect(_)
            | Self::Serve(_) => None,
        }
    }
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
    /// Texts, one a line; `-` reads standard input
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) text_file: Option<PathBuf>,
    /// Cut texts and lists of ids over the model's limit
    #[arg(long, conflicts_with_all = ["input", "image", "audio", "prompt"])]
    pub(crate) truncate: bool,
    #[command(flatten)]
    pub(crate) prompts: PromptArgs,
    /// Token ids: JSON lists, or one line a text
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) ids: Option<PathBuf>,
    /// Tensors by the names of the model's inputs, as nested lists or with a shape: {"input_ids": [[101, 7592, 102]]},
    /// {"input_ids": {"shape": [1, 3], "data": [101, 7592, 102]}}
    #[arg(long, value_name = "FILE.json", group = "what")]
    pub(crate) input: Option<PathBuf>,
    /// An output of the model to read, by its name, in place of its answer; may be given again for further ones
    #[arg(long, value_name = "NAME")]
    pub(crate) output: Vec<String>,
    /// An image (PNG, JPEG, WebP, GIF or BMP); several make one batch
    #[arg(long, value_name = "FILE", group = "what", num_args = 1..)]
    pub(crate) image: Vec<PathBuf>,
    /// An audio file (not there yet)
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) audio: Option<PathBuf>,
    /// A prompt that a model of text goes on from; shown as it comes
    #[arg(long, value_name = "TEXT", group = "what", conflicts_with_all = ["output", "runs", "warmup", "profile"])]
    pub(crate) prompt: Option<String>,
    /// Compare with the model in f32 even where that takes more than 2 GiB on this machine
    #[arg(long)]
    pub(crate) compare_f32: bool,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    #[command(flatten)]
    pub(crate) execution: ExecutionArgs,
}

impl RunArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> Options {
        Options { generation: self.generation.options(), ..self.execution.options() }
    }

    /// Whether the model is to go on from its input.
    pub(crate) fn generates(&self) -> bool {
        self.prompt.is_some() || self.ids.is_some() && self.generation.options().max_tokens.is_some()
    }

    /// Whether something was typed about text that is generated, and none is.
    pub(crate) fn generates_for_nothing(&self) -> bool {
        self.generation.is_given() && !self.generates()
    }

    /// The kind of input that was typed, where no model takes it yet.
    pub(crate) fn not_yet(&self) -> Option<&'static str> {
        self.audio.as_ref().map(|_| "--audio")
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A folder in Hugging Face layout, a package, a GGUF file, or a name: a model that embeds sentences or generates text
    #[arg(long, short, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Pairs of sentences with scores, separated by tabs: score, sentence, sentence; or as the STS benchmark has them. A text for
    /// a model that generates
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Bits of the weights, a row each (default: 16 8 4 2, or those of a package)
    #[arg(long, value_name = "N", num_args = 1..)]
    pub(crate) bits: Vec<Bits>,
    /// The first rows of the data only, or the first tokens of a text
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..))]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) prompts: PromptArgs,
    /// Compute in a browser: webgpu, webnn or wasm (default: on this machine's processor, without a browser)
    #[arg(long, value_name = "PLATFORM", value_parser = eval_platform)]
    pub(crate) platform: Option<Platform>,
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "platform",
        help = row("threads").help())]
    threads: Option<u32>,
    #[command(flatten)]
    computed: EngineArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

impl EvalArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> Options {
        let settings = Settings { threads: self.threads, ..self.computed.settings().or(self.format.settings()) };
        Options { platform: self.platform, settings, launch: self.launch.options(), ..Options::default() }
    }

    /// Whether something was typed that only a page has, and no page is to compute.
    pub(crate) fn lacks_platform(&self) -> bool {
        self.platform.is_none() && self.computed.settings() != Settings::NONE
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
#[command(mut_arg("activation_bits", |arg| arg.help("Bits of activations: 8 adds rows that compute linear layers in int8 (WebNN, wasm)")))]
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
    /// Several engines, for the matrix, which then take turns in one page: native,transformers-js
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',', num_args = 1.., conflicts_with = "vs")]
    pub(crate) engine: Vec<Engine>,
    /// A folder in Hugging Face layout, or a name; several for the matrix (default: all-MiniLM-L6-v2)
    #[arg(long, short, value_name = "MODEL,…", value_delimiter = ',', num_args = 1..)]
    pub(crate) model: Vec<String>,
    /// webgpu, webnn, wasm, or both for webgpu and webnn (default: webgpu,wasm)
    #[arg(long, value_name = "PLATFORM,…", value_delimiter = ',', num_args = 1.., value_parser = platforms)]
    pub(crate) platform: Vec<Platforms>,
    /// Bits of our weights (default: 32,16,8,4 beside another engine, 16,8,4,2 in the matrix)
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1..)]
    pub(crate) bits: Vec<Bits>,
    /// Threads on wasm, and in the matrix parts side by side on WebNN; several are rows of their own (default: 1 beside
    /// another engine, in the matrix what the page finds best)
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) threads: Vec<u32>,
    /// Length of the input; several for the matrix (default: 128)
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., value_parser = positive())]
    pub(crate) tokens: Vec<usize>,
    /// Texts in one run, for the matrix (default: 1)
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., value_parser = positive(), conflicts_with = "vs")]
    pub(crate) batch: Vec<usize>,
    /// Sessions of each browser that the matrix is spread over, on this machine or behind --webdriver; on one machine they
    /// disturb one another's times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive(), conflicts_with = "vs")]
    pub(crate) sessions: usize,
    /// Folder for the results: JSON, Markdown and, for the matrix, one HTML page
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
    #[command(flatten)]
    pub(crate) computed: EngineArgs,
    /// Weights that share a scale: a multiple of 16; several for the matrix
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., conflicts_with_all = ["per_channel", "per_tensor"])]
    pub(crate) group_size: Vec<usize>,
    /// Attention projections at --attention-bits, for the matrix; with --no-mixed-precision too, both
    #[arg(long, conflicts_with = "vs")]
    pub(crate) mixed_precision: bool,
    /// All linear weights at the same bits, for the matrix
    #[arg(long, conflicts_with = "vs")]
    pub(crate) no_mixed_precision: bool,
    #[command(flatten)]
    pub(crate) whole: WholeArgs,
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
    #[command(flatten)]
    pub(crate) launch: BrowsersArgs,
}

/// Whole numbers from 1.
fn positive() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..)
}

impl BenchArgs {
    /// The platforms that were typed, each once.
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        each_once(&self.platform)
    }

    /// What all rows share; their own are not in it.
    pub(crate) fn options(&self) -> Options {
        Options {
            fallback: self.measure.fallback(),
            settings: Settings {
                granularity: self.whole.granularity(),
                ..self.computed.settings().or(self.precision.settings())
            },
            measure: self.measure.options(),
            ..Options::default()
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// A batch by its number, a folder or file that `bench --out` wrote, or the record of a `run --json` (default: the newest
    /// batch)
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
    /// Has this model classify --image too, at 8 and 4 bits
    #[arg(long, value_name = "MODEL", requires = "image")]
    image_model: Option<String>,
    /// What --image-model is asked about
    #[arg(long, value_name = "FILE", requires = "image_model")]
    image: Option<PathBuf>,
    /// Has this model go on with a text too, at 8 and 4 bits
    #[arg(long, value_name = "MODEL")]
    text_model: Option<String>,
    #[command(flatten)]
    pub(crate) launch: LaunchArgs,
}

impl DemoArgs {
    /// What models of other kinds are asked.
    pub(crate) fn others(&self) -> Vec<Asked> {
        let image = self.image_model.clone().zip(self.image.clone());
        let image = image.map(|(model, image)| Asked::Image { model, image });
        let text = self.text_model.clone().map(|model| Asked::Text { model });
        image.into_iter().chain(text).collect()
    }
}

fn demo_platform(text: &str) -> Result<Platform, String> {
    match text.parse()? {
        platform @ (Platform::Webgpu | Platform::Wasm) => Ok(platform),
        other => Err(format!(
            "the demonstration shows 16, 8, 4 and 2 bits beside one another, which `{other}` cannot: take webgpu or wasm, or \
             `webnibble run --platform {other}` for one answer"
        )),
    }
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) launch: BrowsersArgs,
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
    #[arg(long, value_name = "PLATFORM,…", value_delimiter = ',', num_args = 1.., value_parser = platforms)]
    pub(crate) platform: Vec<Platforms>,
    /// Bits of the weights
    #[arg(long, value_name = "N", default_value_t = Bits::B4)]
    pub(crate) bits: Bits,
    /// Take the bits where a platform takes them, but is not known to be good with them (4 on WebNN)
    #[arg(long)]
    pub(crate) experimental_precision: bool,
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help = row("threads").help())]
    pub(crate) threads: Option<u32>,
    #[command(flatten)]
    pub(crate) computed: EngineArgs,
    #[command(flatten)]
    pub(crate) launch: BrowsersArgs,
}

impl VerifyArgs {
    /// How the model is computed.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            bits: Some(self.bits),
            experimental_precision: self.experimental_precision.then_some(true),
            threads: self.threads,
            ..self.computed.settings()
        }
    }
}

/// Platforms that one word names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platforms(pub(crate) Vec<Platform>);

/// The platforms of some words, each once.
pub(crate) fn each_once(words: &[Platforms]) -> Vec<Platform> {
    let mut found = Vec::new();
    for platform in words.iter().flat_map(|platforms| &platforms.0) {
        if !found.contains(platform) {
            found.push(*platform);
        }
    }
    found
}

fn platforms(text: &str) -> Result<Platforms, String> {
    match text {
        "both" => Ok(Platforms(vec![Platform::Webgpu, Platform::Webnn])),
        "auto" => Err("platform should be webgpu, webnn, wasm or both, found `auto`".into()),
        one => Ok(Platforms(vec![one.parse()?])),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A model to choose on the page: a folder in Hugging Face layout, a package, or a name; several give a choice. A package
    /// can also be dropped on the page
    #[arg(long, short, value_name = "MODEL", num_args = 1..)]
    pub(crate) model: Vec<String>,
    /// Bits of the weights, a choice of each (default: 4, or those of a package)
    #[arg(long, value_name = "N,…", value_delimiter = ',', num_args = 1.., requires = "model")]
    pub(crate) bits: Vec<Bits>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Address to listen on: 127.0.0.1:8000, localhost:0; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value_t = DEFAULT_ADDRESS, value_parser = address)]
    pub(crate) addr: SocketAddr,
    /// Host name by which browsers on other machines reach this one
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
}

/// An address with its port. Of a name that has several, the one that programs are used to: version 4 where there is one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let expected =
        |found: String| format!("expected HOST:PORT, as 127.0.0.1:8000 or localhost:0, found `{text}`: {found}");
    let found: Vec<_> = text.to_socket_addrs().map_err(|error| expected(error.to_string()))?.collect();
    let best = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
    best.copied().ok_or_else(|| expected("the name has no address".into()))
}
