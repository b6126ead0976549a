//! Exported files against our own executor: the ONNX checker takes them, and onnxruntime gives the same answers with the
//! same quantized weights. Needs the Python environment that scripts/fetch-onnx-tools.sh makes.

#![expect(clippy::print_stdout, reason = "what a test measured is shown, beside whether it passed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use webnibble_common::io::Input;
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::tensor::Tensor;
use webnibble_host::loader::{ModelFolder, PackageFile, models_dir};
use webnibble_host::onnx::{self, OnnxOptions, WeightForm};
use webnibble_host::quantizer::{QuantizeOptions, quantize, write_package};
use webnibble_host::reference::Reference;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The interpreter, where the environment was made.
fn python() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let tools = set("WEBNIBBLE_TOOLS").or_else(|| Some(cache()?.join("webnibble/tools")));
    let tools = tools.ok_or("there is no home")?;
    let found = std::fs::read_dir(&tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let made = found.filter(|path| path.join("made").is_file()).map(|path| path.join("bin/python")).max();
    made.ok_or_else(|| format!("no onnx tools in {} (scripts/fetch-onnx-tools.sh)", tools.display()))
}

/// Two items for a model: images, or rows of different lengths, so that the mask has work.
fn input(model: &ModelFolder) -> Input {
    let Some([height, width]) = model.config.image_size() else {
        return Input::ids(vec![vec![5, 9, 2, 7, 11, 3], vec![5, 8, 3]]);
    };
    let values: Vec<f32> = (0..2 * 3 * height * width).map(|at| (at as f32 * 0.37).sin()).collect();
    let pixels = Tensor::f32([2, 3, height, width], values).unwrap();
    Input::Tensors { tensors: vec![("pixel_values".to_owned(), pixels)] }
}

/// A model quantized, exported, and run by ourselves.
fn case(model: &ModelFolder, options: &QuantizeOptions, form: OnnxOptions, file: &Path) -> Value {
    let quantized = quantize(model, options, &mut |_| {}).unwrap();
    let package: PackageFile = write_package(&quantized, &file.with_extension("safetensors")).unwrap();
    let written = onnx::write(&package, form, file).unwrap();
    let reference = Reference::quantized(&package).unwrap();
    let input = input(model);
    let tensors = reference.inputs(&input).unwrap().tensors;
    let outputs = reference.outputs_of(&tensors, &[]).unwrap();
    let (output, expected) = &outputs[0];
    let inputs: serde_json::Map<_, _> = tensors
        .iter()
        .map(|(name, tensor)| {
            let data = tensor.as_u32().map_or_else(|_| json!(tensor.as_f32().unwrap()), |ids| json!(ids));
            (name.clone(), json!({ "shape": tensor.shape(), "dtype": tensor.dtype(), "data": data }))
        })
        .collect();
    let (shape, values) = (expected.shape().to_vec(), expected.as_f32().unwrap());
    json!({ "file": written.path, "inputs": inputs, "output": output, "shape": shape, "expected": values })
}

