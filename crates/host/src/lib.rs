//! The native side of webnibble: it serves the page, drives browsers, and asks the agent in the page for inferences.
//!
//! The path of a request: [`server`] lets a page in and passes on frames, [`session`] turns requests into messages and
//! messages into answers.

pub mod assets;
pub mod error;
#[cfg(test)]
mod fake_agent;
pub mod server;
pub mod session;

pub use error::HostError;
