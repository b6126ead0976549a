//! What travels over the WebSocket between host and agent.
//!
//! Text frames carry one JSON [`Envelope`]; binary frames carry tensor bytes behind a fixed header ([`frame`]).
//! Ids are made by the asker. Every request gets exactly one of its response or [`AgentMessage::Error`];
//! [`AgentMessage::Progress`] with the same id may come before it. `docs/wire.md` shows a session.

mod envelope;
pub mod frame;
mod load;
mod message;
#[cfg(test)]
mod message_tests;
mod run;
mod times;

pub use crate::error::{ErrorCode, RemoteError};
pub use crate::io::TensorInfo;
pub use envelope::{Envelope, MAX_TEXT_BYTES, VERSION, other_agent_version};
pub use frame::MAX_BINARY_BYTES;
pub use load::{LoadOptions, LoadReport};
pub use message::{AgentMessage, HostMessage, Stage};
pub use run::{Adjustment, KernelTime, RunOptions, RunReport};
pub use times::{MOST_TIMES_IN_TEXT, put_times, take_times};
