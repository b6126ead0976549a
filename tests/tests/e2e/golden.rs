//! Golden models: their inputs, their answers, and how far another answer is from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use webnibble_common::io::Output;
use webnibble_common::record::RunRecord;
use webnibble_common::tensor::Tensor;
use webnibble_tests::{Sandbox, golden_model};

/// A golden model's tensors whose names begin with `prefix` (`in.` or `out.`), by the rest of their names in order.
pub(crate) fn golden_tensors(family: &str, prefix: &str) -> Vec<(String, Tensor)> {
    let bytes = std::fs::read(golden_model(family).join("io.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let named = file.iter().filter_map(|(name, view)| {
        let tensor = match view.dtype() {
            Dtype::F32 => Tensor::f32(view.shape(), values(view.data(), f32::from_le_bytes)),
            Dtype::I64 => Tensor::u32(view.shape(), values(view.data(), |bytes| i64::from_le_bytes(bytes) as u32)),
            other => panic!("{name} is {other:?}"),
        };
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.unwrap()))
    });
    named.collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn values<T, const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|bytes| value(bytes.try_into().unwrap())).collect()
}

/// The golden BERT's inputs by name, and its answer.
pub(crate) fn golden() -> (Vec<(String, Tensor)>, Vec<f32>) {
    let answer = golden_outputs().into_iter().find(|(name, _)| name == "last_hidden_state");
    (golden_tensors("bert", "in."), answer.unwrap().1.as_f32().unwrap().to_vec())
}

/// Every output of the golden BERT that transformers gave, by its name.
pub(crate) fn golden_outputs() -> Vec<(String, Tensor)> {
    golden_tensors("bert", "out.")
}

/// The golden BERT's inputs as `--input` takes them, and its answer.
pub(crate) fn golden_input(sandbox: &Sandbox) -> (PathBuf, Vec<f32>) {
    let (inputs, expected) = golden();
    (input_file(sandbox, &inputs), expected)
}

/// Tensors as `--input` takes them.
pub(crate) fn input_file(sandbox: &Sandbox, inputs: &[(String, Tensor)]) -> PathBuf {
    let document = inputs.iter().map(|(name, tensor)| {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let document = match tensor.as_u32() {
            Ok(ids) => json!({ "shape": shape, "dtype": dtype, "data": ids }),
            Err(_) => json!({ "shape": shape, "dtype": dtype, "data": tensor.as_f32().unwrap() }),
        };
        (name.clone(), document)
    });
    let path = sandbox.path().join("input.json");
    std::fs::write(&path, Value::Object(document.collect()).to_string()).unwrap();
    path
}

pub(crate) fn run_golden(sandbox: &Sandbox, input: &Path, options: &[&str]) -> RunRecord {
    run_golden_model(sandbox, "bert", input, options)
}

pub(crate) fn run_golden_model(sandbox: &Sandbox, family: &str, input: &Path, options: &[&str]) -> RunRecord {
    let (model, input) = (golden_model(family), input.to_str().unwrap());
    let args = ["run", "--json", "--gpu", "software", "--model", model.to_str().unwrap(), "--input", input];
    let finished = sandbox.run(&[&args, options].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let record: RunRecord = serde_json::from_str(&finished.stdout).unwrap();
    // Every field of the record is there by its name, and no other: written again, it has the same ones.
    assert_eq!(names(&serde_json::to_value(&record).unwrap()), names(&finished.json()));
    record
}

/// The names of all fields, each with those that it is in. Numbers are left out: reading and writing rounds them.
fn names(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let inner = names(value).into_iter().map(move |inner| format!("{name}.{inner}"));
                std::iter::once(name.clone()).chain(inner)
            })
            .collect(),
        Value::Array(items) => items.first().map(names).unwrap_or_default(),
        _ => Vec::new(),
    }
}

pub(crate) fn answer(record: &RunRecord) -> Vec<f32> {
    match record.output.as_ref().expect("there is an answer") {
        Output::Tensors { tensors } if tensors.len() == 1 => tensors["last_hidden_state"].data.clone(),
        other => panic!("expected hidden states, found {other:?}"),
    }
}

/// Checks that an answer is the golden model's as far as its bits allow: the least cosine to the answer of PyTorch.
#[track_caller]
pub(crate) fn assert_near(record: &RunRecord, expected: &[f32], least: f64) {
    let found = cosine(&answer(record), expected);
    println!("golden BERT: cosine {found:.6}, {least} at least");
    assert!(found >= least, "cosine {found}, expected {least} at least");
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// `max |a − b| / max |reference|`; infinite where a number is none.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // `max` alone would leave out what is no number.
    off.fold(0.0f32, |largest, off| if off.is_nan() { f32::INFINITY } else { largest.max(off) }) / largest
}
