//! Streaming packages from servers that behave, and from those that do not.

use js_sys::Uint8Array;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::package::{Plane, TOKENIZER};
use webnibble_common::quant::Bits;

use super::digests::{sha256, sha256_in_wasm};
use super::*;
use crate::testing::{Serving, ranges_asked, serve, tiny_bert};

/// Keeps every plane, as a backend without a GPU would.
#[derive(Default)]
struct Keep {
    planes: Vec<(String, Uint8Array)>,
    /// Stopped after so many planes.
    stop_after: Option<(usize, Stop)>,
}

impl PlaneSink for Keep {
    fn begin_plane(&mut self, plane: &Plane) -> Result<Uint8Array, RemoteError> {
        buffer(plane)
    }

    fn finish_plane(&mut self, plane: &Plane, view: &Uint8Array) -> Result<(), RemoteError> {
        self.planes.push((plane.name(), view.clone()));
        if let Some((count, stop)) = &self.stop_after
            && self.planes.len() == *count
        {
            stop.because(error(ErrorCode::Cancelled, "enough", ""));
        }
        Ok(())
    }
}

async fn load(url: &str, digest: Option<&str>) -> Result<(Header, Keep, Fetched), RemoteError> {
    let package = Package::open(url, digest, &Stop::new(None)).await?;
    let (header, mut sink) = (package.header.clone(), Keep::default());
    let fetched = package.load(&mut sink, |_| {}).await?;
    Ok((header, sink, fetched))
}

async fn failure_of(url: &str) -> RemoteError {
    match load(url, None).await {
        Ok(_) => panic!("{url} should not load"),
        Err(error) => error,
    }
}

fn header_of(file: &[u8]) -> Header {
    match Header::parse(file) {
        Ok(Parsed::Header(header)) => *header,
        other => panic!("expected a header, found {other:?}"),
    }
}

#[wasm_bindgen_test]
async fn every_plane_arrives_in_its_view() {
    let file = tiny_bert(Bits::B4);
    let (header, sink, fetched) = load(&serve(&file), Some(&header_of(&file).digest)).await.unwrap();
    let expected: Vec<&Plane> = header.planes.iter().filter(|plane| plane.part != Part::Extra).collect();
    assert_eq!(sink.planes.len(), expected.len());
    for (plane, (name, view)) in expected.iter().zip(&sink.planes) {
        assert_eq!(*name, plane.name());
        assert_eq!(view.to_vec(), file[plane.begin as usize..plane.end as usize], "{name}");
    }
    let tokenizer = String::from_utf8(fetched.extras[TOKENIZER].clone()).unwrap();
    assert!(tokenizer.ends_with('}'), "the padding should be cut off");
    assert!(fetched.fetch_ms > 0.0 && fetched.upload_ms <= fetched.fetch_ms);
}

#[wasm_bindgen_test]
async fn chunks_of_any_size_make_the_same_planes() {
    let file = tiny_bert(Bits::B2);
    for chunk_bytes in [1, 7, 1000, 1 << 20] {
        let url = Serving { chunk_bytes, length: None, ..Serving::well(&file) }.serve(&file);
        let (header, sink, _) = load(&url, None).await.unwrap();
        let bytes: u32 = sink.planes.iter().map(|(_, view)| view.length()).sum();
        let extras: u64 = header.planes.iter().filter(|plane| plane.part == Part::Extra).map(Plane::bytes).sum();
        assert_eq!(u64::from(bytes) + extras + header.data_start, header.total_bytes, "{chunk_bytes}");
    }
}

#[wasm_bindgen_test]
async fn a_damaged_plane_is_named() {
    let mut file = tiny_bert(Bits::B4);
    let header = header_of(&file);
    let plane = header.planes.iter().find(|plane| plane.part == Part::Scale).unwrap();
    file[plane.begin as usize + 3] ^= 0x40;
    let error = failure_of(&serve(&file)).await;
    assert_eq!(error.code, ErrorCode::BadPackage);
    assert!(error.message.contains(&plane.name()), "{}", error.message);
    assert!(!error.hint.is_empty());
}

