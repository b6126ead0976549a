//! What quantization costs a classifier: the committed ViT on the digits that no training saw, through loader, quantizer, image
//! input and CPU executor, against the same model in f32.

use std::path::{Path, PathBuf};

use webnibble_common::io::{Input, Output};
use webnibble_common::quant::Bits;
use webnibble_common::tensor::Tensor;
use webnibble_host::image_file;
use webnibble_host::loader::{Model, ModelFolder};
use webnibble_host::quantizer::{QuantizeOptions, quantize};
use webnibble_host::reference::Reference;
use webnibble_models::ModelConfig;
use webnibble_models::output::{Answers, answer};

/// Pixels of a digit's side, and digits in a row of the test set.
const SIDE: usize = 8;
const IN_A_ROW: usize = 20;

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/digits")
}

/// Every digit of the test set, and what it is.
fn test_set() -> (Vec<(String, Tensor)>, Vec<usize>) {
    let (_, all) = image_file::read(&digits().join("test.png")).unwrap();
    let (pixels, width) = (all.as_u32().unwrap(), all.shape()[1]);
    let labels = std::fs::read_to_string(digits().join("labels.txt")).unwrap();
    let labels: Vec<usize> = labels.trim().chars().map(|digit| digit.to_digit(10).unwrap() as usize).collect();
    let digit = |index: usize| {
        let (top, left) = (index / IN_A_ROW * SIDE, index % IN_A_ROW * SIDE);
        let lines = (top..top + SIDE).flat_map(|line| &pixels[line * width + left..][..SIDE]).copied();
        (index.to_string(), Tensor::u32([SIDE, SIDE], lines.collect()).unwrap())
    };
    ((0..labels.len()).map(digit).collect(), labels)
}

/// Share of the digits that the model takes for what they are.
fn accuracy(model: &Reference, labels: &[String]) -> f64 {
    let (images, expected) = test_set();
    let outputs = model.outputs(&Input::Image { images }).unwrap();
    let Some(Output::Labels { labels: found }) = answer(&outputs, &[], &Answers::Labels(labels.into())) else {
        panic!("a classifier answers with labels")
    };
    let right = found.iter().zip(&expected).filter(|(found, expected)| found[0].label == labels[**expected]);
    right.count() as f64 / expected.len() as f64
}

#[test]
fn eight_bits_cost_half_a_point_and_four_bits_two() {
    let folder = ModelFolder::open(&digits(), "digits").unwrap();
    let ModelConfig::Vit(config) = &folder.config else { panic!("it is a ViT") };
    let labels = config.labels.clone().unwrap();
    let whole = accuracy(&Reference::of_folder(&folder).unwrap(), &labels);
    println!("digits in f32: {:.2} %", whole * 100.0);
    assert!(whole > 0.95);
    let quantized = |bits, mixed_precision| {
        let options = QuantizeOptions { bits, mixed_precision, ..QuantizeOptions::default() };
        let quantized = quantize(&folder, &options, &mut |_| {}).unwrap();
        let model = Reference::of_folder(&folder).unwrap().with_weights(quantized.weights);
        let found = accuracy(&model, &labels);
        println!("digits at {bits} bits, mixed precision {mixed_precision}: {:.2} %", found * 100.0);
        (whole - found) * 100.0
    };
    for (bits, mixed_precision, points) in [(Bits::B8, true, 0.5), (Bits::B4, true, 2.0), (Bits::B4, false, 2.0)] {
        let lost = quantized(bits, mixed_precision);
        assert!(lost <= points, "{bits} bits cost {lost} points");
    }
    // Too few are seen: the weights that were quantized are those that ran.
    let lost = quantized(Bits::B2, false);
    assert!(lost > 2.0, "2 bits cost {lost} points");
}

#[test]
fn the_committed_model_opens_as_any_other() {
    let model = Model::open(&digits(), "digits").unwrap();
    let Model::Folder(folder) = &model else { panic!("a folder") };
    assert!(folder.preprocessor_config.is_some() && folder.unused().is_empty(), "{:?}", folder.unused());
}
