//! A failure that crosses the wire, and the kinds that there are.

use serde::{Deserialize, Serialize};

/// A failure that crosses the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it; empty where nothing can be said.
    #[serde(default)]
    pub hint: String,
}

impl RemoteError {
    /// A failure with something to do about it.
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a message of this protocol, or in the wrong place.
    Protocol,
    /// Another protocol version.
    Version,
    /// Wrong token, resume key or origin.
    Unauthorized,
    /// WebGPU is absent, or no adapter or device was given.
    WebgpuUnavailable,
    /// WebNN is absent, or has no backend for the device.
    WebnnUnavailable,
    /// Another engine (transformers.js) could not load or run a model.
    EngineFailed,
    /// The adapter lacks a feature or limit that was asked for.
    Unsupported,
    /// The package could not be fetched.
    Fetch,
    /// The package's bytes are not what its header says.
    BadPackage,
    /// A kernel failed to compile, or a command was invalid.
    Validation,
    /// An allocation failed.
    OutOfMemory,
    /// The GPU device was lost.
    DeviceLost,
    /// The input does not fit the model.
    BadInput,
    /// An option has a value that cannot be kept here.
    BadOption,
    /// No model of that name is loaded.
    UnknownModel,
    /// An output is not finite.
    NotFinite,
    /// The request's deadline passed.
    Deadline,
    /// The request was cancelled.
    Cancelled,
    /// The page or the browser went away.
    Disconnected,
    /// A bug.
    Internal,
}

impl ErrorCode {
    /// Its name in JSON.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            other => unreachable!("codes are strings, found {other:?}"),
        }
    }
}