#[wasm_bindgen_test]
async fn a_changed_byte_is_found_wherever_it_is() {
    let file = tiny_bert(Bits::B4);
    let header = header_of(&file);
    let changed = |at: u64| {
        let mut damaged = file.clone();
        damaged[at as usize] ^= 1;
        serve(&damaged)
    };
    // Lengths, JSON and digests: the host says which header it means.
    for at in (0..header.data_start).step_by(61) {
        let error = load(&changed(at), Some(&header.digest)).await.err().expect("a header that was changed");
        assert_eq!(error.code, ErrorCode::BadPackage, "byte {at}: {error:?}");
    }
    for plane in &header.planes {
        for at in [plane.begin, plane.end - 1] {
            let error = failure_of(&changed(at)).await;
            assert_eq!(error.code, ErrorCode::BadPackage, "byte {at}: {error:?}");
            assert!(error.message.contains(&plane.name()), "{}", error.message);
        }
    }
}

#[wasm_bindgen_test]
async fn too_short_and_too_long_files_are_errors() {
    let file = tiny_bert(Bits::B4);
    let short = &file[..file.len() - 1];
    let long = [&file[..], b"x"].concat();
    // With an honest length the header tells at once; without one, the end does.
    for (bytes, length) in [(short, Some(short.len())), (short, None), (&long[..], Some(long.len())), (&long[..], None)]
    {
        let url = Serving { length, ..Serving::well(bytes) }.serve(bytes);
        let error = failure_of(&url).await;
        assert_eq!(error.code, ErrorCode::BadPackage, "{error:?}");
        assert!(error.message.contains("bytes"), "{}", error.message);
    }
}

#[wasm_bindgen_test]
async fn what_is_no_package_is_said_to_be_none() {
    let random: Vec<u8> = (0..4096u32).map(|i| (i * 31 % 251) as u8).collect();
    for file in [&random[..], b"<!doctype html><title>not here</title>", b"", b"\x08\0\0\0\0\0\0\0{}      "] {
        let error = failure_of(&serve(file)).await;
        assert_eq!(error.code, ErrorCode::BadPackage, "{error:?}");
        assert!(!error.hint.is_empty());
    }
}

#[wasm_bindgen_test]
async fn another_digest_is_refused() {
    let file = tiny_bert(Bits::B8);
    let error = load(&serve(&file), Some("00ff")).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::BadPackage);
    assert!(error.message.contains("00ff") && error.message.contains(&header_of(&file).digest), "{}", error.message);
}

#[wasm_bindgen_test]
async fn a_missing_file_and_a_missing_server_are_fetch_errors() {
    let error = failure_of("/there/is/no/such.safetensors").await;
    assert_eq!(error.code, ErrorCode::Fetch);
    assert!(error.message.contains("404"), "{}", error.message);
    // Port 9 (discard) is one that browsers never connect to.
    let error = failure_of("http://127.0.0.1:9/x.safetensors").await;
    assert_eq!(error.code, ErrorCode::Fetch);
    assert!(error.hint.contains("CORS"), "{}", error.hint);
}

#[wasm_bindgen_test]
async fn a_broken_stream_is_taken_up_again() {
    let file = tiny_bert(Bits::B4);
    let breaks = vec![file.len() as u32 / 3, file.len() as u32 / 2];
    let url = Serving { breaks: breaks.clone(), ..Serving::well(&file) }.serve(&file);
    let (header, sink, _) = load(&url, None).await.unwrap();
    assert_eq!(sink.planes.len(), header.planes.len() - 1);
    let expected = ["".to_owned(), format!("bytes={}-", breaks[0]), format!("bytes={}-", breaks[1])];
    assert_eq!(ranges_asked(&url), expected);
}

#[wasm_bindgen_test]
async fn without_ranges_the_file_is_read_once_more() {
    let file = tiny_bert(Bits::B4);
    let place = file.len() as u32 / 2;
    let url = Serving { breaks: vec![place], resumable: false, ..Serving::well(&file) }.serve(&file);
    let (header, sink, _) = load(&url, None).await.unwrap();
    assert_eq!(sink.planes.len(), header.planes.len() - 1);
    assert_eq!(ranges_asked(&url), ["".to_owned(), format!("bytes={place}-")]);
}

#[wasm_bindgen_test]
async fn a_stream_that_stays_broken_is_an_error() {
    let file = tiny_bert(Bits::B4);
    let place = file.len() as u32 / 2;
    let url = Serving { breaks: vec![place; 9], ..Serving::well(&file) }.serve(&file);
    let error = failure_of(&url).await;
    assert_eq!(error.code, ErrorCode::Fetch);
    assert!(error.message.contains("3 times"), "{}", error.message);
    // A range that brought nothing is not asked for again.
    assert_eq!(ranges_asked(&url), ["".to_owned(), format!("bytes={place}-"), "".to_owned(), "".to_owned()]);
}

