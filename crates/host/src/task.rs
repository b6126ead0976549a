//! Work that would keep the runtime from its other tasks, and the time that work takes.

use std::time::Instant;

use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::HostError;

/// Runs what computes or reads for long on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            let message = format!("a task of the host failed: {error}");
            Err(RemoteError::new(ErrorCode::Internal, message, "").into())
        }
    }
}

/// Time since a moment, in ms.
pub(crate) fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
