//! What travels over the WebSocket between host and agent.
//!
//! Text frames carry one JSON [`Envelope`]; binary frames carry tensor bytes behind a fixed header ([`frame`]).
//! Ids are made by the asker. Every request gets exactly one of its response or [`AgentMessage::Error`];
//! [`AgentMessage::Progress`] with the same id may come before it. `docs/wire.md` shows a session.

use serde::{Deserialize, Serialize};

use crate::capabilities::{Adapter, Capabilities};
use crate::options::{Engine, ExecutionProvider, Platform};
use crate::prompt::PromptChoice;
use crate::quant::Bits;
use crate::result::{ImplementationType, TokensKept, WebNnInfo};
use crate::tensor::DType;
use crate::warmup::Warmup;

pub mod frame;
mod times;

pub use times::{MOST_TIMES_IN_TEXT, put_times, take_times};

/// Version of the protocol; both sides must have the same.
pub const VERSION: u32 = 1;

/// Largest text frame, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Largest binary frame, header included, in bytes. Longer tensors travel in parts.
pub const MAX_BINARY_BYTES: usize = 8 << 20;

/// A message with its version and id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// [`VERSION`].
    pub v: u32,
    /// The request that it asks, answers or is about; 0 where there is none.
    pub id: u64,
    /// The message.
    #[serde(flatten)]
    pub body: M,
}

impl<M: Serialize> Envelope<M> {
    /// A message of this version.
    pub fn new(id: u64, body: M) -> Self {
        Self { v: VERSION, id, body }
    }

    /// The text frame. Fails where it is over [`MAX_TEXT_BYTES`].
    pub fn to_text(&self) -> Result<String, RemoteError> {
        let text = serde_json::to_string(self).expect("messages have string keys and no failing serializer");
        if text.len() > MAX_TEXT_BYTES { Err(RemoteError::text_too_large(text.len())) } else { Ok(text) }
    }
}

impl<M: serde::de::DeserializeOwned> Envelope<M> {
    /// Reads a text frame. Another version is told apart from a malformed message.
    pub fn from_text(text: &str) -> Result<Self, RemoteError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(RemoteError::text_too_large(text.len()));
        }
        let version: VersionOnly = serde_json::from_str(text).map_err(|error| RemoteError::malformed(&error))?;
        if version.v != VERSION {
            return Err(RemoteError::version(version.v));
        }
        serde_json::from_str(text).map_err(|error| RemoteError::malformed(&error))
    }
}

/// The part of an envelope that every version has.
#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// From the host to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HostMessage {
    /// Answers `hello`: the session is open.
    Welcome {
        /// Given in a later `hello` to take this session up again.
        resume_key: String,
        /// Each side pings when it heard nothing for this long, and gives up after three times as long.
        heartbeat_ms: u64,
    },
    /// Answers `hello`: the session is refused, and the socket closes.
    Refused {
        /// Why.
        error: RemoteError,
    },
    /// Load a package and prepare it. Answered by `loaded`.
    Load {
        /// Name that later requests use.
        model: String,
        /// Where the package lies, relative to the page.
        url: String,
        /// SHA-256 of its header.
        digest: String,
        /// How to run it.
        options: LoadOptions,
    },
    /// Run a loaded model. Tensor inputs follow in binary frames with the same id. Answered by `ran`.
    Run {
        /// Name given to `load`.
        model: String,
        /// What to run it on.
        input: RunInput,
        /// How often.
        options: RunOptions,
    },
    /// Free a model. Answered by `done`.
    Unload {
        /// Name given to `load`.
        model: String,
    },
    /// Stop working on a request, which then ends in an error of code `cancelled`. Not answered itself.
    Cancel {
        /// Id of the request.
        request: u64,
    },
    /// Answered by `pong` with the same payload.
    Ping {
        /// Anything.
        #[serde(default)]
        payload: String,
    },
    /// Answers the agent's `ping`: browsers give pages no way to send WebSocket pings.
    Pong {
        /// What the ping had.
        #[serde(default)]
        payload: String,
    },
    /// Close the page's session for good: no reconnecting. Not answered.
    Shutdown,
}

