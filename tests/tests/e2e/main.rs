//! The command line and the host against real browsers.

#![cfg(unix)]
#![expect(clippy::print_stdout, reason = "what a test measured is shown, beside whether it passed")]

mod arguments;
mod bench;
mod browsers;
mod cache;
mod drivers;
mod embedding;
mod eval;
mod fallback;
mod faults;
mod fidelity;
mod golden;
mod llama;
mod machine;
mod named;
mod opened;
mod outputs;
mod page;
mod pool;
mod profiles;
mod report;
mod run;
mod serve;
mod text;
mod threads;
mod transformers_js;
mod vit;
mod webnn;
