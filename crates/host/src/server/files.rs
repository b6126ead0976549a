//! The page's files and the packages, over HTTP.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::shared::{Shared, lock};
use crate::onnx::Content;

/// Bytes of one piece of a file: large enough that the system calls do not count, small enough to start at once, and that
/// allocators, which keep what was freed for each thread, do not keep much.
const PIECE_BYTES: usize = 256 << 10;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Scripts that the page may run.
pub(super) const PAGE_SCRIPTS: &str = "'self' 'wasm-unsafe-eval'";

/// Scripts that the Worker of transformers.js may run: onnxruntime makes functions from text. A Worker has no document.
pub(super) const WORKER_SCRIPTS: &str = "'self' 'wasm-unsafe-eval' 'unsafe-eval'";

/// The Worker's script, and what the page asks for it with where transformers.js is to run in it: a Worker's policy is that
/// of its own response.
const WORKER: (&str, &str) = ("/worker.js", "engine=transformers-js");

/// What the page may do: run its own scripts and WebAssembly, and talk to this server under any of its names.
pub(super) fn content_security_policy(hosts: &[String], scripts: &str) -> String {
    // A source has no form for an IPv6 address; the page's own host is `'self'` in any case.
    let named = hosts.iter().filter(|host| !host.starts_with('['));
    let sockets: Vec<_> = named.map(|host| format!("ws://{host}")).collect();
    format!(
        "default-src 'none'; script-src {scripts}; worker-src 'self'; style-src 'self'; \
         img-src 'self' data:; connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        sockets.join(" ")
    )
}

