//! Writing packages.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use sha2::{Digest, Sha256};

use super::parse::hex;
use super::planes::{PlaneSpec, layout_of, padded_len, planes_of};
use super::{Header, PackageError, PackageMeta, Parsed, Part};
use crate::weights::{WeightData, WeightMap};

/// Why a package was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Metadata and weights do not belong together.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The sink failed.
    #[error("writing the package: {0}")]
    Io(#[from] io::Error),
}

/// Writes a package: extras first, so that a page has its tokenizer while weights still come, then each tensor's planes
/// together. The same input gives the same bytes.
///
/// # Errors
/// When a tensor of the metadata has no weight, or one of another shape or format; when a weight is not in the metadata;
/// when two planes would have the same name.
pub fn write(
    meta: &PackageMeta,
    weights: &WeightMap,
    extras: &[(&str, &[u8])],
    sink: &mut impl Write,
) -> Result<Header, WriteError> {
    check_weights(meta, weights)?;
    let planes = collect_planes(meta, weights, extras)?;
    let header = header_bytes(meta, extras, &planes)?;
    let Parsed::Header(parsed) = Header::parse(&header)? else {
        unreachable!("a header that was written whole is read whole");
    };
    sink.write_all(&header)?;
    for (_, source) in &planes {
        sink.write_all(&source.bytes())?;
    }
    sink.flush()?;
    Ok(*parsed)
}

/// Where a plane's bytes come from.
enum Source<'a> {
    Weight(&'a WeightData, Part),
    Extra(&'a [u8]),
}

impl Source<'_> {
    /// The bytes with their padding. Made when asked for, so that a model is not in memory twice.
    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Source::Weight(WeightData::Matrix(tensor), Part::Scale) => tensor.scale_plane().into(),
            Source::Weight(WeightData::Matrix(tensor), Part::Zero) => tensor.zero_plane().into(),
            Source::Weight(WeightData::Matrix(tensor), _) => (&tensor.packed).into(),
            Source::Weight(WeightData::Vector(values), _) => {
                let mut bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                bytes.resize(padded_len(values.len()) * 4, 0);
                bytes.into()
            }
            Source::Extra(bytes) => {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(16), 0);
                padded.into()
            }
        }
    }
}

fn check_weights(meta: &PackageMeta, weights: &WeightMap) -> Result<(), PackageError> {
    if let Some(name) = weights.keys().find(|name| !meta.tensors.contains_key(*name)) {
        return Err(PackageError::Unexpected { plane: name.clone() });
    }
    for (name, tensor) in &meta.tensors {
        let expected = format!("{} {:?}", tensor.format, tensor.shape);
        let Some(weight) = weights.get(name) else {
            let found = format!("{} weights under other names", weights.len());
            return Err(PackageError::Missing { plane: name.clone(), expected, found });
        };
        let (fits, found) = match weight {
            WeightData::Matrix(q) => (
                layout_of(tensor) == Some(q.layout),
                format!("{} {:?}", q.layout.format, [q.layout.rows, q.layout.cols]),
            ),
            WeightData::Vector(values) => (tensor.shape == [values.len()], format!("f32 {:?}", [values.len()])),
        };
        if !fits {
            return Err(PackageError::Mismatch { plane: name.clone(), expected, found });
        }
    }
    Ok(())
}

