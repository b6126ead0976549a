//! Loading a package: one streamed fetch, header first, then plane by plane into the backend's buffers.
//!
//! Bytes go from the network's chunks straight into the views that the backend gives (mapped GPU memory), never
//! through wasm memory. Each plane's SHA-256 is checked while the next ones are being fetched.

use std::collections::BTreeMap;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use js_sys::Uint8Array;
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use webnibble_common::package::{Header, PackageError, Parsed, Part, Plane};
use webnibble_common::wire::{ErrorCode, RemoteError};

use crate::error::{describe, error};
use crate::stop::Stop;
use crate::sys::{self, PackageReader};

/// Hashing copies a plane; fetching waits while more than this is being hashed.
const MAX_HASHING_BYTES: u64 = 64 << 20;

/// Where planes go.
pub(crate) trait PlaneSink {
    /// A view of exactly the plane's length, to be filled.
    fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError>;
    /// Takes the filled view.
    fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError>;
}

impl PlaneSink for crate::backend::Model {
    fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        self.begin_plane(plane)
    }

    fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        self.finish_plane(plane, view)
    }
}

/// A package whose header was read, and whose data is on its way.
pub(crate) struct Package {
    /// What the package holds.
    pub(crate) header: Header,
    reader: PackageReader,
    stop: Stop,
    url: String,
    began_ms: f64,
}

/// What came besides the planes of the graph's tensors.
pub(crate) struct Fetched {
    /// Planes that no tensor of the graph owns, by name: the tokenizer.
    pub(crate) extras: BTreeMap<String, Vec<u8>>,
    /// From the request to the last byte, in ms.
    pub(crate) fetch_ms: f64,
    /// Part of it spent copying bytes into buffers and handing those over.
    pub(crate) upload_ms: f64,
}

impl Package {
    /// Asks for the package and reads its header; `digest` is what the header's should be, where it is known.
    pub(crate) async fn open(url: &str, digest: Option<&str>, stop: &Stop) -> Result<Self, RemoteError> {
        let reader = PackageReader::new(url, &stop.signal());
        let began_ms = sys::now_ms();
        let failed = |thrown: JsValue| failure(url, stop, &thrown);
        reader.open().await.map_err(failed)?;
        let mut bytes = Vec::new();
        let header = loop {
            match Header::parse(&bytes) {
                Ok(Parsed::Header(header)) => break *header,
                Ok(Parsed::NeedMore { bytes: wanted }) => {
                    bytes.extend(read(&reader, wanted - bytes.len()).await.map_err(failed)?);
                }
                Err(problem) => {
                    // The promise only says that the connection closed.
                    let _ = reader.cancel();
                    return Err(error(ErrorCode::BadPackage, format!("{url}: {problem}"), NOT_A_PACKAGE));
                }
            }
        };
        let package = Self { header, reader, stop: stop.clone(), url: url.to_owned(), began_ms };
        package.check_identity(digest)?;
        Ok(package)
    }

    /// Compares digest and length with what the asker and the server say.
    fn check_identity(&self, digest: Option<&str>) -> Result<(), RemoteError> {
        if let Some(expected) = digest.filter(|expected| *expected != self.header.digest) {
            let message = format!("{}: digest should be {expected}, found {}", self.url, self.header.digest);
            let hint = "the file changed since it was asked for: ask again, or make the package again";
            return Err(error(ErrorCode::BadPackage, message, hint));
        }
        // -1 where the server does not say.
        match self.reader.content_length() {
            length if length >= 0.0 => self.header.check_length(length as u64).map_err(|e| self.damaged(&e)),
            _ => Ok(()),
        }
    }

    /// Streams every plane into `sink`; `progress` gets the bytes fetched so far.
    pub(crate) async fn load(
        self,
        sink: &mut impl PlaneSink,
        progress: impl Fn(u64) + 'static,
    ) -> Result<Fetched, RemoteError> {
        let result = self.stream(sink, progress).await;
        if result.is_err() {
            // The promise only says that the connection closed.
            let _ = self.reader.cancel();
        }
        result
    }

