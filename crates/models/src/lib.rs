//! Model families: from a Hugging Face `config.json` to a [`Graph`](webnibble_common::graph::Graph), and what surrounds it.
//!
//! One file a family. The same code builds the graph on the host, to quantize and to compute references, and in the
//! page, to run. Nothing here reads files: the caller brings their text.
//!
//! - [`ModelConfig`]: family and dimensions of a model, its graph.
//! - [`checkpoint`]: which tensor of a checkpoint a graph's source is.
//! - [`generate`]: which token comes next, and when a text has ended.
//! - [`input`]: texts, ids, images and named tensors to the tensors that a program takes, with tokenizer, limits, prompts and the
//!   preprocessing of images.
//! - [`output`]: outputs to what the caller asked for.
//! - [`Pipeline`]: both around a program: what page, embedding page and host share.
//! - [`sentence`]: prompts, pooling and normalization of sentence-transformers models.
//! - [`tokenizer_files`]: the one tokenizer that all files of a folder come to.

pub mod bert;
pub mod checkpoint;
mod config;
mod counts;
mod error;
mod fields;
pub mod generate;
mod head;
mod hidden;
pub mod input;
mod labels;
pub mod llama;
pub mod output;
mod pipeline;
mod post_processor;
mod program;
pub mod rope;
pub mod sentence;
pub mod tokenizer_files;
pub mod vit;

pub use config::ModelConfig;
pub use error::{FAMILIES, ModelError};
pub use head::refuse_heads;
pub use pipeline::Pipeline;
