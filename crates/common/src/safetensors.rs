//! The header of a safetensors file, as it stands: `[length u64 LE][JSON]`, then the tensors' bytes.
//!
//! Packages and the checkpoints they are made of are such files. The bytes may come from anywhere, so this module bounds
//! lengths and refuses what is not a header; what the entries say is for the caller to check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::stand_in::StandIn;

/// Largest header that is taken, in bytes. A model of a thousand tensors needs a tenth of a megabyte.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

/// The entries of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawHeader {
    /// `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, RawTensor>,
    /// Where the data begins, counted from the start of the file.
    pub data_start: u64,
}

/// An entry of a header: nothing in it has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RawTensor {
    /// Element type, for example `F32`.
    pub dtype: String,
    /// Dimensions, outermost first.
    pub shape: Vec<u64>,
    /// First byte and one past the last, counted from the start of the data.
    pub data_offsets: (u64, u64),
}

impl RawTensor {
    /// Number of elements; `None` where nothing could hold as many.
    pub fn elements(&self) -> Option<u64> {
        // A dimension of 0 makes any other one possible, so what overflows first may still be nothing.
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1, |all: u64, extent| all.checked_mul(*extent))
    }
}

/// What the first bytes of a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawParsed {
    /// The whole header.
    Header(RawHeader),
    /// The header goes on: call again with at least this many bytes from the start of the file.
    NeedMore {
        /// Bytes from the start of the file.
        bytes: usize,
    },
}

/// Why bytes are not a safetensors header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The bytes are those of something else that took the file's place.
    #[error("{0}")]
    StandIn(StandIn),
    /// The length before the header cannot be one.
    #[error("the header should have 2 to {limit} bytes, its length says {found}: this is not a safetensors file")]
    Length {
        /// The largest that is taken.
        limit: u64,
        /// What the first eight bytes say.
        found: u64,
    },
    /// The header is not an object of tensors.
    #[error("the header should be safetensors JSON: {message}")]
    Json {
        /// What the parser says.
        message: String,
    },
}

impl RawHeader {
    /// Reads the header from the first bytes of a file or stream. Eight bytes say how many there have to be.
    pub fn parse(prefix: &[u8]) -> Result<RawParsed, HeaderError> {
        let Some(length) = prefix.first_chunk::<8>() else { return Ok(RawParsed::NeedMore { bytes: 8 }) };
        let length = u64::from_le_bytes(*length);
        if let Some(what) = StandIn::of(prefix) {
            return Err(HeaderError::StandIn(what));
        }
        if !(2..=MAX_HEADER_BYTES).contains(&length) {
            return Err(HeaderError::Length { limit: MAX_HEADER_BYTES, found: length });
        }
        // At most MAX_HEADER_BYTES + 8: fits a usize of 32 bits.
        let data_start = 8 + length as usize;
        let Some(header) = prefix.get(8..data_start) else { return Ok(RawParsed::NeedMore { bytes: data_start }) };
        let entries: Entries =
            serde_json::from_slice(header).map_err(|error| HeaderError::Json { message: error.to_string() })?;
        Ok(RawParsed::Header(RawHeader {
            metadata: entries.metadata,
            tensors: entries.tensors,
            data_start: data_start as u64,
        }))
    }
}

struct Entries {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, RawTensor>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries { metadata: BTreeMap::new(), tensors: BTreeMap::new() };
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    // Which of two would count depends on the reader: refuse both.
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("two entries are called `{name}`")));
                    }
                    if name == "__metadata__" {
                        entries.metadata = map.next_value()?;
                    } else {
                        entries.tensors.insert(name, map.next_value()?);
                    }
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(json: &str) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
    }

    #[test]
    fn entries_are_read_as_they_stand() {
        let file =
            framed(r#"{"__metadata__": {"format": "pt"}, "w": {"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#);
        let Ok(RawParsed::Header(header)) = RawHeader::parse(&file) else { panic!("a whole header") };
        assert_eq!(header.metadata["format"], "pt");
        let expected = RawTensor { dtype: "BF16".into(), shape: vec![2, 3], data_offsets: (0, 12) };
        assert_eq!((&header.tensors["w"], header.data_start), (&expected, file.len() as u64));
    }

    #[test]
    fn shapes_whose_product_overflows_have_no_number_of_elements() {
        let elements =
            |shape: &[u64]| RawTensor { dtype: "F32".into(), shape: shape.to_vec(), data_offsets: (0, 0) }.elements();
        assert_eq!(elements(&[]), Some(1));
        assert_eq!(elements(&[2, 3]), Some(6));
        assert_eq!(elements(&[u64::MAX, u64::MAX, 0]), Some(0));
        assert_eq!(elements(&[1 << 32, 1 << 32]), None);
    }

    #[test]
    fn what_took_the_files_place_is_named() {
        for (bytes, expected) in
            [(&b"version https://git-lfs"[..], StandIn::LfsPointer), (b"<!DOCTYPE html>", StandIn::HtmlPage)]
        {
            assert_eq!(RawHeader::parse(bytes), Err(HeaderError::StandIn(expected)));
        }
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let entry = r#""a": {"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
        let error = RawHeader::parse(&framed(&format!("{{{entry}, {entry}}}"))).unwrap_err();
        assert!(error.to_string().contains("two entries are called `a`"), "{error}");
    }

    #[test]
    fn entries_that_are_no_tensors_are_refused() {
        for json in ["[1, 2]", "{\"a\": \u{7}}", r#"{"a": {"dtype": 1}}"#, r#"{"__metadata__": {"a": 1}}"#] {
            assert!(matches!(RawHeader::parse(&framed(json)), Err(HeaderError::Json { .. })), "{json}");
        }
    }
}
