//! A small model through the quantizer, into a package and back.

use webnibble_common::graph::Role;
use webnibble_common::package::{TOKENIZER, TensorMeta};
use webnibble_common::quant::{ErrorStats, Granularity, Scheme};

use super::*;
use crate::loader::testing::{Tensors, tiny_model, write_model};
use crate::loader::{Model, PackageFile};

fn open(tensors: &Tensors) -> (tempfile::TempDir, ModelFolder) {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), tensors);
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    (folder, model)
}

fn options(bits: Bits) -> QuantizeOptions {
    QuantizeOptions { bits, granularity: Granularity::Group(32), ..QuantizeOptions::default() }
}

/// The same but for the last digit of a number, which JSON may lose.
fn assert_same(a: &QuantizeReport, b: &QuantizeReport) {
    assert_eq!((a.options, &a.dropped, a.tensors.len()), (b.options, &b.dropped, b.tensors.len()));
    for (a, b) in a.tensors.iter().zip(&b.tensors) {
        assert_eq!((&a.name, a.role, a.format, &a.shape), (&b.name, b.role, b.format, &b.shape));
        let (a, b) = (a.stats(), b.stats());
        assert_eq!((a.weights, a.bytes), (b.weights, b.bytes));
        assert!((a.rmse - b.rmse).abs() <= 1e-12 * b.rmse && (a.cosine - b.cosine).abs() < 1e-12, "{a:?}, {b:?}");
    }
}

#[test]
fn a_role_decides_the_format() {
    let (_folder, model) = open(&tiny_model());
    let mixed = QuantizeOptions { mixed_precision: true, ..options(Bits::B4) };
    let formats = |options: &QuantizeOptions, role| -> Vec<String> {
        let weights = model.graph.weights.iter().filter(|weight| weight.role == role);
        let mut formats: Vec<String> = weights.map(|weight| options.format_of(weight).to_string()).collect();
        formats.dedup();
        formats
    };
    assert_eq!(formats(&mixed, Role::Attention), ["q8-sym-g32"]);
    assert_eq!(formats(&options(Bits::B4), Role::Attention), ["q4-sym-g32"]);
    for options in [mixed, options(Bits::B4)] {
        assert_eq!(formats(&options, Role::Linear), ["q4-sym-g32"]);
        assert_eq!(formats(&options, Role::Embedding), ["f16"]);
        assert_eq!(formats(&options, Role::Vector), ["f32"]);
    }
    let small_tables = QuantizeOptions { embedding_bits: Bits::B8, scheme: Scheme::Asymmetric, ..options(Bits::B2) };
    assert_eq!(formats(&small_tables, Role::Embedding), ["q8-asym-g32"]);
    for role in [Role::Attention, Role::Linear, Role::Embedding, Role::Vector] {
        assert_eq!(formats(&QuantizeOptions::reference(), role), ["f32"]);
    }
}

#[test]
fn a_package_holds_what_was_quantized() {
    let (folder, model) = open(&tiny_model());
    let quantized = quantize(&model, &options(Bits::B4), &mut |_| {}).unwrap();
    let path = folder.path().join("out/tiny.safetensors");
    let package = write_package(&quantized, &path).unwrap();
    assert_eq!(package.read_weights().unwrap(), quantized.weights);
    assert_eq!(package.header.meta, quantized.meta);
    assert_eq!(package.read_extra(TOKENIZER).unwrap(), model.tokenizer);
    assert_same(&QuantizeReport::of(&package).unwrap().unwrap(), &quantized.report);
    assert_eq!(package.graph, model.graph);
    let names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["tiny.safetensors"], "nothing temporary is left");
    assert!(matches!(Model::load(path.to_str().unwrap(), &mut |_| {}), Ok(Model::Package(_))));
}

#[test]
fn the_reference_is_exact() {
    let (_folder, model) = open(&tiny_model());
    let quantized = quantize(&model, &QuantizeOptions::reference(), &mut |_| {}).unwrap();
    for weight in &model.graph.weights {
        let values = match &quantized.weights[&weight.name] {
            WeightData::Matrix(tensor) => tensor.dequantize(),
            WeightData::Vector(values) => values.clone(),
        };
        assert_eq!(values, model.read(weight).unwrap(), "{}", weight.name);
    }
    let total = quantized.report.total();
    assert_eq!((total.rmse, total.cosine, total.weights), (0.0, 1.0, model.graph.parameters()));
}

#[test]
fn the_report_adds_up() {
    let (_folder, model) = open(&tiny_model());
    let mut counted = Vec::new();
    let quantized = quantize(&model, &options(Bits::B2), &mut |p| counted.push((p.done, p.total))).unwrap();
    let report = &quantized.report;
    assert_eq!(report.dropped, ["pooler.dense.bias"]);
    assert_eq!(counted.last(), Some(&(report.total().weights, report.total().weights)));
    let groups = report.groups();
    assert_eq!(groups.len(), 4, "{groups:?}");
    let sum = |field: fn(&ErrorStats) -> u64| groups.iter().map(|group| field(&group.stats)).sum::<u64>();
    let total = report.total();
    assert_eq!((sum(|s| s.weights), sum(|s| s.bytes)), (total.weights, total.bytes));
    assert_eq!(groups.iter().map(|group| group.tensors).sum::<usize>(), report.tensors.len());
    let linear = groups.iter().find(|group| group.role == Role::Linear).unwrap();
    assert!(linear.stats.rmse > 0.0 && linear.stats.cosine < 0.999);
}

