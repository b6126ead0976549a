//! The bytes of a package as they come, from wherever it lies.

use std::fmt::Display;

use js_sys::Uint8Array;
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::error;
use crate::sys;

/// Where a file's bytes come from, in the file's order. What it holds is let go of when it is dropped.
pub(crate) trait ByteSource {
    /// Where the file lies, for messages.
    fn place(&self) -> &str;

    /// Bytes of the whole file, where that is known.
    fn length(&self) -> Option<u64>;

    /// The next bytes, however many; `None` at the end of the file.
    ///
    /// # Errors
    /// When no more bytes can be had, in the wire's words.
    async fn next(&mut self) -> Result<Option<Uint8Array>, RemoteError>;
}

/// Puts the bytes of a source into buffers that its caller gives. They never pass through wasm memory.
pub(super) struct Reader<S> {
    pub(super) source: S,
    /// What nobody took yet of the last bytes that came.
    rest: Option<Uint8Array>,
    received: u64,
    copy_ms: f64,
    reported_ms: f64,
}

impl<S: ByteSource> Reader<S> {
    /// How often progress is told.
    const PROGRESS_INTERVAL_MS: f64 = 100.0;

    pub(super) fn new(source: S) -> Self {
        Self { source, rest: None, received: 0, copy_ms: 0.0, reported_ms: 0.0 }
    }

    /// Time spent copying bytes into buffers so far.
    pub(super) fn copy_ms(&self) -> f64 {
        self.copy_ms
    }

    /// Fills `view` with the next bytes of the file; `progress` gets the bytes so far every now and then.
    pub(super) async fn fill(&mut self, view: &Uint8Array, progress: impl Fn(u64)) -> Result<(), RemoteError> {
        let length = view.length();
        let mut filled = 0;
        while filled < length {
            let Some(chunk) = self.next().await? else {
                return Err(self.damaged(&format!("it ended after {} bytes", self.received)));
            };
            let (part, rest) = split(chunk, length - filled);
            let began = sys::now_ms();
            view.set(&part, filled);
            let ended = sys::now_ms();
            self.copy_ms += ended - began;
            filled += part.length();
            self.received += u64::from(part.length());
            self.rest = rest;
            if ended - self.reported_ms >= Self::PROGRESS_INTERVAL_MS {
                self.reported_ms = ended;
                progress(self.received);
            }
        }
        Ok(())
    }

    /// Reads the next `length` bytes into wasm memory.
    pub(super) async fn read(&mut self, length: usize) -> Result<Vec<u8>, RemoteError> {
        // Headers have a limit far below 4 GiB.
        let view = Uint8Array::new_with_length(length as u32);
        self.fill(&view, |_| {}).await?;
        Ok(view.to_vec())
    }

    /// Makes sure that nothing is left.
    pub(super) async fn finish(&mut self) -> Result<(), RemoteError> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err(self.damaged(&format!("more bytes follow after {}", self.received))),
        }
    }

    async fn next(&mut self) -> Result<Option<Uint8Array>, RemoteError> {
        match self.rest.take() {
            Some(rest) => Ok(Some(rest)),
            None => self.source.next().await,
        }
    }

    fn damaged(&self, how: &str) -> RemoteError {
        damaged(self.source.place(), how)
    }
}

/// The error of a file whose bytes are not what they should be.
pub(super) fn damaged(place: &str, how: impl Display) -> RemoteError {
    let hint = "the file is damaged, or a proxy changed it: make the package again with `webnibble quantize`";
    error(ErrorCode::BadPackage, format!("{place}: {how}"), hint)
}

/// At most `length` bytes of a chunk, and the rest of it where there is one.
fn split(chunk: Uint8Array, length: u32) -> (Uint8Array, Option<Uint8Array>) {
    if chunk.length() <= length {
        return (chunk, None);
    }
    let rest = chunk.subarray(length, chunk.length());
    (chunk.subarray(0, length), Some(rest))
}