    async fn stream(
        &self,
        sink: &mut impl PlaneSink,
        progress: impl Fn(u64) + 'static,
    ) -> Result<Fetched, RemoteError> {
        let on_progress = Closure::<dyn Fn(f64)>::new(move |received: f64| progress(received as u64));
        let on_progress: &js_sys::Function = on_progress.as_ref().unchecked_ref();
        let mut extras = BTreeMap::new();
        let mut digests = Digests::new(&self.url);
        let mut hand_over_ms = 0.0;
        for plane in &self.header.planes {
            self.stop.check()?;
            let began = sys::now_ms();
            let extra = plane.part == Part::Extra;
            let view = if extra { buffer(plane)? } else { sink.begin_plane(plane)? };
            let begun = sys::now_ms();
            self.reader.fill(&view, Some(on_progress)).await.map_err(|thrown| self.failure(&thrown))?;
            digests.start(plane, &view);
            let filled = sys::now_ms();
            if extra {
                // Planes are padded; the header knows the true length.
                let bytes = self.header.extras.get(&plane.tensor).map_or(view.length(), |bytes| *bytes as u32);
                extras.insert(plane.tensor.clone(), view.subarray(0, bytes).to_vec());
            } else {
                sink.finish_plane(plane, &view)?;
            }
            hand_over_ms += begun - began + sys::now_ms() - filled;
            digests.limit(MAX_HASHING_BYTES).await?;
        }
        self.reader.finish().await.map_err(|thrown| self.failure(&thrown))?;
        let fetch_ms = sys::now_ms() - self.began_ms;
        digests.limit(0).await?;
        Ok(Fetched { extras, fetch_ms, upload_ms: hand_over_ms + self.reader.copy_ms() })
    }

    fn failure(&self, thrown: &JsValue) -> RemoteError {
        failure(&self.url, &self.stop, thrown)
    }

    fn damaged(&self, problem: &PackageError) -> RemoteError {
        damaged(&self.url, problem)
    }
}

/// The package's bytes are not what its header says.
fn damaged(url: &str, problem: &PackageError) -> RemoteError {
    error(ErrorCode::BadPackage, format!("{url}: {problem}"), DAMAGED)
}

const DAMAGED: &str = "the file is damaged, or a proxy changed it: make the package again with `webnibble quantize`";
const NOT_A_PACKAGE: &str = "packages are .safetensors files made by `webnibble quantize`";

/// Digests on their way, checked against what the header says.
struct Digests<'a> {
    url: &'a str,
    pending: FuturesUnordered<LocalBoxFuture<'a, Result<u64, RemoteError>>>,
    pending_bytes: u64,
}

impl<'a> Digests<'a> {
    fn new(url: &'a str) -> Self {
        Self { url, pending: FuturesUnordered::new(), pending_bytes: 0 }
    }

    /// Begins to hash the view; its bytes are copied, so that it may go away.
    fn start(&mut self, plane: &'a Plane, view: &Uint8Array) {
        let digest = sha256(view);
        let url = self.url;
        self.pending_bytes += plane.bytes();
        self.pending.push(Box::pin(async move {
            plane.verify_digest(&digest.await?).map_err(|problem| damaged(url, &problem))?;
            Ok(plane.bytes())
        }));
    }

    /// Waits until at most `bytes` are still being hashed.
    async fn limit(&mut self, bytes: u64) -> Result<(), RemoteError> {
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
fn sha256(view: &Uint8Array) -> LocalBoxFuture<'static, Result<Vec<u8>, RemoteError>> {
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
fn sha256_in_wasm(view: &Uint8Array) -> Vec<u8> {
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

/// Reads the next `length` bytes into wasm memory.
async fn read(reader: &PackageReader, length: usize) -> Result<Vec<u8>, JsValue> {
    // Headers have a limit far below 4 GiB.
    let view = Uint8Array::new_with_length(length as u32);
    reader.fill(&view, None).await?;
    Ok(view.to_vec())
}

/// A JavaScript buffer of the plane's length.
pub(crate) fn buffer(plane: &Plane) -> Result<Uint8Array, RemoteError> {
    let length = u32::try_from(plane.bytes()).map_err(|_| {
        let message = format!("plane `{}` should have less than 4 GiB, found {} bytes", plane.name(), plane.bytes());
        error(ErrorCode::BadPackage, message, "")
    })?;
    Ok(Uint8Array::new_with_length(length))
}

/// What a thrown value of the reader means.
fn failure(url: &str, stop: &Stop, thrown: &JsValue) -> RemoteError {
    if let Err(reason) = stop.check() {
        return reason;
    }
    let kind = js_sys::Reflect::get(thrown, &"kind".into()).ok().and_then(|kind| kind.as_string());
    let message = format!("{url}: {}", describe(thrown));
    match kind.as_deref() {
        Some("status") => error(ErrorCode::Fetch, message, "check that the package lies at that address"),
        Some("network") => error(
            ErrorCode::Fetch,
            message,
            "check that the server runs, allows this page's origin (CORS), and that the page's CSP allows it",
        ),
        Some("short" | "long") => error(ErrorCode::BadPackage, message, DAMAGED),
        _ => error(ErrorCode::Fetch, message, ""),
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
