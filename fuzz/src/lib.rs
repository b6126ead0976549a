//! What each fuzz target does with an input: reads it, and checks what its reader promises.
//!
//! The tests of `webnibble-host` include this file too, and run every target on every file of `seeds/`, so that what was
//! once found is never found again. A target panics where a promise is broken; an error is an answer as good as any.

#[path = "config.rs"]
mod config;
#[path = "onnx.rs"]
mod onnx;
#[path = "package.rs"]
mod package;
#[path = "tokenizer.rs"]
mod tokenizer;
#[path = "wire.rs"]
mod wire;

/// A name, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their binaries and of their folders in `seeds/`.
pub const TARGETS: [Target; 7] = [
    ("safetensors_header", package::safetensors_header),
    ("package", package::package),
    ("wire_frames", wire::frames),
    ("wire_messages", wire::messages),
    ("tokenizer", tokenizer::tokenizer),
    ("model_config", config::model_config),
    ("onnx", onnx::onnx),
];

/// Runs a target by its name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(data);
}