/// A length that counts encoded bytes says nothing where the encoding is not shown; digests decide.
#[wasm_bindgen_test]
async fn another_origin_may_send_another_length_than_the_files() {
    let file = tiny_bert(Bits::B4);
    let place = file.len() as u32 / 3;
    for (length, breaks) in [(file.len() / 2, vec![]), (file.len() * 2, vec![]), (file.len() / 2, vec![place])] {
        let serving = Serving { length: Some(length), breaks, other_origin: true, ..Serving::well(&file) };
        let url = serving.serve(&file);
        let (header, sink, _) = load(&url, None).await.unwrap();
        assert_eq!(sink.planes.len(), header.planes.len() - 1, "{length} of {}", file.len());
    }
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for bytes in [&damaged[..], &file[..file.len() - 1]] {
        let serving = Serving { length: Some(file.len() / 2), other_origin: true, ..Serving::well(bytes) };
        assert_eq!(failure_of(&serving.serve(bytes)).await.code, ErrorCode::BadPackage);
    }
}

#[wasm_bindgen_test]
async fn stopping_ends_the_fetch_with_its_reason() {
    let file = tiny_bert(Bits::B4);
    let stop = Stop::new(None);
    let package = Package::open(&serve(&file), None, &stop).await.unwrap();
    let mut sink = Keep { stop_after: Some((3, stop)), ..Keep::default() };
    let error = package.load(&mut sink, |_| {}).await.err().unwrap();
    assert_eq!((error.code, sink.planes.len()), (ErrorCode::Cancelled, 3));
}

#[wasm_bindgen_test]
async fn a_server_that_stalls_meets_the_deadline() {
    // The headers come, and then nothing.
    let url = Serving { chunk_bytes: 0, ..Serving::well(&[0; 64]) }.serve(&[0; 64]);
    let error = Package::open(&url, None, &Stop::new(Some(150))).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Deadline);
}

#[wasm_bindgen_test]
async fn both_ways_of_hashing_agree() {
    for length in [0, 1, 63, 64, 65, (1 << 16) + 5] {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
        let view = Uint8Array::from(&bytes[..]);
        assert_eq!(sha256(&view).await.unwrap(), sha256_in_wasm(&view), "{length} bytes");
    }
}

/// Printed, not asserted: how fast bytes go from the network's chunks through views and digests.
#[wasm_bindgen_test]
async fn speed_of_a_large_package() {
    use webnibble_common::graph::{Embedding, Graph, Role};
    use webnibble_common::quant::Format;
    let mut graph = Graph::default();
    let table = graph.weight("table", [4096, 4096], Role::Embedding, &[]);
    let ids = graph.input("ids", webnibble_common::tensor::DType::U32, [1.into(), 1.into()]);
    let embedding =
        Embedding { ids, token_types: None, table, positions: None, position_offset: 0, types: None, norm: None };
    graph.push("y", embedding);
    let matrix = webnibble_common::quant::Quantizer::for_format(Format::F32);
    let matrix = matrix.quantize(&vec![0.5; 4096 * 4096], &[4096, 4096]).unwrap();
    let weights = [("table".to_owned(), webnibble_common::weights::WeightData::Matrix(matrix))].into();
    let file = crate::testing::package(&graph, &weights, serde_json::Value::Null, None, &[]);
    drop(weights);
    let megabytes = file.len() as f64 / 1e6;
    let heap_before = sys::wasm_heap_bytes();
    let url = serve(&file);
    drop(file);
    let began = sys::now_ms();
    let (_, sink, fetched) = load(&url, None).await.unwrap();
    let seconds = (sys::now_ms() - began) / 1e3;
    console_log!(
        "{megabytes:.0} MB at {:.0} MB/s with digests, {:.0} ms of it copying",
        megabytes / seconds,
        fetched.upload_ms
    );
    assert_eq!(sys::wasm_heap_bytes(), heap_before, "no byte of the data should pass through wasm memory");
    assert_eq!(sink.planes[0].1.length(), 4096 * 4096 * 4);
}
