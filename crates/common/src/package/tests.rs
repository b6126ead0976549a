//! Packages there and back, read by the `safetensors` crate, and damaged in every way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::graph::Pooling;
use crate::quant::{ActivationScale, Bits, Granularity, Quantizer, Scheme};
use crate::safetensors::HeaderError;
use crate::weights::{WeightData, WeightMap};

/// One tensor of each kind; 35 and 9 columns are padded.
pub(super) fn sample() -> (PackageMeta, WeightMap) {
    let values = |count: usize| -> Vec<f32> { (0..count).map(|i| (i as f32 * 0.7).sin()).collect() };
    let four = Format { bits: Bits::B4, scheme: Scheme::Asymmetric, granularity: Granularity::Group(16) };
    let two = Format { bits: Bits::B2, scheme: Scheme::Symmetric, granularity: Granularity::Channel };
    let matrices = [
        ("four", Role::Attention, four, [5, 35]),
        ("two", Role::Linear, two, [3, 64]),
        ("table", Role::Embedding, Format::F16, [3, 9]),
        ("exact", Role::Linear, Format::F32, [2, 3]),
    ];
    let mut weights = WeightMap::from([("bias".to_owned(), WeightData::Vector(values(5)))]);
    let vector = TensorMeta { shape: vec![5], role: Role::Vector, format: Format::F32 };
    let mut tensors = BTreeMap::from([("bias".to_owned(), vector)]);
    for (name, role, format, shape) in matrices {
        let tensor = Quantizer::for_format(format).quantize(&values(shape[0] * shape[1]), &shape).unwrap();
        weights.insert(name.to_owned(), WeightData::Matrix(tensor));
        tensors.insert(name.to_owned(), TensorMeta { shape: shape.to_vec(), role, format });
    }
    let meta = PackageMeta {
        format_version: FORMAT_VERSION,
        name: "sample \"quoted\" – ünïcode".into(),
        family: "bert".into(),
        parameters: 417,
        config: json!({"hidden_size": 5, "nested": {"a": [1, 2.5, null]}}),
        sentence: Some(SentenceConfig::new(Pooling::Mean, true, Some(256))),
        generation_config: None,
        preprocessor_config: None,
        model_max_length: None,
        tensors,
        quantization: QuantizationMeta {
            bits: 4,
            scheme: Scheme::Asymmetric,
            granularity: Granularity::Group(16),
            mixed_precision: true,
            attention_bits: 8,
            embedding_bits: 16,
        },
        activations: None,
    };
    (meta, weights)
}

const TOKENIZER_BYTES: &[u8] = b"{\"model\": 1}";

fn sample_file() -> Vec<u8> {
    let (meta, weights) = sample();
    let mut file = Vec::new();
    write(&meta, &weights, &[(TOKENIZER, TOKENIZER_BYTES), ("empty", b"")], &mut file).unwrap();
    file
}

fn header_of(file: &[u8]) -> Header {
    match Header::parse(file).unwrap() {
        Parsed::Header(header) => *header,
        Parsed::NeedMore { bytes } => panic!("{bytes} bytes are needed of {}", file.len()),
    }
}

/// The sample with its header changed; the data follows as it was.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let file = sample_file();
    let start = header_of(&file).data_start as usize;
    let mut header: Value = serde_json::from_slice(&file[8..start]).unwrap();
    change(&mut header);
    with_text(&header.to_string(), &file[start..])
}

fn with_text(header: &str, data: &[u8]) -> Vec<u8> {
    let mut text = header.to_owned();
    while !(text.len() + 8).is_multiple_of(16) {
        text.push(' ');
    }
    [&(text.len() as u64).to_le_bytes(), text.as_bytes(), data].concat()
}

/// Changes an entry of `__metadata__`, which is JSON in a string.
fn change_metadata(header: &mut Value, key: &str, change: impl FnOnce(&mut Value)) {
    let text = header["__metadata__"][key].as_str().unwrap();
    let mut value: Value = serde_json::from_str(text).unwrap();
    change(&mut value);
    header["__metadata__"][key] = Value::String(value.to_string());
}