/// From the agent to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// First message on a socket.
    Hello {
        /// The one-time token of the page's URL; empty when resuming.
        #[serde(default)]
        token: String,
        /// Key of an earlier `welcome`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_key: Option<String>,
        /// Version of the agent.
        agent_version: String,
    },
    /// What the browser can do; sent once after the first `welcome`.
    Capabilities {
        /// All of it.
        capabilities: Box<Capabilities>,
    },
    /// How far a request is.
    Progress {
        /// What is being done.
        stage: Stage,
        /// Done, in bytes for `fetch`, in pipelines for `compile`, in runs for `warmup` and `run`; the first run is one of
        /// those of `run`.
        done: u64,
        /// Of how many; 0 where unknown.
        total: u64,
    },
    /// Answers `load`.
    Loaded {
        /// What was loaded, and what it took.
        report: Box<LoadReport>,
    },
    /// Answers `run`. Output bytes went before it in binary frames with the same id.
    Ran {
        /// Timings and output shapes.
        report: Box<RunReport>,
        /// Times of many runs, whose bytes went behind those of the outputs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        times: Vec<TensorInfo>,
    },
    /// Answers `unload`.
    Done,
    /// Answered by `pong` with the same payload: the page heard nothing for a heartbeat.
    Ping {
        /// Anything.
        #[serde(default)]
        payload: String,
    },
    /// Answers `ping`.
    Pong {
        /// What the ping had.
        #[serde(default)]
        payload: String,
    },
    /// Answers any request that failed; with id 0, a failure of the page itself.
    Error {
        /// What failed.
        error: RemoteError,
    },
    /// A line for the host's log.
    Log {
        /// `debug`, `info`, `warn` or `error`.
        level: String,
        /// The line.
        message: String,
    },
}

/// A failure that crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it; empty where nothing can be said.
    #[serde(default)]
    pub hint: String,
}

impl RemoteError {
    /// A failure with something to do about it.
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }

    fn malformed(error: &serde_json::Error) -> Self {
        Self::new(ErrorCode::Protocol, format!("not a message of this protocol: {error}"), "")
    }

    fn text_too_large(found: usize) -> Self {
        let message = format!("a text frame has at most {MAX_TEXT_BYTES} bytes, found {found}");
        Self::new(ErrorCode::Protocol, message, "send fewer texts at once, or tensors in binary frames")
    }

    fn version(found: u32) -> Self {
        let message = format!("expected protocol version {VERSION}, found {found}");
        Self::new(ErrorCode::Version, message, OTHER_BUILD)
    }

    /// The page is of another version than the host.
    pub fn agent_version(expected: &str, found: &str) -> Self {
        let message = format!("expected the page of version {expected}, as the host is, found version {found} in pkg/");
        Self::new(ErrorCode::Version, message, OTHER_BUILD)
    }
}

const OTHER_BUILD: &str = "build host and page from one revision (`make wasm`) and reload the page";

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a message of this protocol, or in the wrong place.
    Protocol,
    /// Another protocol version.
    Version,
    /// Wrong token, resume key or origin.
    Unauthorized,
    /// WebGPU is absent, or no adapter or device was given.
    WebgpuUnavailable,
    /// WebNN is absent, or has no backend for the device.
    WebnnUnavailable,
    /// Another engine (transformers.js) could not load or run a model.
    EngineFailed,
    /// The adapter lacks a feature or limit that was asked for.
    Unsupported,
    /// The package could not be fetched.
    Fetch,
    /// The package's bytes are not what its header says.
    BadPackage,
    /// A kernel failed to compile, or a command was invalid.
    Validation,
    /// An allocation failed.
    OutOfMemory,
    /// The GPU device was lost.
    DeviceLost,
    /// The input does not fit the model.
    BadInput,
    /// An option has a value that cannot be kept here.
    BadOption,
    /// No model of that name is loaded.
    UnknownModel,
    /// An output is not finite.
    NotFinite,
    /// The request's deadline passed.
    Deadline,
    /// The request was cancelled.
    Cancelled,
    /// The page or the browser went away.
    Disconnected,
    /// A bug.
    Internal,
}

