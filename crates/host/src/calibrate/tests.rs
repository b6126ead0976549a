//! A small model, calibrated.

use std::path::Path;

use webnibble_common::quant::{Bits, Granularity};

use super::*;
use crate::loader::testing::{Tensors, tiny_model, tiny_tokenizer, write, write_model};
use crate::quantizer::{PackageStore, QuantizeError, QuantizeOptions, quantize, quantize_with};

const UP: &str = "encoder.layer.0.intermediate.dense.weight";
const DOWN: &str = "encoder.layer.0.output.dense.weight";

fn open(tensors: &Tensors) -> (tempfile::TempDir, ModelFolder) {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), tensors);
    write(folder.path(), "tokenizer.json", &tiny_tokenizer());
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    (folder, model)
}

fn options() -> QuantizeOptions {
    QuantizeOptions {
        bits: Bits::B8,
        granularity: Granularity::Channel,
        activation_bits: Bits::B8,
        ..QuantizeOptions::default()
    }
}

fn data(texts: &str) -> CalibrationData {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "texts.txt", texts.as_bytes());
    CalibrationData::read(&folder.path().join("texts.txt")).unwrap()
}

/// What the calibrated package gives for a text, in int8, against the model in f32.
fn cosine_of_package(model: &ModelFolder, path: &Path, text: &str) -> f64 {
    let package = crate::loader::PackageFile::open(path).unwrap();
    let activations = package.header.meta.activations.clone().unwrap();
    let int8 = Reference::quantized(&package).unwrap().with_activations(&activations).unwrap();
    let input = Input::texts(vec![text.to_owned()]);
    let (found, expected) =
        (int8.outputs(&input).unwrap(), Reference::of_folder(model).unwrap().outputs(&input).unwrap());
    let error = crate::reference::quantization_error(&found, &expected).unwrap();
    assert!(error.rmse > 0.0, "int8 is not f32");
    error.cosine
}

#[test]
fn every_linear_operator_is_calibrated_and_the_package_is_near_f32() {
    let (folder, model) = open(&tiny_model());
    let quantized = quantize(&model, &options(), &mut |_| {}).unwrap();
    let activations = quantized.meta.activations.clone().unwrap();
    assert_eq!(activations.source, "built-in sample");
    assert_eq!(activations.samples, CalibrationData::built_in().texts().len());
    let expected: std::collections::BTreeSet<_> = model.graph.linears().collect();
    assert_eq!(activations.linears.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), expected);
    let report = quantized.report.calibration.clone().unwrap();
    assert_eq!((report.linears.len(), report.floats().count()), (4, 0));
    assert!(report.cosine >= TARGET_COSINE && report.cosine < report.cosine_weights_only, "{report:?}");

    let path = folder.path().join("package.safetensors");
    crate::quantizer::write_package(&quantized, &path).unwrap();
    assert!(cosine_of_package(&model, &path, "the dog runs far") > 0.99);
}

#[test]
fn an_outlier_channel_is_shifted_and_does_no_harm() {
    let mut tensors = tiny_model();
    // One output of the block is a hundred times as large as the others.
    let (shape, values) = tensors.get_mut(DOWN).unwrap();
    let cols = shape[1];
    values[7 * cols..8 * cols].iter_mut().for_each(|value| *value *= 100.0);
    let (_folder, model) = open(&tensors);
    let quantized = quantize(&model, &options(), &mut |_| {}).unwrap();
    let activations = quantized.meta.activations.unwrap();
    let down = &activations.linears[DOWN].output;
    assert!(down.shifts.contains_key(&7) && down.shifts.len() < 8, "{:?}", down.shifts);
    assert!(quantized.report.calibration.unwrap().cosine > TARGET_COSINE);
}