fn parse_error(change: impl FnOnce(&mut Value)) -> String {
    Header::parse(&with_header(change)).unwrap_err().to_string()
}

#[test]
fn packages_round_trip() {
    let file = sample_file();
    let header = header_of(&file);
    let (meta, weights) = sample();
    assert_eq!(header.meta, meta);
    assert_eq!(read_weights(&header, &file).unwrap(), weights);
    assert_eq!(header.extra(TOKENIZER, &file).unwrap(), Some(TOKENIZER_BYTES));
    assert_eq!(header.extra("empty", &file).unwrap(), Some(&[][..]));
    assert_eq!(header.extra("absent", &file).unwrap(), None);
    assert_eq!(header.total_bytes, file.len() as u64);
    assert_eq!(sample_file(), file, "the same input gives the same bytes");
}

#[test]
fn activations_are_kept_and_may_be_missing() {
    let (mut meta, weights) = sample();
    let scale = |scale, zero_point| ActivationScale { scale, zero_point, shifts: BTreeMap::new() };
    let input = ActivationScale { shifts: BTreeMap::from([(34, 3)]), ..scale(0.1, -128) };
    let linears = BTreeMap::from([("four".to_owned(), LinearActivations { input, output: scale(1e-3, 127) })]);
    meta.activations = Some(Activations { source: "built-in sample".into(), samples: 72, linears });
    let mut file = Vec::new();
    write(&meta, &weights, &[], &mut file).unwrap();
    assert_eq!(header_of(&file).meta, meta);
    // Packages of before have no such field.
    let file = sample_file();
    assert!(!String::from_utf8_lossy(&file[..header_of(&file).data_start as usize]).contains("activations"));
    assert_eq!(header_of(&file).meta.activations, None);
}

#[test]
fn planes_are_gapless_aligned_and_in_order() {
    let header = header_of(&sample_file());
    let mut expected = header.data_start;
    for plane in &header.planes {
        assert_eq!(plane.begin, expected, "{plane:?}");
        assert_eq!(plane.begin % 16, 0, "{plane:?}");
        expected = plane.end;
    }
    assert_eq!(expected, header.total_bytes);
    let names: Vec<String> = header.planes.iter().map(Plane::name).collect();
    let tensors = ["bias", "exact", "four", "four.scale", "four.zero", "table", "two", "two.scale"];
    assert_eq!(names, [&["tokenizer.json", "empty"][..], &tensors].concat());
    assert_eq!(
        header.layout_of("four").unwrap().packed_bytes() as u64,
        header.plane("four", Part::Packed).unwrap().bytes()
    );
    assert_eq!((header.layout_of("bias"), header.layout_of("absent")), (None, None));
}

#[test]
fn the_header_is_read_from_a_stream() {
    let file = sample_file();
    let header = header_of(&file);
    let start = header.data_start as usize;
    assert_eq!(Header::parse(&[]).unwrap(), Parsed::NeedMore { bytes: 8 });
    assert_eq!(Header::parse(&file[..7]).unwrap(), Parsed::NeedMore { bytes: 8 });
    assert_eq!(Header::parse(&file[..8]).unwrap(), Parsed::NeedMore { bytes: start });
    assert_eq!(Header::parse(&file[..start - 1]).unwrap(), Parsed::NeedMore { bytes: start });
    assert_eq!(header_of(&file[..start]), header);
}