#[test]
fn the_store_finds_what_it_made() {
    let (folder, model) = open(&tiny_model());
    let store = PackageStore::at(folder.path().join("packages"));
    let prepare = |model: &ModelFolder, options| store.prepare(model, &options, &mut |_| {}).unwrap();
    let first = prepare(&model, options(Bits::B4));
    let again = prepare(&model, options(Bits::B4));
    assert_eq!((first.made, again.made), (true, false));
    assert_same(&again.report, &first.report);
    assert_eq!(first.package.path, again.package.path);
    let others = [
        options(Bits::B8),
        QuantizeOptions { mixed_precision: true, ..options(Bits::B4) },
        QuantizeOptions { scheme: Scheme::Asymmetric, ..options(Bits::B4) },
        QuantizeOptions { granularity: Granularity::Group(16), ..options(Bits::B4) },
        QuantizeOptions { embedding_bits: Bits::B8, ..options(Bits::B4) },
        QuantizeOptions { fit: Fit::MinMax, ..options(Bits::B4) },
    ];
    for other in others {
        assert!(prepare(&model, other).made, "{other:?}");
    }
    let mut changed = tiny_model();
    changed.get_mut("encoder.layer.0.output.dense.weight").unwrap().1[7] += 0.5;
    write_model(folder.path(), &changed);
    let changed = ModelFolder::open(folder.path(), "tiny").unwrap();
    assert!(prepare(&changed, options(Bits::B4)).made, "other weights make another package");
}

#[test]
fn a_damaged_package_is_made_anew() {
    let (folder, model) = open(&tiny_model());
    let store = PackageStore::at(folder.path());
    let path = store.prepare(&model, &options(Bits::B4), &mut |_| {}).unwrap().package.path;
    let whole = std::fs::read(&path).unwrap();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        bytes
    };
    // Cut short; its length, and the first and last of its header's JSON.
    let header_end = 8 + whole[8..].iter().position(|byte| *byte == b'}').unwrap();
    for damaged in [whole[..whole.len() / 2].to_vec(), changed(0), changed(7), changed(8), changed(header_end)] {
        std::fs::write(&path, &damaged).unwrap();
        assert!(store.prepare(&model, &options(Bits::B4), &mut |_| {}).unwrap().made);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn weights_that_cannot_be_are_named() {
    let error = |name: &str, value: f32, options: QuantizeOptions| {
        let mut tensors = tiny_model();
        tensors.get_mut(name).unwrap().1[65] = value;
        let (_folder, model) = open(&tensors);
        quantize(&model, &options, &mut |_| {}).unwrap_err().to_string()
    };
    let table = "embeddings.word_embeddings.weight";
    let found = error(table, f32::NAN, options(Bits::B4));
    assert!(found.contains("weight 65 (row 1, column 1) is NaN: weights must be finite"), "{found}");
    let found = error(table, 70000.0, options(Bits::B4));
    assert!(found.contains("weight 65 is 70000: f16 holds at most ±65504"), "{found}");
    let found = error("encoder.layer.0.intermediate.dense.bias", f32::INFINITY, options(Bits::B4));
    assert!(found.contains("is inf: weights must be finite"), "{found}");
    let (_folder, model) = open(&tiny_model());
    let zero = QuantizeOptions { granularity: Granularity::Group(0), ..options(Bits::B4) };
    let found = quantize(&model, &zero, &mut |_| {}).unwrap_err().to_string();
    assert!(found.contains("a group size should be a multiple of 16, at least 16, found 0"), "{found}");
}

#[test]
fn a_package_of_another_model_is_refused() {
    let (folder, model) = open(&tiny_model());
    let mut quantized = quantize(&model, &options(Bits::B4), &mut |_| {}).unwrap();
    let name = model.graph.weights.iter().find(|weight| weight.shape.len() == 1).unwrap().name.clone();
    quantized.meta.tensors.remove(&name);
    quantized.weights.remove(&name);
    let path = folder.path().join("short.safetensors");
    let error = write_package(&quantized, &path).unwrap_err().to_string();
    assert!(error.contains(&format!("tensor `{name}` is missing: expected [")), "{error}");
    let vector = TensorMeta { shape: vec![1], role: Role::Vector, format: Format::F32 };
    quantized.meta.tensors.insert(name.clone(), vector);
    quantized.weights.insert(name.clone(), WeightData::Vector(vec![0.0]));
    let error = write_package(&quantized, &path).unwrap_err().to_string();
    assert!(error.contains(&format!("tensor `{name}` should be [")), "{error}");
    assert!(PackageFile::open(&path).is_err());
}
