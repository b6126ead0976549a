//! What host and agent say to one another.

use serde::{Deserialize, Serialize};

use super::load::{LoadOptions, LoadReport};
use super::run::{RunOptions, RunReport};
use crate::capabilities::Capabilities;
use crate::error::RemoteError;
use crate::generate::Part;
use crate::io::{Input, TensorInfo};

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
        input: Input<TensorInfo>,
        /// How often, and what to read.
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
        /// those of `run`. Its end is always told: by `warmup`, or by `run` with 1 done.
        done: u64,
        /// Of how many; 0 where unknown.
        total: u64,
    },
    /// What comes piece by piece of a request, in order: a piece that was heard before is passed over.
    Part {
        /// Counts the pieces of the request, from 0.
        index: u64,
        /// The piece.
        part: Part,
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