fn collect_planes<'a>(
    meta: &PackageMeta,
    weights: &'a WeightMap,
    extras: &[(&str, &'a [u8])],
) -> Result<Vec<(PlaneSpec, Source<'a>)>, PackageError> {
    let mut planes: Vec<_> =
        extras.iter().map(|(name, bytes)| (PlaneSpec::extra(name, bytes.len()), Source::Extra(bytes))).collect();
    for (name, tensor) in &meta.tensors {
        let weight = &weights[name];
        planes.extend(planes_of(name, tensor)?.into_iter().map(|spec| {
            let part = spec.part;
            (spec, Source::Weight(weight, part))
        }));
    }
    let mut names = BTreeSet::new();
    match planes.iter().map(|(spec, _)| spec.name()).find(|name| !names.insert(name.clone())) {
        Some(plane) => Err(PackageError::Duplicate { plane }),
        None => Ok(planes),
    }
}

/// The length and the header, padded with spaces to a multiple of 16.
fn header_bytes(
    meta: &PackageMeta,
    extras: &[(&str, &[u8])],
    planes: &[(PlaneSpec, Source<'_>)],
) -> Result<Vec<u8>, PackageError> {
    let digests: BTreeMap<String, String> =
        planes.iter().map(|(spec, source)| (spec.name(), hex(&Sha256::digest(source.bytes())))).collect();
    let lengths: BTreeMap<&str, u64> = extras.iter().map(|(name, bytes)| (*name, bytes.len() as u64)).collect();
    let metadata = BTreeMap::from([
        ("webnibble", to_json("webnibble", meta)?),
        ("sha256", to_json("sha256", &digests)?),
        ("extras", to_json("extras", &lengths)?),
    ]);
    let mut bytes = vec![0; 8];
    bytes.extend(to_json("__metadata__", &RawHeader { metadata: &metadata, planes })?.into_bytes());
    bytes.resize(bytes.len().next_multiple_of(16), b' ');
    let length = bytes.len() as u64 - 8;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

fn to_json(key: &'static str, value: &impl Serialize) -> Result<String, PackageError> {
    serde_json::to_string(value).map_err(|error| PackageError::Metadata { key, message: error.to_string() })
}

/// The header as safetensors has it: entries in the order of the data.
struct RawHeader<'a> {
    metadata: &'a BTreeMap<&'static str, String>,
    planes: &'a [(PlaneSpec, Source<'a>)],
}

#[derive(Serialize)]
struct RawTensor<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

impl Serialize for RawHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.planes.len() + 1))?;
        map.serialize_entry("__metadata__", self.metadata)?;
        let mut begin = 0;
        for (spec, _) in self.planes {
            let end = begin + spec.bytes();
            let tensor = RawTensor { dtype: spec.dtype.name(), shape: &spec.shape, data_offsets: (begin, end) };
            map.serialize_entry(&spec.name(), &tensor)?;
            begin = end;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;
    use crate::quant::{Bits, Quantizer};

    fn error(change: impl FnOnce(&mut PackageMeta, &mut WeightMap)) -> String {
        let (mut meta, mut weights) = sample();
        change(&mut meta, &mut weights);
        write(&meta, &weights, &[], &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn metadata_and_weights_belong_together() {
        assert_eq!(
            error(|_, weights| drop(weights.remove("bias"))),
            "plane `bias` is missing: expected f32 [5], found only 4 weights under other names"
        );
        assert_eq!(
            error(|meta, _| drop(meta.tensors.remove("bias"))),
            "plane `bias` belongs to no tensor and no extra of the metadata"
        );
        assert_eq!(
            error(|_, weights| {
                let other = Quantizer::new(Bits::B8).quantize(&[1.0; 6], &[2, 3]).unwrap();
                weights.insert("table".into(), WeightData::Matrix(other));
            }),
            "plane `table` should be f16 [3, 9], found q8-sym-g128 [2, 3]"
        );
        assert_eq!(
            error(|_, weights| drop(weights.insert("bias".into(), WeightData::Vector(vec![0.0; 4])))),
            "plane `bias` should be f32 [5], found f32 [4]"
        );
    }

    #[test]
    fn plane_names_must_differ() {
        let (mut meta, mut weights) = sample();
        meta.tensors.insert("four.scale".into(), meta.tensors["bias"].clone());
        weights.insert("four.scale".into(), weights["bias"].clone());
        let error = write(&meta, &weights, &[], &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "two planes are called `four.scale`");
        let (meta, weights) = sample();
        let error = write(&meta, &weights, &[("bias", b"x")], &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "two planes are called `bias`");
    }

    #[test]
    fn a_failing_sink_is_an_io_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (meta, weights) = sample();
        assert!(matches!(write(&meta, &weights, &[], &mut Full), Err(WriteError::Io(_))));
    }
}
