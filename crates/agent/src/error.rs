//! Making [`RemoteError`]s, which is how every failure in the page reaches its caller.

use wasm_bindgen::JsValue;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::fields::text;

/// A failure with what was expected and found, and what to do about it (empty where nothing can be said).
pub(crate) fn error(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> RemoteError {
    RemoteError { code, message: message.into(), hint: hint.into() }
}

/// A bug, or a browser API that did what its specification rules out.
pub(crate) fn internal(message: impl Into<String>) -> RemoteError {
    error(ErrorCode::Internal, message, "this is a bug in webnibble: please report it with the browser's console")
}

/// The name and message of a thrown JavaScript value: `NotSupportedError: no backend`.
pub(crate) fn describe(thrown: &JsValue) -> String {
    match (text(thrown, "name"), text(thrown, "message")) {
        // The name of a plain error says nothing.
        (Some(name), Some(message)) if name == "Error" && !message.is_empty() => message,
        (Some(name), Some(message)) if !message.is_empty() => format!("{name}: {message}"),
        (Some(name), _) => name,
        // Not by `toString`, which an object need not have.
        _ => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}
