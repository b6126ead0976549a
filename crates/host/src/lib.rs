//! The native side of webnibble: it serves the page, drives browsers, and asks the agent in the page for inferences.
//!
//! The path of a request: [`server`] lets a page in and passes on frames, [`session`] turns requests into messages and
//! messages into answers, [`browser`] starts and ends browsers, and a [`Host`] is all three in one.
//! The path of a model: [`loader`] finds, fetches and checks it, [`quantizer`] makes a package of it.
//! Both meet in [`run`], whose answer is a record; [`pool`] spreads runs over many browsers. [`doctor`] looks at browsers
//! alone, [`drivers`] sees to their drivers.

pub mod advice;
pub mod assets;
pub mod bench;
pub mod browser;
pub mod browsers;
pub mod calibrate;
pub mod demo;
mod disk;
pub mod doctor;
pub mod drivers;
pub mod error;
pub mod eval;
#[cfg(test)]
mod fake_agent;
pub mod history;
mod host;
pub mod image_file;
pub mod loader;
pub mod machine;
pub mod offer;
pub mod onnx;
mod onnx_file;
pub mod output;
pub mod pool;
pub mod prepare;
mod proxy;
pub mod quantizer;
mod ratio;
pub mod reference;
pub mod report;
pub mod run;
pub mod server;
pub mod session;
mod task;
pub mod verify;
pub mod versus;

pub use error::HostError;
pub use host::{Host, HostBuilder, Startup};
pub use pool::Pool;
