//! From the first bytes of a file to a [`Header`]. The bytes may come from anywhere: nothing in them is trusted.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::planes::{PlaneSpec, layout_of, planes_of};
use super::{FORMAT_VERSION, Header, PackageError, PackageMeta, Part, Plane, TensorMeta};
use crate::quant::Layout;
use crate::safetensors::{RawHeader, RawParsed, RawTensor};

/// What the first bytes of a package gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// The whole header. The data begins at [`Header::data_start`], inside or at the end of the bytes given.
    Header(Box<Header>),
    /// The header goes on: call again with at least this many bytes from the start of the file.
    NeedMore {
        /// Bytes from the start of the file.
        bytes: usize,
    },
}

impl Header {
    /// Reads the header from the first bytes of a file or stream. Eight bytes say how many there have to be.
    ///
    /// # Errors
    /// Everything that a header can say wrongly: lengths, JSON, version, and planes that are missing, of another type or
    /// shape than their format asks for, overlapping, or with gaps between them.
    pub fn parse(prefix: &[u8]) -> Result<Parsed, PackageError> {
        let raw = match RawHeader::parse(prefix)? {
            RawParsed::Header(raw) => raw,
            RawParsed::NeedMore { bytes } => return Ok(Parsed::NeedMore { bytes }),
        };
        let data_start = raw.data_start;
        let metadata = Metadata::from_raw(&raw.metadata)?;
        if !data_start.is_multiple_of(16) {
            return Err(PackageError::Alignment { found: data_start });
        }
        let planes = check_planes(&raw.tensors, &metadata, data_start)?;
        Ok(Parsed::Header(Box::new(Header {
            total_bytes: planes.last().map_or(data_start, |plane| plane.end),
            meta: metadata.meta,
            planes,
            extras: metadata.extras,
            data_start,
            digest: hex(&Sha256::digest(&prefix[..data_start as usize])),
        })))
    }

    /// Byte layout of a matrix; `None` for a vector, and for a name that the package does not have.
    pub fn layout_of(&self, tensor: &str) -> Option<Layout> {
        layout_of(self.tensor(tensor)?)
    }

    /// What the metadata says of a tensor.
    pub fn tensor(&self, tensor: &str) -> Option<&TensorMeta> {
        self.meta.tensors.get(tensor)
    }

    /// A plane of a tensor or extra.
    pub fn plane(&self, tensor: &str, part: Part) -> Option<&Plane> {
        self.planes.iter().find(|plane| plane.part == part && plane.tensor == tensor)
    }
}

struct Metadata {
    meta: PackageMeta,
    sha256: BTreeMap<String, String>,
    extras: BTreeMap<String, u64>,
}

impl Metadata {
    fn from_raw(raw: &BTreeMap<String, String>) -> Result<Self, PackageError> {
        #[derive(Deserialize)]
        struct VersionOnly {
            format_version: u32,
        }
        if !raw.contains_key("webnibble") {
            return Err(PackageError::NotAPackage);
        }
        // Before the rest, which another version may have changed.
        let VersionOnly { format_version: found } = entry(raw, "webnibble")?;
        if found != FORMAT_VERSION {
            return Err(PackageError::Version { expected: FORMAT_VERSION, found });
        }
        Ok(Self { meta: entry(raw, "webnibble")?, sha256: entry(raw, "sha256")?, extras: entry(raw, "extras")? })
    }

    /// Every plane that there has to be, by its name.
    fn planes(&self) -> Result<BTreeMap<String, PlaneSpec>, PackageError> {
        let mut planes = BTreeMap::new();
        let mut insert = |spec: PlaneSpec| match planes.insert(spec.name(), spec) {
            Some(before) => Err(PackageError::Duplicate { plane: before.name() }),
            None => Ok(()),
        };
        for (name, tensor) in &self.meta.tensors {
            planes_of(name, tensor)?.into_iter().try_for_each(&mut insert)?;
        }
        for (name, bytes) in &self.extras {
            // Half the address space is more than any file here.
            let bytes = usize::try_from(*bytes).ok().filter(|bytes| *bytes <= usize::MAX / 2).ok_or_else(|| {
                let message = format!("extra `{name}` of {bytes} bytes does not fit the memory of this system");
                PackageError::Metadata { key: "extras", message }
            })?;
            insert(PlaneSpec::extra(name, bytes))?;
        }
        Ok(planes)
    }
}

fn entry<T: DeserializeOwned>(raw: &BTreeMap<String, String>, key: &'static str) -> Result<T, PackageError> {
    let wrong = |message| PackageError::Metadata { key, message };
    let text = raw.get(key).ok_or_else(|| wrong("it is missing".to_owned()))?;
    serde_json::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// Compares the planes of the file with those that the metadata calls for, and puts them in file order.
fn check_planes(
    tensors: &BTreeMap<String, RawTensor>,
    metadata: &Metadata,
    data_start: u64,
) -> Result<Vec<Plane>, PackageError> {
    let specs = metadata.planes()?;
    if let Some(plane) = tensors.keys().find(|name| !specs.contains_key(*name)) {
        return Err(PackageError::Unexpected { plane: plane.clone() });
    }
    let mut planes = Vec::with_capacity(specs.len());
    for (name, spec) in specs {
        let Some(raw) = tensors.get(&name) else {
            return Err(PackageError::Missing { plane: name, expected: spec.to_string(), found: some_names(tensors) });
        };
        let sha256 = metadata.sha256.get(&name).ok_or_else(|| PackageError::Metadata {
            key: "sha256",
            message: format!("plane `{name}` has no digest"),
        })?;
        planes.push((check_plane(&name, &spec, raw)?, spec, sha256.clone()));
    }
    planes.sort_by_key(|((begin, end), ..)| (*begin, *end));
    let mut expected = 0;
    planes
        .into_iter()
        .map(|((begin, end), spec, sha256)| {
            if begin != expected {
                return Err(PackageError::Place { plane: spec.name(), expected, found: begin });
            }
            expected = end;
            let range = || PackageError::Range { plane: spec.name(), expected: spec.bytes(), begin, end };
            Ok(Plane {
                begin: begin.checked_add(data_start).ok_or_else(range)?,
                end: end.checked_add(data_start).ok_or_else(range)?,
                part: spec.part,
                tensor: spec.tensor,
                sha256,
            })
        })
        .collect()
}

/// The plane's range in the data.
fn check_plane(name: &str, spec: &PlaneSpec, raw: &RawTensor) -> Result<(u64, u64), PackageError> {
    let same_shape = raw.shape.iter().copied().eq(spec.shape.iter().map(|extent| *extent as u64));
    if raw.dtype != spec.dtype.name() || !same_shape {
        return Err(PackageError::Mismatch {
            plane: name.to_owned(),
            expected: spec.to_string(),
            found: format!("{} {:?}", raw.dtype, raw.shape),
        });
    }
    let (begin, end) = raw.data_offsets;
    if end.checked_sub(begin) != Some(spec.bytes()) {
        return Err(PackageError::Range { plane: name.to_owned(), expected: spec.bytes(), begin, end });
    }
    Ok((begin, end))
}

/// A few names for a message.
fn some_names(tensors: &BTreeMap<String, RawTensor>) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = tensors.keys().take(SHOWN).map(String::as_str).collect();
    match tensors.len() {
        0 => "no planes at all".to_owned(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
