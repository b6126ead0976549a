//! Loading a package: one streamed file, header first, then plane by plane into the backend's buffers.
//!
//! Bytes go from the source's chunks straight into the views that the backend gives (mapped GPU memory), never
//! through wasm memory. Each plane's SHA-256 is checked while the next ones are being fetched.

mod digests;
mod http;
mod source;

use std::collections::BTreeMap;

use webnibble_common::package::{Header, Parsed, Part};
use webnibble_common::wire::{ErrorCode, RemoteError};

use self::digests::Digests;
use self::http::HttpSource;
use self::source::{ByteSource, Reader, damaged};
use crate::error::error;
use crate::plane_sink::{PlaneSink, buffer};
use crate::stop::Stop;
use crate::sys;

/// Hashing copies a plane; fetching waits while more than this is being hashed.
const MAX_HASHING_BYTES: u64 = 64 << 20;

/// A package whose header was read, and whose data is on its way.
pub(crate) struct Package<S> {
    /// What the package holds.
    pub(crate) header: Header,
    reader: Reader<S>,
    stop: Stop,
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

impl Package<HttpSource> {
    /// Asks for the package and reads its header; `digest` is what the header's should be, where it is known.
    pub(crate) async fn open(url: &str, digest: Option<&str>, stop: &Stop) -> Result<Self, RemoteError> {
        let began_ms = sys::now_ms();
        let reader = Reader::new(HttpSource::open(url, stop).await?);
        Self::read(reader, digest, stop, began_ms).await
    }
}

impl<S: ByteSource> Package<S> {
    /// Reads the header.
    async fn read(
        mut reader: Reader<S>,
        digest: Option<&str>,
        stop: &Stop,
        began_ms: f64,
    ) -> Result<Self, RemoteError> {
        let mut bytes = Vec::new();
        let header = loop {
            match Header::parse(&bytes) {
                Ok(Parsed::Header(header)) => break *header,
                Ok(Parsed::NeedMore { bytes: wanted }) => bytes.extend(reader.read(wanted - bytes.len()).await?),
                Err(problem) => {
                    let message = format!("{}: {problem}", reader.source.place());
                    return Err(error(ErrorCode::BadPackage, message, NOT_A_PACKAGE));
                }
            }
        };
        check_identity(&header, &reader.source, digest)?;
        Ok(Self { header, reader, stop: stop.clone(), began_ms })
    }

    /// Streams every plane into `sink`; `progress` gets the bytes fetched so far.
    pub(crate) async fn load(self, sink: &mut impl PlaneSink, progress: impl Fn(u64)) -> Result<Fetched, RemoteError> {
        let Self { header, mut reader, stop, began_ms } = self;
        let mut extras = BTreeMap::new();
        let mut digests = Digests::new(reader.source.place());
        let mut hand_over_ms = 0.0;
        for plane in &header.planes {
            stop.check()?;
            let began = sys::now_ms();
            let extra = plane.part == Part::Extra;
            let view = if extra { buffer(plane)? } else { sink.begin_plane(plane)? };
            let begun = sys::now_ms();
            reader.fill(&view, &progress).await?;
            digests.start(plane, &view);
            let filled = sys::now_ms();
            if extra {
                // Planes are padded; the header knows the true length.
                let bytes = header.extras.get(&plane.tensor).map_or(view.length(), |bytes| *bytes as u32);
                extras.insert(plane.tensor.clone(), view.subarray(0, bytes).to_vec());
            } else {
                sink.finish_plane(plane, &view)?;
            }
            hand_over_ms += begun - began + sys::now_ms() - filled;
            digests.limit(MAX_HASHING_BYTES).await?;
        }
        reader.finish().await?;
        let fetch_ms = sys::now_ms() - began_ms;
        digests.limit(0).await?;
        Ok(Fetched { extras, fetch_ms, upload_ms: hand_over_ms + reader.copy_ms() })
    }
}

/// Compares digest and length with what the asker and the source say.
fn check_identity(header: &Header, source: &impl ByteSource, digest: Option<&str>) -> Result<(), RemoteError> {
    if let Some(expected) = digest.filter(|expected| *expected != header.digest) {
        let message = format!("{}: digest should be {expected}, found {}", source.place(), header.digest);
        let hint = "the file changed since it was asked for: ask again, or make the package again";
        return Err(error(ErrorCode::BadPackage, message, hint));
    }
    match source.length() {
        Some(length) => header.check_length(length).map_err(|problem| damaged(source.place(), problem)),
        None => Ok(()),
    }
}

const NOT_A_PACKAGE: &str = "packages are .safetensors files made by `webnibble quantize`";

#[cfg(test)]
mod tests;
