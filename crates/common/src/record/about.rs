//! What a record is about: machine, model, input, platform, browser, weights.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::options::Platform;
use crate::quant::{Bits, Scheme};
use crate::tokens::TokensKept;

/// When, where and with which build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// When the run began: RFC 3339, UTC.
    pub timestamp: String,
    /// The machine.
    pub host: HostInfo,
    /// Version of webnibble, with the revision that it was built from where that is known.
    pub revision: String,
}

/// The machine that the host runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Operating system and architecture.
    pub os: String,
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Logical cores that this process may use.
    pub cores: usize,
}

/// The model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its family: `bert`.
    pub family: String,
    /// What it does: `sentence-embedding`.
    pub task: String,
    /// Weights that the graph uses, before quantization.
    pub parameters: u64,
    /// Where it came from, as it was given.
    pub source: String,
    /// Digest of what ran: of the package, or of an ONNX file that somebody else made.
    pub digest: String,
    /// The ONNX file, by its path in the model's folder, where transformers.js ran one: of the package's weights where
    /// `digest` is the package's.
    #[serde(default)]
    pub onnx_file: Option<String>,
}

/// What the model was run on. One of length, size and seconds says how large it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// `text`, `ids`, `tensors`, `image` or `audio`.
    pub kind: String,
    /// Items in one run.
    pub batch: usize,
    /// Tokens of the longest item, special ones included.
    pub sequence_length: Option<usize>,
    /// Width and height, of images that all have the same; they are resized to what the model takes.
    pub size: Option<[u32; 2]>,
    /// Length, of audio.
    pub seconds: Option<f64>,
    /// Of each text, how many of its tokens ran; `None` where there are no texts, or they were not tokenized yet.
    pub tokens_kept: Option<Vec<TokensKept>>,
    /// Name of the prompt that was put before each text; `None` where there was none.
    pub prompt_name: Option<String>,
}

/// How `auto` chose a platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Why.
    pub reason: String,
    /// What was measured.
    pub candidates: Vec<Candidate>,
}

/// One platform that `auto` looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub platform: Platform,
    /// Median time of an inference; `None` where it does not run.
    pub ms: Option<f64>,
}

/// The browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrowserInfo {
    /// Its name as its driver says: `chrome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was started so that nobody sees a window of it.
    pub headless: bool,
    /// `navigator.userAgent`.
    pub user_agent: String,
    /// From starting the driver to the page's first message.
    pub start_ms: f64,
}

/// How the weights are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationInfo {
    /// Bits of the linear weights.
    pub bits: Bits,
    /// Where zero lies.
    pub scheme: Scheme,
    /// `group`, `channel` or `tensor`.
    pub granularity: String,
    /// Weights that share a scale, by group.
    pub group_size: Option<usize>,
    /// Whether attention has its own bits.
    pub mixed_precision: bool,
    /// Bits of attention projections.
    pub attention_bits: Bits,
    /// Bits of embedding tables.
    pub embedding_bits: Bits,
    /// Bits of activations.
    pub activation_bits: Bits,
    /// Bits of every tensor of the graph.
    pub bits_by_tensor: BTreeMap<String, Bits>,
    /// Whether a format was used that is not known to be good: weights of fewer than 8 bits on WebNN.
    pub experimental: bool,
}
