//! Headers of safetensors files, and packages.

use std::collections::HashMap;

use serde_json::Value;
use webnibble_common::package::{Header, Parsed, Part, read_weights};
use webnibble_common::safetensors::{RawHeader, RawParsed};
use webnibble_common::weights::WeightData;

use super::config::build;

/// Files larger than this are not made up for a header.
const MOST_BYTES: u64 = 1 << 16;

/// The input is the beginning of a file, and the JSON of a header.
pub(crate) fn safetensors_header(data: &[u8]) {
    for file in [data.to_vec(), framed(data)] {
        match RawHeader::parse(&file) {
            Ok(RawParsed::Header(header)) => assert!(header.data_start <= file.len() as u64),
            Ok(RawParsed::NeedMore { bytes }) => assert!(bytes > file.len(), "{bytes} bytes are there already"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// The input is a file; or the parts of one: an object with the header's entries in `planes` and the entries of its
/// metadata, which are JSON within strings in a file, then a byte 0 and the data.
pub(crate) fn package(data: &[u8]) {
    read(data);
    let (header, content) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    if let Ok(Value::Object(parts)) = serde_json::from_slice(header) {
        read(&assembled(parts, content.get(1..).unwrap_or_default()));
    }
}

/// A file of its parts, as long as its header says where that is little.
fn assembled(mut parts: serde_json::Map<String, Value>, content: &[u8]) -> Vec<u8> {
    let mut entries = match parts.remove("planes") {
        Some(Value::Object(planes)) => planes,
        _ => serde_json::Map::new(),
    };
    let texts = parts.into_iter().map(|(key, value)| (key, value.to_string().into()));
    entries.insert("__metadata__".into(), Value::Object(texts.collect()));
    let mut file = framed(Value::Object(entries).to_string().as_bytes());
    let total = match Header::parse(&file) {
        Ok(Parsed::Header(header)) => header.total_bytes.min(file.len() as u64 + MOST_BYTES) as usize,
        _ => file.len(),
    };
    file.extend_from_slice(content);
    file.resize(total, 0);
    file
}

/// A header's length and text, padded as packages have it.
fn framed(json: &[u8]) -> Vec<u8> {
    let mut text = json.to_vec();
    text.resize((json.len() + 8).next_multiple_of(16) - 8, b' ');
    [&(text.len() as u64).to_le_bytes()[..], &text].concat()
}

/// What the page and the host do with a package.
fn read(file: &[u8]) {
    let header = match Header::parse(file) {
        Ok(Parsed::Header(header)) => *header,
        Ok(Parsed::NeedMore { bytes }) => return assert!(bytes > file.len(), "{bytes} bytes are there already"),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    check_promises(&header);
    // Digests hardly ever fit what a fuzzer makes, so the bytes are also taken as they are.
    let _ = read_weights(&header, file);
    if header.total_bytes == file.len() as u64 {
        header.extras.keys().for_each(|name| drop(header.extra(name, file)));
        header.meta.tensors.keys().for_each(|name| read_weight(&header, name, file));
    }
    build(&header.meta.config, header.meta.sentence.as_ref());
}

/// Planes lie one after the other, each as long as its tensor's layout says.
fn check_promises(header: &Header) {
    let mut end = header.data_start;
    for plane in &header.planes {
        assert!(plane.begin == end && plane.end >= plane.begin, "{plane:?} after {end}");
        end = plane.end;
    }
    assert_eq!(end, header.total_bytes);
    let lengths: HashMap<_, _> = header.planes.iter().map(|p| ((&p.tensor, p.part), p.bytes())).collect();
    for name in header.meta.tensors.keys() {
        let of = |part| lengths.get(&(name, part)).copied().unwrap_or(0);
        if let Some(layout) = header.layout_of(name) {
            let expected = [layout.packed_bytes(), layout.scale_bytes(), layout.zero_bytes()].map(|n| n as u64);
            assert_eq!([of(Part::Packed), of(Part::Scale), of(Part::Zero)], expected, "{name}");
        }
    }
}

/// Every value of a weight.
fn read_weight(header: &Header, name: &str, file: &[u8]) {
    let plane = |part| match header.plane(name, part) {
        Some(plane) => &file[plane.begin as usize..plane.end as usize],
        None => &[][..],
    };
    let shape = &header.meta.tensors[name].shape;
    match header.weight(name, plane(Part::Packed).to_vec(), plane(Part::Scale), plane(Part::Zero)) {
        Ok(WeightData::Matrix(matrix)) => assert_eq!(matrix.dequantize().len(), shape[0] * shape[1]),
        Ok(WeightData::Vector(values)) => assert_eq!(values.len(), shape[0]),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