fn check(cases: &[Value], folder: &Path) -> Vec<Value> {
    let path = folder.join("cases.json");
    std::fs::write(&path, serde_json::to_vec(cases).unwrap()).unwrap();
    let script = repository().join("tests/python/check_onnx.py");
    let output = Command::new(python().unwrap()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_alike(found: &[Value], cases: usize) {
    assert_eq!(found.len(), cases);
    for found in found {
        let cosine = found["cosine"].as_f64().unwrap();
        println!("{}: cosine {cosine:.8}", found["file"].as_str().unwrap().rsplit('/').next().unwrap());
        assert!(cosine >= 0.99999, "{found}");
    }
}

#[test]
fn every_form_gives_the_answer_of_our_executor() {
    if let Err(reason) = python() {
        return println!("skipped: {reason}");
    }
    let model = ModelFolder::open(&repository().join("tests/data/goldens/bert"), "bert").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let forms = [WeightForm::NBits, WeightForm::DequantizeLinear];
    let mut cases = Vec::new();
    let mut add = |name: String, options: QuantizeOptions, form| {
        let form = OnnxOptions { form, ..OnnxOptions::default() };
        cases.push(case(&model, &options, form, &folder.path().join(format!("{name}.onnx"))));
    };
    for bits in [Bits::B32, Bits::B16] {
        let options = QuantizeOptions { bits, embedding_bits: bits, ..QuantizeOptions::default() };
        add(format!("f{bits}"), options, WeightForm::NBits);
    }
    for (bits, scheme, granularity) in [
        (Bits::B8, Scheme::Symmetric, Granularity::Channel),
        (Bits::B8, Scheme::Asymmetric, Granularity::Group(16)),
        (Bits::B8, Scheme::Asymmetric, Granularity::Tensor),
        (Bits::B4, Scheme::Symmetric, Granularity::Group(128)),
        (Bits::B4, Scheme::Asymmetric, Granularity::Group(48)),
        (Bits::B4, Scheme::Asymmetric, Granularity::Channel),
        (Bits::B2, Scheme::Symmetric, Granularity::Group(32)),
        (Bits::B2, Scheme::Asymmetric, Granularity::Tensor),
    ] {
        let options = QuantizeOptions { bits, scheme, granularity, ..QuantizeOptions::default() };
        for form in forms {
            add(format!("q{bits}-{scheme:?}-{granularity:?}-{form:?}"), options, form);
        }
    }
    for embedding_bits in [Bits::B8, Bits::B4, Bits::B2] {
        for granularity in [Granularity::Group(48), Granularity::Channel, Granularity::Tensor] {
            let options = QuantizeOptions { embedding_bits, granularity, ..QuantizeOptions::default() };
            add(format!("e{embedding_bits}-{granularity:?}"), options, WeightForm::NBits);
        }
    }
    assert_alike(&check(&cases, folder.path()), cases.len());
}

#[test]
fn images_are_cut_into_patches() {
    if let Err(reason) = python() {
        return println!("skipped: {reason}");
    }
    let model = ModelFolder::open(&repository().join("tests/data/goldens/vit"), "vit").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<_> = [(Bits::B32, Bits::B32), (Bits::B8, Bits::B16), (Bits::B4, Bits::B4)]
        .into_iter()
        .map(|(bits, embedding_bits)| {
            let options = QuantizeOptions { bits, embedding_bits, ..QuantizeOptions::default() };
            case(&model, &options, OnnxOptions::default(), &folder.path().join(format!("vit-{bits}.onnx")))
        })
        .collect();
    assert_eq!(cases[0]["output"], "logits");
    assert_alike(&check(&cases, folder.path()), cases.len());
}

#[test]
fn a_real_model_pools_and_keeps_its_weights() {
    let path = models_dir().join("all-MiniLM-L6-v2");
    if let Err(reason) = python() {
        return println!("skipped: {reason}");
    }
    if !path.is_dir() {
        return println!("skipped: {} is not there (scripts/fetch-models.sh)", path.display());
    }
    let model = ModelFolder::open(&path, "all-MiniLM-L6-v2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = QuantizeOptions { mixed_precision: true, ..QuantizeOptions::default() };
    let case = case(&model, &options, OnnxOptions::default(), &folder.path().join("mini.onnx"));
    assert_eq!(case["output"], "sentence_embedding");
    let found = check(std::slice::from_ref(&case), folder.path());
    assert!(found[0]["operators"].as_array().unwrap().contains(&"MatMulNBits".into()), "{}", found[0]);
    assert_alike(&found, 1);
}

#[test]
fn dynamic_quantization_stays_near() {
    if let Err(reason) = python() {
        return println!("skipped: {reason}");
    }
    let model = ModelFolder::open(&repository().join("tests/data/goldens/bert"), "bert").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = QuantizeOptions { bits: Bits::B8, granularity: Granularity::Channel, ..QuantizeOptions::default() };
    let form = OnnxOptions { form: WeightForm::MatMulInteger, ..OnnxOptions::default() };
    let case = case(&model, &options, form, &folder.path().join("integer.onnx"));
    let found = &check(std::slice::from_ref(&case), folder.path())[0];
    assert!(found["operators"].as_array().unwrap().contains(&"MatMulInteger".into()), "{found}");
    // Activations are 8 bits there: near, and not the same. On CPUs without VNNI signed weights would give 0.98.
    let cosine = found["cosine"].as_f64().unwrap();
    println!("cosine {cosine:.8}");
    assert!((0.99..1.0).contains(&cosine), "{cosine}");
}