/// Stage of a request, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Weights over HTTP into buffers.
    Fetch,
    /// Pipelines.
    Compile,
    /// Runs before the measured ones.
    Warmup,
    /// Measured runs.
    Run,
}

/// How a model is to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// `webgpu`, `webnn` or `wasm`.
    pub platform: Platform,
    /// Who computes. What is loaded is a package for `native`, and a folder with ONNX files for `transformers-js`.
    #[serde(default = "native")]
    pub engine: Engine,
    /// The CPU executor stands in for the platform, and says so.
    #[serde(default)]
    pub simulate: bool,
    /// WebNN's device; the context's own choice where it is not given.
    #[serde(default)]
    pub execution_provider: Option<ExecutionProvider>,
    /// The device is a preference: where it cannot be had, the context's own choice is taken.
    #[serde(default)]
    pub prefer_device: bool,
    /// WebNN: formats that it takes, but that are not known to be good.
    #[serde(default)]
    pub experimental_precision: bool,
    /// 8 computes linears in int8: on WebNN by the package's activation ranges, on wasm by those of each group of each
    /// token; 32 in floats.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// WebNN: how weights are given to the graph; chosen by measuring where it is not given.
    #[serde(default)]
    pub lowering: Option<String>,
    /// Threads of the CPU executor, what the machine has where it is not given; parts of the input that WebNN computes side
    /// by side, as many as are measured to pay where it is not given.
    #[serde(default)]
    pub threads: Option<u32>,
    /// Only core WebGPU: no features, the limits that every adapter has. `false` never takes its kernels; where it is not
    /// given they are taken when others fail to build.
    #[serde(default)]
    pub portable_kernels: Option<bool>,
    /// Build every pipeline before the first inference; otherwise while it is prepared.
    #[serde(default)]
    pub shader_precompilation: bool,
    /// Cut weights and dispatches into parts: `true` for bindings and times that browsers take well, `false` never; where
    /// it is not given, what the adapter cannot bind whole.
    #[serde(default)]
    pub chunked_operations: Option<bool>,
    /// Workgroup size of kernels that take one.
    #[serde(default)]
    pub workgroup_size: Option<[u32; 3]>,
    /// Keep tiles of matrix products in f16.
    #[serde(default)]
    pub half_tiles: bool,
    /// The deadline of the whole request.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

impl LoadOptions {
    /// Our own engine on a platform, with nothing else chosen.
    pub fn on(platform: Platform) -> Self {
        Self {
            platform,
            engine: native(),
            simulate: false,
            execution_provider: None,
            prefer_device: false,
            experimental_precision: false,
            activation_bits: floats(),
            lowering: None,
            threads: None,
            portable_kernels: None,
            shader_precompilation: false,
            chunked_operations: None,
            workgroup_size: None,
            half_tiles: false,
            deadline_ms: None,
        }
    }
}

fn native() -> Engine {
    Engine::Native
}

fn floats() -> Bits {
    Bits::B32
}

/// What a model is run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunInput {
    /// Texts, tokenized in the page: one batch, padded to the longest.
    Text {
        /// The texts.
        texts: Vec<String>,
        /// Cut texts over the model's limit instead of refusing them.
        #[serde(default)]
        truncate: bool,
        /// What is put before each text.
        #[serde(default, skip_serializing_if = "PromptChoice::is_default")]
        prompt: PromptChoice,
    },
    /// Token ids, one list a text.
    Ids {
        /// The ids, special tokens included.
        ids: Vec<Vec<u32>>,
        /// Cut lists over the model's limit instead of refusing them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        truncate: bool,
    },
    /// Tensors by the graph's input names; bytes follow in binary frames, `part` counting through them in this order.
    Tensors {
        /// Names, types and shapes.
        tensors: Vec<TensorInfo>,
    },
}

impl RunInput {
    /// Texts after the model's default prompt, none of them cut.
    pub fn texts(texts: Vec<String>) -> Self {
        RunInput::Text { texts, truncate: false, prompt: PromptChoice::Default }
    }

