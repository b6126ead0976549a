//! The part of webnibble that runs in the page, compiled to WebAssembly.
//!
//! One compiled module is instantiated twice: in the page, which keeps the session with the host, and in a dedicated
//! Worker, which computes. A long run on the CPU therefore never starves the heartbeat, nor freezes the page.
//!
//! Invariants: `JsValue` lives in this crate alone; bindings written by hand stand in `sys.rs` files; nothing outside
//! [`backend`] decides what is `REAL_`.
#![cfg(target_arch = "wasm32")]

mod backend;
mod capabilities;
mod embed;
mod error;
mod fields;
mod finite;
mod model;
mod page;
mod panic;
mod plane_sink;
mod stop;
mod sys;
mod tasks;
#[cfg(test)]
mod testing;
mod threads;
mod transformers_js;
mod weights;
mod worker;

pub use embed::{Model, capabilities};
pub use page::{PageConfig, PageEventHandler, start_page};
#[cfg(target_feature = "atomics")]
pub use threads::serve_thread;
pub use worker::start_worker;
