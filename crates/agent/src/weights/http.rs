//! A package over HTTP: one streamed fetch, taken up again where it breaks.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{ReadableStreamDefaultReader, Response, ResponseType};
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::source::ByteSource;
use crate::error::error;
use crate::stop::Stop;
use crate::sys::{self, ReadResult, object};
use crate::tasks::sleep;

/// A broken stream is taken up again so often.
const MAX_RESUMES: u32 = 3;
/// Twice as long each time.
const FIRST_RESUME_DELAY_MS: f64 = 200.0;

/// A file at an address, on its way.
pub(crate) struct HttpSource {
    url: String,
    stop: Stop,
    body: Option<ReadableStreamDefaultReader>,
    length: Option<u64>,
    etag: Option<String>,
    /// Bytes that were handed out.
    given: u64,
    /// Bytes to pass over: they were handed out before the stream broke.
    skip: u64,
    resumes: u32,
    /// What was given when the stream was last taken up.
    resumed_at: Option<u64>,
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.close();
    }
}

impl HttpSource {
    /// Sends the request and waits for its headers.
    ///
    /// # Errors
    /// `fetch` when there is no answer, or one that is no success; the reason of `stop` when that is why.
    pub(crate) async fn open(url: &str, stop: &Stop) -> Result<Self, RemoteError> {
        let mut source = Self {
            url: url.to_owned(),
            stop: stop.clone(),
            body: None,
            length: None,
            etag: None,
            given: 0,
            skip: 0,
            resumes: 0,
            resumed_at: None,
        };
        let response = source.fetch(&[]).await.or_else(|cause| source.unreachable(&cause))?;
        if !response.ok() {
            let status = format!("HTTP status {} {}", response.status(), response.status_text());
            let message = format!("{url}: {}", status.trim_end());
            return Err(error(ErrorCode::Fetch, message, "check that the package lies at that address"));
        }
        source.etag = header(&response, "etag");
        source.length = length_of(&response);
        source.take(&response);
        Ok(source)
    }

    /// Asks for the file. What went wrong comes back as the browser says it.
    async fn fetch(&self, headers: &[(&str, String)]) -> Result<Response, String> {
        let headers = object(headers.iter().map(|(name, value)| (*name, value.into())));
        let options = object([("headers", headers.into()), ("signal", self.stop.signal().into())]);
        sys::fetch(&self.url, &options).await.map_err(|thrown| message_of(&thrown))
    }

    fn take(&mut self, response: &Response) {
        // Safari and old Firefox give no body for an empty response.
        self.body = response.body().map(|body| body.get_reader().unchecked_into());
    }

    /// The next bytes that the browser has; `None` at the end.
    async fn read(&self) -> Result<Option<Uint8Array>, String> {
        let Some(body) = &self.body else { return Ok(None) };
        let read = JsFuture::from(body.read()).await.map_err(|thrown| message_of(&thrown))?;
        let read: ReadResult = read.unchecked_into();
        match (read.done(), self.length) {
            (false, _) => Ok(Some(read.value())),
            (true, Some(length)) if self.given < length => {
                Err(format!("the connection closed after {} of {length} bytes", self.given))
            }
            (true, _) => Ok(None),
        }
    }

    /// What was not handed out yet of some bytes that came.
    fn unseen(&mut self, chunk: Uint8Array) -> Option<Uint8Array> {
        let length = chunk.length();
        // No more than the length, which has 32 bits.
        let skipped = self.skip.min(length.into()) as u32;
        self.skip -= u64::from(skipped);
        match skipped {
            0 => Some(chunk).filter(|_| length > 0),
            _ => (skipped < length).then(|| chunk.subarray(skipped, length)),
        }
    }

    /// Asks for the rest of the file after the stream broke with `cause`. What comes is checked by digests.
    async fn resume(&mut self, mut cause: String) -> Result<(), RemoteError> {
        loop {
            self.stop.check()?;
            if self.resumes == MAX_RESUMES {
                let broken = format!("the stream broke after {} bytes: {cause}", self.given);
                return self.unreachable(&format!("{broken} (resumed {MAX_RESUMES} times)"));
            }
            sleep(FIRST_RESUME_DELAY_MS * f64::from(1 << self.resumes)).await;
            self.resumes += 1;
            match self.take_up().await {
                Ok(()) => return Ok(()),
                Err(again) => cause = again,
            }
        }
    }

    /// Takes the stream up where it broke: by a range, or by the whole file where the last range brought nothing.
    async fn take_up(&mut self) -> Result<(), String> {
        let mut headers = Vec::new();
        if self.given > 0 && self.resumed_at != Some(self.given) {
            // Browsers ask for ranges without an encoding, so both sides count the same bytes.
            headers.push(("Range", format!("bytes={}-", self.given)));
            let strong = self.etag.clone().filter(|etag| !etag.starts_with("W/"));
            headers.extend(strong.map(|etag| ("If-Range", etag)));
        }
        self.resumed_at = Some(self.given);
        let response = self.fetch(&headers).await?;
        self.close();
        self.take(&response);
        self.skip = self.bytes_to_skip(&response).ok_or_else(|| {
            self.close();
            format!("the server does not resume (status {})", response.status())
        })?;
        Ok(())
    }

    /// Bytes of a response that were handed out before; `None` if it is of no use.
    fn bytes_to_skip(&self, response: &Response) -> Option<u64> {
        match response.status() {
            // The whole file once more: from a server without ranges, or one that encodes what it sends.
            200 => Some(self.given),
            206 if header(response, "content-encoding").is_none() => {
                // Another origin need not show where a part begins: then it is as asked for.
                let begins = match header(response, "content-range") {
                    Some(range) => range.starts_with(&format!("bytes {}-", self.given)),
                    None => response.type_() == ResponseType::Cors,
                };
                begins.then_some(0)
            }
            _ => None,
        }
    }

    /// Closes the connection; harmless when it is closed already.
    fn close(&mut self) {
        let Some(body) = self.body.take() else { return };
        spawn_local(async move {
            // It only says that the connection closed, or had broken.
            let _ = JsFuture::from(body.cancel()).await;
        });
    }

    /// The error that nothing comes from there: that of the request where it was stopped.
    fn unreachable<T>(&self, cause: &str) -> Result<T, RemoteError> {
        self.stop.check()?;
        let hint = "check that the server runs, allows this page's origin (CORS), and that the page's CSP allows it";
        Err(error(ErrorCode::Fetch, format!("{}: {cause}", self.url), hint))
    }
}

impl ByteSource for HttpSource {
    fn place(&self) -> &str {
        &self.url
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    async fn next(&mut self) -> Result<Option<Uint8Array>, RemoteError> {
        loop {
            match self.read().await {
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) => {
                    if let Some(chunk) = self.unseen(chunk) {
                        self.given += u64::from(chunk.length());
                        return Ok(Some(chunk));
                    }
                }
                Err(cause) => self.resume(cause).await?,
            }
        }
    }
}

/// Bytes of the body as the server says, where that counts the file's.
fn length_of(response: &Response) -> Option<u64> {
    // With a content encoding the length counts encoded bytes, and another origin shows the length but not the encoding.
    let encoded = response.type_() == ResponseType::Cors || header(response, "content-encoding").is_some();
    header(response, "content-length").filter(|_| !encoded)?.parse().ok()
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).ok().flatten()
}

fn message_of(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => crate::error::describe(thrown),
    }
}
