//! What both sides of webnibble must agree on: the native host and the agent in the page.
//!
//! Data flows one way through this crate's modules: a model becomes a [`graph::Graph`] and weights,
//! weights become [`quant::QTensor`]s, these are written as a [`package`], and requests about it
//! travel as [`wire`] messages whose answers end in a [`record::RunRecord`].
//!
//! Invariant: no I/O, no async, no browser and no GPU in here.
//! Only the types of `wire`, `record`, `options`, `capabilities` and the package metadata are serialized.

pub mod capabilities;
pub mod error;
pub mod fallback;
pub mod generate;
pub mod graph;
pub mod implementation;
pub mod io;
pub mod options;
pub mod package;
pub mod profiles;
pub mod program;
pub mod prompt;
pub mod quant;
pub mod record;
pub mod safetensors;
pub mod sentence;
pub mod stand_in;
pub mod state;
pub mod tensor;
pub mod tokens;
pub mod warmup;
pub mod webnn;
pub mod weights;
pub mod wire;
