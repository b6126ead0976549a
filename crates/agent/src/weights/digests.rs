//! SHA-256 of planes, computed while the next ones are being fetched.

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use js_sys::Uint8Array;
use sha2::{Digest, Sha256};
use wasm_bindgen_futures::JsFuture;
use webnibble_common::package::Plane;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::source::damaged;
use crate::error::{describe, error};
use crate::sys;

/// Digests on their way, checked against what the header says.
pub(super) struct Digests<'a> {
    /// Where the planes come from, for messages.
    place: String,
    pending: FuturesUnordered<LocalBoxFuture<'a, Result<u64, RemoteError>>>,
    pending_bytes: u64,
}

impl<'a> Digests<'a> {
    pub(super) fn new(place: &str) -> Self {
        Self { place: place.to_owned(), pending: FuturesUnordered::new(), pending_bytes: 0 }
    }

    /// Begins to hash the view; its bytes are copied, so that it may go away.
    pub(super) fn start(&mut self, plane: &'a Plane, view: &Uint8Array) {
        let digest = sha256(view);
        let place = self.place.clone();
        self.pending_bytes += plane.bytes();
        self.pending.push(Box::pin(async move {
            plane.verify_digest(&digest.await?).map_err(|problem| damaged(&place, problem))?;
            Ok(plane.bytes())
        }));
    }

    /// Waits until at most `bytes` are still being hashed.
    pub(super) async fn limit(&mut self, bytes: u64) -> Result<(), RemoteError> {
        while self.pending_bytes > bytes {
            match self.pending.next().await {
                Some(hashed) => self.pending_bytes -= hashed?,
                None => break,
            }
        }
        Ok(())
    }
}

/// The SHA-256 of the view's present bytes: by the browser, or here where the page is no secure context.
pub(super) fn sha256(view: &Uint8Array) -> LocalBoxFuture<'static, Result<Vec<u8>, RemoteError>> {
    let Some(digest) = sys::SUBTLE.with(|subtle| subtle.as_ref().map(|subtle| subtle.digest("SHA-256", view))) else {
        let found = sha256_in_wasm(view);
        return Box::pin(async move { Ok(found) });
    };
    Box::pin(async move {
        let hashed =
            JsFuture::from(digest).await.map_err(|thrown| error(ErrorCode::Internal, describe(&thrown), ""))?;
        Ok(Uint8Array::new(&hashed).to_vec())
    })
}

/// Hashes in pieces, so that little of the view is in wasm memory at once.
pub(super) fn sha256_in_wasm(view: &Uint8Array) -> Vec<u8> {
    const PIECE_BYTES: u32 = 1 << 16;
    let mut hasher = Sha256::new();
    let mut begin = 0;
    while begin < view.length() {
        let end = (begin + PIECE_BYTES).min(view.length());
        hasher.update(view.subarray(begin, end).to_vec());
        begin = end;
    }
    hasher.finalize().to_vec()
}