#[test]
fn the_safetensors_crate_reads_packages() {
    let file = sample_file();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let view = tensors.tensor("four").unwrap();
    assert_eq!((view.dtype(), view.shape()), (safetensors::Dtype::U8, &[5, 32][..]));
    assert_eq!(tensors.tensor("four.scale").unwrap().dtype(), safetensors::Dtype::F16);
    assert_eq!(tensors.tensor("four.zero").unwrap().shape(), [16]);
    assert_eq!(tensors.tensor("table").unwrap().shape(), [3, 16]);
    let (_, weights) = sample();
    let (WeightData::Matrix(four), WeightData::Vector(bias)) = (&weights["four"], &weights["bias"]) else {
        panic!("the sample has a matrix and a vector")
    };
    assert_eq!(view.data(), four.packed);
    let stored = tensors.tensor("bias").unwrap();
    assert_eq!((stored.dtype(), stored.shape()), (safetensors::Dtype::F32, &[8][..]));
    let expected: Vec<u8> = bias.iter().flat_map(|v| v.to_le_bytes()).chain([0; 12]).collect();
    assert_eq!(stored.data(), expected);
}

#[test]
fn lengths_that_lie_are_refused() {
    let file = sample_file();
    for length in [0, 1, MAX_HEADER_BYTES + 1, u64::MAX] {
        let lying = [&length.to_le_bytes()[..], &file[8..]].concat();
        let expected = PackageError::Header(HeaderError::Length { limit: MAX_HEADER_BYTES, found: length });
        assert_eq!(Header::parse(&lying), Err(expected));
    }
    let start = header_of(&file).data_start;
    let short = [&(start - 8 - 32).to_le_bytes()[..], &file[8..]].concat();
    assert!(matches!(Header::parse(&short), Err(PackageError::Header(HeaderError::Json { .. }))));
    let odd = [&(start - 8 + 1).to_le_bytes()[..], &file[8..start as usize], b" "].concat();
    assert_eq!(Header::parse(&odd), Err(PackageError::Alignment { found: start + 1 }));
}