#[test]
fn operators_that_harm_most_stay_in_floats() {
    let (_folder, model) = open(&tiny_model());
    let floats = QuantizeOptions { activation_bits: Bits::B32, ..options() };
    let weights = quantize(&model, &floats, &mut |_| {}).unwrap().weights;
    let data = CalibrationData::built_in();
    let to = |target| calibrate_to(target, &model, &weights, &data, &mut |_| {}).unwrap();
    let all = to(0.0).report;
    assert!(all.linears.iter().all(|linear| linear.int8 && linear.harm.is_none()));

    // Half of the way from all in int8 to none.
    let target = (all.cosine + all.cosine_weights_only) / 2.0;
    let Calibration { activations, report } = to(target);
    assert!(report.cosine >= target && report.cosine > report.cosine_all_int8, "{report:?}");
    let left: Vec<_> = report.floats().map(|linear| linear.name.as_str()).collect();
    assert!(!left.is_empty() && left.len() < 4, "{left:?}");
    assert!(report.linears.iter().all(|linear| linear.int8 == activations.linears.contains_key(&linear.name)));
    let least_left = report.floats().map(|linear| linear.harm.unwrap()).fold(f64::INFINITY, f64::min);
    assert!(report.linears.iter().filter(|linear| linear.int8).all(|linear| linear.harm.unwrap() <= least_left));

    // What cannot be reached leaves everything in floats, and says so.
    let none = to(2.0);
    assert!(none.activations.linears.is_empty() && none.report.cosine == none.report.cosine_weights_only);
}

#[test]
fn data_of_ones_own_gives_other_scales_and_another_package() {
    let (folder, model) = open(&tiny_model());
    let (one, other) = (data("the cat sat\n"), data("a dog runs far on the mat\nthe cat\n"));
    let scales = |data: &CalibrationData| {
        let quantized = quantize_with(&model, &options(), data, &mut |_| {}).unwrap();
        quantized.meta.activations.unwrap().linears[UP].clone()
    };
    assert_ne!(scales(&one), scales(&other));
    let store = PackageStore::at(folder.path());
    assert_ne!(store.path_of(&model, &options(), &one), store.path_of(&model, &options(), &other));
    let floats = QuantizeOptions { activation_bits: Bits::B32, ..options() };
    assert_ne!(store.path_of(&model, &options(), &one), store.path_of(&model, &floats, &one));
    // Where nothing is calibrated, the data does not matter.
    assert_eq!(store.path_of(&model, &floats, &one), store.path_of(&model, &floats, &other));
    let prepared = store.prepare_with(&model, &options(), &one, &mut |_| {}).unwrap();
    let again = store.prepare_with(&model, &options(), &one, &mut |_| {}).unwrap();
    assert_eq!((prepared.made, again.made), (true, false));
    assert_eq!(again.report.calibration.unwrap().source, "texts.txt");
}

#[test]
fn calibrated_weights_are_nearer_to_f32_where_it_counts() {
    let (folder, model) = open(&tiny_model());
    let rounded = QuantizeOptions { bits: Bits::B2, granularity: Granularity::Group(32), ..QuantizeOptions::default() };
    let fitted = QuantizeOptions { calibrated_weights: true, ..rounded };
    let sample = CalibrationData::built_in();
    let inputs = encode(&Reference::of_folder(&model).unwrap(), &sample).unwrap();
    let error = |options: &QuantizeOptions| {
        let quantized = quantize(&model, options, &mut |_| {}).unwrap();
        assert_eq!(quantized.meta.activations, None, "only weights are calibrated");
        let exact = Reference::of_folder(&model).unwrap();
        let expected: Vec<NamedTensors> = inputs.iter().map(|input| exact.outputs_of(input, &[]).unwrap()).collect();
        let found = exact.with_weights(quantized.weights);
        let rmse = |(input, expected): (&NamedTensors, &NamedTensors)| {
            crate::reference::quantization_error(&found.outputs_of(input, &[]).unwrap(), expected).unwrap().rmse
        };
        inputs.iter().zip(&expected).map(rmse).sum::<f64>()
    };
    let (fitted_error, rounded_error) = (error(&fitted), error(&rounded));
    assert!(fitted_error < 0.8 * rounded_error, "{fitted_error} by fitting, {rounded_error} by rounding");

    let store = PackageStore::at(folder.path());
    assert_ne!(store.path_of(&model, &fitted, &sample), store.path_of(&model, &rounded, &sample));
    let other = data("the cat sat\n");
    assert_ne!(store.path_of(&model, &fitted, &sample), store.path_of(&model, &fitted, &other));
}

#[test]
fn what_cannot_be_calibrated_is_an_error() {
    let (folder, model) = open(&tiny_model());
    let four = QuantizeOptions { bits: Bits::B4, ..options() };
    let error = quantize(&model, &four, &mut |_| {}).unwrap_err();
    assert!(matches!(error, QuantizeError::Calibrate(_)) && error.to_string().contains("8 bits, symmetric"), "{error}");
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let error = quantize(&model, &options(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no tokenizer"), "{error}");
}
