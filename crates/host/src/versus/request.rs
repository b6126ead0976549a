//! What is to be compared.

use webnibble_common::options::{LaunchOptions, Options, Platform};
use webnibble_common::quant::Bits;

use crate::run::RunProgressSink;

/// What is to be compared.
#[derive(Clone)]
pub struct VersusRequest {
    /// A name or folder: weights in floats, since several precisions are made of it.
    pub model: String,
    /// Where.
    pub platforms: Vec<Platform>,
    /// Ours, by the bits of its weights.
    pub bits: Vec<Bits>,
    /// Ours once more with activations of 8 bits, on WebNN and wasm.
    pub int8_activations: bool,
    /// Threads on wasm.
    pub threads: Vec<u32>,
    /// Length of the input.
    pub tokens: usize,
    /// Measured runs of each contestant.
    pub runs: u32,
    /// Granularity and scheme of the weights.
    pub options: Options,
    /// The browser.
    pub launch: LaunchOptions,
    /// Passes the browser's output on.
    pub verbose: bool,
    /// Revision of this build.
    pub revision: String,
    /// Hears how far it is.
    pub progress: Option<RunProgressSink>,
}
