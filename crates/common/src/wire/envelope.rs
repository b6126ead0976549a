//! A message in its text frame.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, RemoteError};

/// Version of the protocol; both sides must have the same.
pub const VERSION: u32 = 1;

/// Largest text frame, in bytes.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// A message with its version and id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// [`VERSION`].
    pub v: u32,
    /// The request that it asks, answers or is about; 0 where there is none.
    pub id: u64,
    /// The message.
    #[serde(flatten)]
    pub body: M,
}

impl<M: Serialize> Envelope<M> {
    /// A message of this version.
    pub fn new(id: u64, body: M) -> Self {
        Self { v: VERSION, id, body }
    }

    /// The text frame. Fails where it is over [`MAX_TEXT_BYTES`].
    pub fn to_text(&self) -> Result<String, RemoteError> {
        let text = serde_json::to_string(self).expect("messages have string keys and no failing serializer");
        if text.len() > MAX_TEXT_BYTES { Err(text_too_large(text.len())) } else { Ok(text) }
    }
}

impl<M: DeserializeOwned> Envelope<M> {
    /// Reads a text frame. Another version is told apart from a malformed message.
    pub fn from_text(text: &str) -> Result<Self, RemoteError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(text_too_large(text.len()));
        }
        let version: VersionOnly = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if version.v != VERSION {
            return Err(other_version(version.v));
        }
        serde_json::from_str(text).map_err(|error| malformed(&error))
    }
}

/// The part of an envelope that every version has.
#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

fn malformed(error: &serde_json::Error) -> RemoteError {
    RemoteError::new(ErrorCode::Protocol, format!("not a message of this protocol: {error}"), "")
}

fn text_too_large(found: usize) -> RemoteError {
    let message = format!("a text frame has at most {MAX_TEXT_BYTES} bytes, found {found}");
    RemoteError::new(ErrorCode::Protocol, message, "send fewer texts at once, or tensors in binary frames")
}

fn other_version(found: u32) -> RemoteError {
    let message = format!("expected protocol version {VERSION}, found {found}");
    RemoteError::new(ErrorCode::Version, message, OTHER_BUILD)
}

/// The page is of another version than the host.
pub fn other_agent_version(expected: &str, found: &str) -> RemoteError {
    let message = format!("expected the page of version {expected}, as the host is, found version {found} in pkg/");
    RemoteError::new(ErrorCode::Version, message, OTHER_BUILD)
}

const OTHER_BUILD: &str = "build host and page from one revision (`make wasm`) and reload the page";