/// Headers of every response. Isolation gives the page shared memory and exact timers.
pub(super) async fn add_headers(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let is_laxer = path == WORKER.0 && query.split('&').any(|parameter| parameter == WORKER.1);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(EMBEDDER_POLICY, HeaderValue::from_static("require-corp"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let policy = if is_laxer { &shared.worker_policy } else { &shared.content_security_policy };
    let policy = HeaderValue::from_str(policy).expect("host names are plain text");
    // What has a policy of its own keeps it.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    // Files change under the same name while developing, and packages have a cache of their own in the page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A file of the page.
pub(super) async fn asset(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let Some(asset) = shared.assets.get(uri.path()) else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    whole(&asset.path, asset.media_type).await
}

/// All of a file.
async fn whole(path: &std::path::Path, media_type: &'static str) -> Response {
    let (total, file) = match open(path).await {
        Ok(opened) => opened,
        Err(error) => return unreadable(path, &error),
    };
    let mut response = Response::new(stream(path.to_owned(), file, 0, total));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(total));
    response
}

/// Opens a file; its length comes with it.
async fn open(path: &std::path::Path) -> std::io::Result<(u64, File)> {
    let path = path.to_owned();
    let open = move || File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// A published package, whole or by range.
pub(super) async fn package(
    State(shared): State<Arc<Shared>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let digest = file.strip_suffix(".safetensors");
    let path = digest.and_then(|digest| lock(&shared.packages).get(digest).cloned());
    let (Some(path), Some(digest)) = (path, digest) else {
        return (StatusCode::NOT_FOUND, "there is no such package\n").into_response();
    };
    let (total, file) = match open(&path).await {
        Ok(opened) => opened,
        Err(error) => return unreadable(&path, &error),
    };
    let tag = format!("\"{digest}\"");
    let range = match requested_range(&headers, &tag) {
        None => Ok(None),
        Some(text) => byte_range(text, total).map(Some),
    };
    let Ok(range) = range else {
        let whole = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, whole).into_response();
    };
    let (begin, end) = range.unwrap_or((0, total));
    let mut response = Response::new(stream(path, file, begin, end - begin));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(end - begin));
    fields.insert(header::ETAG, HeaderValue::from_str(&tag).expect("digests are hexadecimal"));
    if range.is_some() {
        let value = format!("bytes {begin}-{}/{total}", end - 1);
        fields.insert(header::CONTENT_RANGE, HeaderValue::from_str(&value).expect("numbers are plain text"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// A file of a published ONNX form.
pub(super) async fn onnx(State(shared): State<Arc<Shared>>, Path((digest, file)): Path<(String, String)>) -> Response {
    let folder = lock(&shared.folders).get(&digest).cloned();
    let content = folder.as_ref().and_then(|folder| folder.files.get(&file));
    match content {
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
        Some(Content::Bytes(bytes)) => ([(header::CONTENT_TYPE, "application/json")], bytes.clone()).into_response(),
        Some(Content::File(path)) => whole(path, "application/octet-stream").await,
    }
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Response {
    // The client needs no path of this machine; the log does.
    tracing::error!("cannot read {}: {error}", path.display());
    (StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n").into_response()
}

/// The range that is asked for, unless it is of another version of the file.
fn requested_range<'a>(headers: &'a HeaderMap, tag: &str) -> Option<&'a str> {
    let of_this_version = headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == tag.as_bytes());
    headers.get(header::RANGE).filter(|_| of_this_version)?.to_str().ok()
}

/// The first byte and the one past the last, of `bytes=A-B`, `bytes=A-` or `bytes=-N` (RFC 9110, 14.1.2).
/// Fails for what lies outside the file, and for several ranges at once, which no page of ours asks for.
fn byte_range(text: &str, total: u64) -> Result<(u64, u64), ()> {
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(())?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| ());
    let (begin, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (total.saturating_sub(number(suffix)?), total),
        (first, "") => (number(first)?, total),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(total)),
    };
    if begin < end { Ok((begin, end)) } else { Err(()) }
}

/// The body of a file. While the socket takes one piece, the next is read. No thread waits for the socket: a client that
/// takes nothing holds two pieces, and nothing else.
fn stream(path: PathBuf, mut file: File, begin: u64, length: u64) -> Body {
    let first = move || file.seek(SeekFrom::Start(begin)).and_then(|_| read_piece(file, length));
    let reading = tokio::task::spawn_blocking(first);
    let pieces = futures_util::stream::try_unfold((reading, length), move |(reading, left)| {
        let path = path.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let read = reading.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let (file, piece) = read.inspect_err(|error| tracing::error!("cannot read {}: {error}", path.display()))?;
            let left = left - piece.len() as u64;
            let next = tokio::task::spawn_blocking(move || read_piece(file, left));
            Ok::<_, std::io::Error>(Some((piece, (next, left))))
        }
    });
    Body::from_stream(pieces)
}

/// The next piece of a file of which `left` bytes are still to be read.
fn read_piece(mut file: File, left: u64) -> std::io::Result<(File, Bytes)> {
    let length = (PIECE_BYTES as u64).min(left);
    let mut piece = Vec::with_capacity(length as usize);
    if file.by_ref().take(length).read_to_end(&mut piece)? as u64 == length {
        return Ok((file, piece.into()));
    }
    Err(std::io::Error::new(ErrorKind::UnexpectedEof, "it has become shorter since it was opened"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-3", Ok((0, 4))),
            ("bytes=4-", Ok((4, 10))),
            ("bytes=-3", Ok((7, 10))),
            ("bytes=-30", Ok((0, 10))),
            ("bytes=8-99", Ok((8, 10))),
            ("bytes=0-18446744073709551615", Ok((0, 10))),
            ("bytes=10-", Err(())),
            ("bytes=-0", Err(())),
            ("bytes=5-4", Err(())),
            ("bytes=", Err(())),
            ("bytes=a-b", Err(())),
            ("bytes=0-1,3-4", Err(())),
            ("lines=0-1", Err(())),
        ] {
            assert_eq!(byte_range(text, 10), expected, "{text}");
        }
        assert_eq!(byte_range("bytes=0-", 0), Err(()));
    }
}