#[test]
fn a_file_that_is_cut_or_too_long_is_refused() {
    let file = sample_file();
    let header = header_of(&file);
    let error = read_weights(&header, &file[..file.len() - 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the file should have {0} bytes, found {1}: it is truncated", file.len(), file.len() - 1)
    );
    let longer = [&file[..], b"x"].concat();
    assert!(read_weights(&header, &longer).unwrap_err().to_string().ends_with("something follows the last plane"));
    assert!(matches!(header.extra(TOKENIZER, &file[..100]), Err(PackageError::FileLength { .. })));
}

#[test]
fn a_flipped_bit_is_found_in_every_plane() {
    let file = sample_file();
    let header = header_of(&file);
    for plane in header.planes.iter().filter(|plane| plane.bytes() > 0) {
        let mut damaged = file.clone();
        damaged[plane.end as usize - 1] ^= 0x10;
        let found = match plane.part {
            Part::Extra => header.extra(&plane.tensor, &damaged).unwrap_err(),
            _ => read_weights(&header, &damaged).unwrap_err(),
        };
        assert!(matches!(found, PackageError::Digest { plane: name, .. } if name == plane.name()));
    }
}

#[test]
fn other_files_are_told_what_they_are() {
    let plain = br#"{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#;
    let plain = [&(plain.len() as u64).to_le_bytes()[..], plain, &[0; 4]].concat();
    assert_eq!(Header::parse(&plain), Err(PackageError::NotAPackage));
    let error = Header::parse(b"<!doctype html><html>").unwrap_err();
    assert_eq!(error.to_string(), "this is an HTML page, and not the file itself");
    for other in [&b"GGUF\x03\0\0\0abcdefgh"[..], b"not a header"] {
        let error = Header::parse(other).unwrap_err();
        assert!(error.to_string().ends_with("this is not a safetensors file"), "{error}");
    }
}

#[test]
fn versions_must_match() {
    let error = parse_error(|header| change_metadata(header, "webnibble", |meta| meta["format_version"] = json!(7)));
    assert_eq!(error, "package format version 7, this program reads version 1: quantize the model again");
}

#[test]
fn metadata_that_is_wrong_is_named() {
    let error = parse_error(|header| drop(header["__metadata__"].as_object_mut().unwrap().remove("sha256")));
    assert_eq!(error, "metadata `sha256`: it is missing");
    let error = parse_error(|header| header["__metadata__"]["extras"] = json!("[]"));
    assert!(error.starts_with("metadata `extras`: invalid type: sequence"), "{error}");
    let error = parse_error(|header| change_metadata(header, "webnibble", |meta| drop(meta["family"].take())));
    assert!(error.starts_with("metadata `webnibble`: invalid type: null, expected a string"), "{error}");
    let error = parse_error(|header| {
        change_metadata(header, "sha256", |digests| drop(digests.as_object_mut().unwrap().remove("two.scale")));
    });
    assert_eq!(error, "metadata `sha256`: plane `two.scale` has no digest");
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let with_tensor = |tensor: &str, key: &str, value: Value| {
        parse_error(|header| change_metadata(header, "webnibble", |meta| meta["tensors"][tensor][key] = value))
    };
    let shapes = "tensor `four`: shape should be [len] or [rows, cols] without zeros, found ";
    assert_eq!(with_tensor("four", "shape", json!([0, 35])), format!("{shapes}[0, 35]"));
    assert_eq!(with_tensor("four", "shape", json!([])), format!("{shapes}[]"));
    assert_eq!(with_tensor("four", "shape", json!([1, 2, 3])), format!("{shapes}[1, 2, 3]"));
    for shape in [json!([u64::MAX, u64::MAX]), json!([1u64 << 40, 1u64 << 40]), json!([1, u64::MAX]), json!([i64::MAX])]
    {
        let error = with_tensor(if shape.as_array().unwrap().len() == 1 { "bias" } else { "four" }, "shape", shape);
        assert!(error.ends_with("does not fit the memory of this system"), "{error}");
    }
    assert_eq!(with_tensor("four", "shape", json!([5])), "tensor `four`: a vector should be f32, found q4-asym-g16");
    let group = json!({"bits": 4, "scheme": "symmetric", "granularity": {"group": 0}});
    assert!(with_tensor("four", "format", group).starts_with("tensor `four`: a group size should be a multiple of 16"));
    let bits = json!({"bits": 3, "scheme": "symmetric", "granularity": "tensor"});
    assert!(with_tensor("four", "format", bits).contains("bits should be 2, 4, 8, 16 or 32, found 3"));
    let error = parse_error(|header| change_metadata(header, "extras", |extras| extras["empty"] = json!(u64::MAX)));
    assert!(error.contains("does not fit the memory of this system"), "{error}");
}

#[test]
fn missing_and_stray_planes_are_named() {
    let error = parse_error(|header| drop(header.as_object_mut().unwrap().remove("four.zero")));
    assert_eq!(
        error,
        "plane `four.zero` is missing: expected U8 [16], found only \
         bias, empty, exact, four, four.scale, table, tokenizer.json, two and 1 more"
    );
    let error = parse_error(|header| header["stray"] = header["bias"].clone());
    assert_eq!(error, "plane `stray` belongs to no tensor and no extra of the metadata");
}

#[test]
fn wrong_types_shapes_and_ranges_are_named() {
    assert_eq!(
        parse_error(|header| header["four"]["dtype"] = json!("F16")),
        "plane `four` should be U8 [5, 32], found F16 [5, 32]"
    );
    assert_eq!(
        parse_error(|header| header["two"]["shape"] = json!([3, 32])),
        "plane `two` should be U8 [3, 16], found U8 [3, 32]"
    );
    let range =
        |plane: &str, from: u64, to: u64| parse_error(|header| header[plane]["data_offsets"] = json!([from, to]));
    assert_eq!(range("two", 0, 47), "plane `two` should have 48 bytes, its range 0..47 does not");
    assert_eq!(range("two", 48, 0), "plane `two` should have 48 bytes, its range 48..0 does not");
    assert_eq!(
        range("two", 0, 48),
        "plane `two` should begin at byte 16 of the data, where the one before it ends, found 0"
    );
    assert!(range("two", u64::MAX - 48, u64::MAX).contains("where the one before it ends"));
    let far = parse_error(|header| {
        for (_, tensor) in header.as_object_mut().unwrap().iter_mut().filter(|(name, _)| *name != "__metadata__") {
            let moved = |n: &Value| json!(n.as_u64().unwrap() + 16);
            tensor["data_offsets"] = json!([moved(&tensor["data_offsets"][0]), moved(&tensor["data_offsets"][1])]);
        }
    });
    assert!(far.contains("should begin at byte 0 of the data"), "{far}");
}

#[test]
fn scales_that_are_not_finite_are_refused() {
    let file = sample_file();
    let header = header_of(&file);
    let plane = |part| {
        let plane = header.plane("four", part).unwrap();
        file[plane.begin as usize..plane.end as usize].to_vec()
    };
    let (packed, mut scale, zero) = (plane(Part::Packed), plane(Part::Scale), plane(Part::Zero));
    scale[2..4].copy_from_slice(&[0, 0x7e]);
    let error = header.weight("four", packed.clone(), &scale, &zero).unwrap_err();
    assert_eq!(error.to_string(), "tensor `four`: scale 1 is NaN: scales must be finite");
    let error = header.weight("absent", packed.clone(), &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "tensor `absent`: the package does not have it");
    let error = header.weight("bias", packed[..16].to_vec(), &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "tensor `bias`: its plane should have at least 20 bytes, found 16");
}

/// What a parsed header promises, whatever the bytes were.
fn check_promises(header: &Header) {
    let mut end = header.data_start;
    for plane in &header.planes {
        assert!(plane.begin == end && plane.end >= plane.begin);
        end = plane.end;
    }
    assert_eq!(end, header.total_bytes);
    for name in header.meta.tensors.keys() {
        let packed = header.plane(name, Part::Packed).expect("every tensor has its plane");
        if let Some(layout) = header.layout_of(name) {
            assert_eq!(layout.packed_bytes() as u64, packed.bytes());
        }
    }
}

/// Any JSON, for places where another kind was expected.
fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        prop::collection::vec(any::<u64>(), 0..4).prop_map(Value::from),
        Just(json!({})),
        Just(json!({"group": 48})),
    ]
}