    /// Token ids, no list cut.
    pub fn ids(ids: Vec<Vec<u32>>) -> Self {
        RunInput::Ids { ids, truncate: false }
    }
}

/// How often to run, and what to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Runs before the measured ones, after the first; where it is not given, until times are steady. Where nothing is
    /// measured there are none but those that are given.
    #[serde(default)]
    pub warmup: Option<u32>,
    /// Measured runs; with 0, the first gives the answer.
    #[serde(default)]
    pub runs: u32,
    /// Time each kernel with timestamp queries.
    #[serde(default)]
    pub profile: bool,
    /// The deadline of the whole request.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// A tensor whose bytes travel in binary frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// What loading gave and took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What will really run, as the backend says.
    pub implementation_type: ImplementationType,
    /// The adapter, for WebGPU.
    pub adapter: Option<Adapter>,
    /// The context and the graph, for WebNN.
    #[serde(default)]
    pub webnn: Option<WebNnInfo>,
    /// Bits that activations really have: 8 where linears are computed in int8.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// Time of the whole request.
    pub total_ms: f64,
    /// From the request for the package to its last byte.
    pub fetch_ms: f64,
    /// Part of `fetch_ms` spent handing bytes to buffers.
    pub upload_ms: f64,
    /// Building pipelines, graphs or a session, where it was done while loading.
    pub compile_ms: Option<f64>,
    /// Running what was built, to choose the fastest; WebNN does so once for each kind of model.
    #[serde(default)]
    pub choosing_ms: Option<f64>,
    /// Bytes fetched.
    pub package_bytes: u64,
    /// Bytes of weights in the backend's memory.
    pub weights_bytes: u64,
    /// Pages of wasm memory so far, in bytes.
    pub wasm_heap_bytes: u64,
}

/// An option that a backend set otherwise than it was asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Its name, as the record has it.
    pub option: String,
    /// What it is now.
    pub value: serde_json::Value,
    /// What failed, where something did; nothing where a limit of the adapter was known to demand it.
    pub code: Option<ErrorCode>,
    /// Why.
    pub reason: String,
}

/// What running gave and took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// What really ran.
    pub implementation_type: ImplementationType,
    /// Outputs in order; their bytes travelled in binary frames.
    pub outputs: Vec<TensorInfo>,
    /// Tokens of each text that ran, special ones included; empty for tensors.
    pub token_counts: Vec<usize>,
    /// Whether a text was cut to the model's limit.
    pub truncated: bool,
    /// Of each text, how many of its tokens ran; empty for tensors.
    #[serde(default)]
    pub tokens_kept: Vec<TokensKept>,
    /// Preparing buffers, bind groups and missing pipelines for this shape; 0 when it was cached.
    pub prepare_ms: f64,
    /// The first run for this shape, preparation included.
    pub first_ms: f64,
    /// What was run between the first run and the measured ones.
    pub warmup: Warmup,
    /// Each measured run: input written to output read.
    pub run_ms: Vec<f64>,
    /// GPU time of each measured run, with `profile`, where the adapter has timestamps.
    pub gpu_ms: Option<Vec<f64>>,
    /// Time of each kernel in the last run, with `profile`.
    pub kernels: Option<Vec<KernelTime>>,
    /// The context and the graph that ran, for WebNN.
    #[serde(default)]
    pub webnn: Option<WebNnInfo>,
    /// Variant that was chosen for each operator kind.
    pub variants: std::collections::BTreeMap<String, String>,
    /// Options that were set otherwise.
    #[serde(default)]
    pub adjustments: Vec<Adjustment>,
    /// Dispatches of one inference.
    pub dispatches: Option<u32>,
    /// Most bytes of GPU buffers at once, weights included.
    pub gpu_peak_bytes: Option<u64>,
    /// Pages of wasm memory so far, in bytes.
    pub wasm_heap_bytes: u64,
}

/// Time of one dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelTime {
    /// Name of the value that it makes.
    pub operator: String,
    /// Kernel and variant.
    pub kernel: String,
    /// Time in ms, by timestamp queries.
    pub ms: f64,
    /// Bytes of its bindings.
    pub bytes: u64,
}

#[cfg(test)]
mod message_tests;
