//! From the first bytes of a file to a [`Header`]. The bytes may come from anywhere: nothing in them is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::planes::{PlaneSpec, layout_of, planes_of};
use super::{FORMAT_VERSION, Header, PackageError, PackageMeta, Part, Plane, TensorMeta};
use crate::quant::Layout;

/// Largest header that is taken, in bytes. A model of a thousand tensors needs half a megabyte.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

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
        let Some(length) = prefix.first_chunk::<8>() else { return Ok(Parsed::NeedMore { bytes: 8 }) };
        let length = u64::from_le_bytes(*length);
        if !(2..=MAX_HEADER_BYTES).contains(&length) {
            return Err(PackageError::HeaderLength { limit: MAX_HEADER_BYTES, found: length });
        }
        // At most MAX_HEADER_BYTES + 8: fits a usize of 32 bits.
        let data_start = 8 + length as usize;
        let Some(header) = prefix.get(..data_start) else { return Ok(Parsed::NeedMore { bytes: data_start }) };
        let raw: RawHeader =
            serde_json::from_slice(&header[8..]).map_err(|e| PackageError::Json { message: e.to_string() })?;
        if !data_start.is_multiple_of(16) {
            return Err(PackageError::Alignment { found: data_start as u64 });
        }
        let metadata = Metadata::from_raw(&raw.metadata)?;
        let planes = check_planes(&raw.tensors, &metadata, data_start as u64)?;
        Ok(Parsed::Header(Box::new(Header {
            total_bytes: planes.last().map_or(data_start as u64, |plane| plane.end),
            meta: metadata.meta,
            planes,
            extras: metadata.extras,
            data_start: data_start as u64,
            digest: hex(&Sha256::digest(header)),
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

/// The header's JSON as it stands.
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, RawTensor>,
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { metadata: BTreeMap::new(), tensors: BTreeMap::new() };
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    // Which of two would count depends on the reader: refuse both.
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("two entries are called `{name}`")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        header.tensors.insert(name, map.next_value()?);
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
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