/// Replaces the `index`th value of a JSON tree, counted depth first; strings of JSON count as trees.
fn replace(value: &mut Value, index: &mut usize, with: &Value) -> bool {
    if *index == 0 {
        *value = with.clone();
        return true;
    }
    *index -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, index, with)),
        Value::Object(entries) => entries.values_mut().any(|entry| replace(entry, index, with)),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(mut inner @ Value::Object(_)) => {
                let done = replace(&mut inner, index, with);
                *text = inner.to_string();
                done
            }
            _ => false,
        },
        _ => false,
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0u64..200) {
        let _ = Header::parse(&bytes);
        let framed = [&length.to_le_bytes()[..], &bytes].concat();
        let _ = Header::parse(&framed);
    }

    #[test]
    fn damaged_headers_do_not_make_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut file = sample_file();
        let start = header_of(&file).data_start as usize;
        file[at.index(start)] = byte;
        if let Ok(Parsed::Header(header)) = Header::parse(&file) {
            check_promises(&header);
            let _ = read_weights(&header, &file);
        }
        let _ = Header::parse(&file[..cut.index(file.len())]);
    }

    #[test]
    fn headers_with_any_value_replaced_do_not_make_it_panic(index in 0usize..260, with in any_json()) {
        let file = with_header(|header| {
            replace(header, &mut { index }, &with);
        });
        if let Ok(Parsed::Header(header)) = Header::parse(&file) {
            check_promises(&header);
            let _ = read_weights(&header, &file);
            let _ = header.extra(TOKENIZER, &file);
        }
    }
}
