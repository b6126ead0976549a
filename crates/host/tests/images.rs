//! Image files against Pillow, from which processors' configurations come: what is decoded, and what is made of it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use webnibble_common::graph::{Graph, Patches};
use webnibble_common::tensor::{DType, Tensor};
use webnibble_host::image_file::{self, ImageFileError};
use webnibble_models::input::image::{ImageProcessor, pixel_values};

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images")
}

/// Entries of a list with the RGB bytes of each.
fn listed(name: &str) -> Vec<(Value, Vec<u8>)> {
    let text = std::fs::read_to_string(images().join(format!("{name}.json"))).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::read(images().join(format!("{name}.bin"))).unwrap();
    let mut at = 0;
    let entries = entries.into_iter().map(|entry| {
        let [width, height] = size(&entry);
        at += width * height * 3;
        (entry, bytes[at - width * height * 3..at].to_vec())
    });
    let entries: Vec<_> = entries.collect();
    assert_eq!(at, bytes.len());
    entries
}

fn size(entry: &Value) -> [usize; 2] {
    ["width", "height"].map(|side| usize::try_from(entry[side].as_u64().unwrap()).unwrap())
}

/// Red, green and blue of each pixel.
fn colors(pixels: &Tensor) -> Vec<u8> {
    pixels.as_u32().unwrap().iter().flat_map(|pixel| pixel.to_le_bytes()[..3].to_vec()).collect()
}

fn read(name: &str) -> Tensor {
    image_file::read(&images().join(name)).unwrap().1
}

#[test]
fn decoded_pixels_are_those_of_pillow() {
    let files = listed("decoded");
    assert!(files.len() >= 18);
    for (entry, expected) in files {
        let name = entry["file"].as_str().unwrap();
        let (pixels, [width, height]) = (read(name), size(&entry));
        // Pillow cuts gray of 16 bits off at 255, so that nearly all of it is white; here it is what it shows.
        let expected = if name == "gray16.png" { colors(&read("gray.png")) } else { expected };
        assert_eq!(pixels.shape(), [height, width], "{name}");
        let off: Vec<u8> = colors(&pixels).iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
        let mean = off.iter().map(|off| f64::from(*off)).sum::<f64>() / off.len() as f64;
        println!("{name}: off by {mean:.3} levels in the mean, {} at most", off.iter().max().unwrap());
        // Codecs that lose something leave it open how they round.
        let lossy = name.ends_with(".jpg") || name == "lossy.webp";
        assert!(if lossy { mean <= 1.0 } else { mean == 0.0 }, "{name}: {mean}");
    }
}

/// A model of images of that size, as far as an input needs one.
fn graph([width, height]: [usize; 2]) -> Graph {
    let mut graph = Graph::default();
    let x = graph.input("pixel_values", DType::F32, ["batch".into(), 3.into(), height.into(), width.into()]);
    let y = graph.push("y", Patches { x, size: 1 });
    graph.output(y);
    graph
}

/// What a processor makes of an image, `[channels, height, width]`.
fn values(config: &Value, size: [usize; 2], name: &str) -> Vec<f32> {
    let processor = ImageProcessor::from_json(config, [size[1], size[0]]).unwrap();
    let images = [(name.to_owned(), read(name))];
    let made = pixel_values(&graph(size), Some(&processor), &images).unwrap().remove(0).1;
    made.as_f32().unwrap().to_vec()
}

#[test]
fn resized_pixels_are_those_of_pillow() {
    let all = listed("resized");
    assert_eq!(all.len(), 6 * 6);
    for (entry, expected) in all {
        let size = size(&entry);
        let config = json!({"resample": entry["resample"], "size": {"width": size[0], "height": size[1]},
            "do_rescale": false, "do_normalize": false});
        let found = values(&config, size, "rgb.png");
        let pixels = size[0] * size[1];
        let planes = |at: usize| found[at % 3 * pixels + at / 3];
        let off = expected.iter().enumerate().map(|(at, level)| (planes(at) - f32::from(*level)).abs());
        assert_eq!(off.fold(0.0, f32::max), 0.0, "{entry}: levels");
    }
}

#[test]
fn rescaling_and_normalizing_are_those_of_numpy() {
    let config = json!({"size": 16, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]});
    let levels = values(&json!({"size": 16, "do_rescale": false, "do_normalize": false}), [16, 16], "rgb.png");
    let found = values(&config, [16, 16], "rgb.png");
    for (at, (level, value)) in levels.iter().zip(&found).enumerate() {
        let (mean, deviation) = ([0.485_f32, 0.456, 0.406][at / 256], [0.229_f32, 0.224, 0.225][at / 256]);
        assert_eq!(*value, ((f64::from(*level) / 255.0) as f32 - mean) / deviation);
    }
}

#[test]
fn every_format_that_is_cut_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (entry, _) in listed("decoded") {
        let name = entry["file"].as_str().unwrap();
        let whole = std::fs::read(images().join(name)).unwrap();
        for part in [1, 2, 3] {
            let path = folder.path().join(name);
            std::fs::write(&path, &whole[..whole.len() * part / 4]).unwrap();
            match image_file::read(&path) {
                Err(ImageFileError::Truncated { .. } | ImageFileError::Damaged { .. }) => {}
                other => panic!("{part} quarters of {name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_single_pixel_is_no_picture() {
    let processor = ImageProcessor::from_json(&json!({}), [8, 8]).unwrap();
    let one = ("dot.png".to_owned(), Tensor::u32([1, 1], vec![7]).unwrap());
    let error = pixel_values(&graph([8, 8]), Some(&processor), &[one]).unwrap_err();
    assert_eq!(error.to_string(), "image `dot.png` is a single pixel: expected a picture of at least two");
}
