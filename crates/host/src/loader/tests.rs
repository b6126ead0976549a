//! Folders and packages, whole and damaged.

use webnibble_common::options::{Platform, Settings};
use webnibble_common::quant::{Bits, Scheme};

use super::testing::{Tensors, checkpoint_bytes, tiny_config, tiny_model, write, write_model};
use super::*;

fn open(tensors: &Tensors) -> Result<ModelFolder, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), tensors);
    ModelFolder::open(folder.path(), "tiny")
}

fn error(change: impl FnOnce(&mut Tensors)) -> String {
    let mut tensors = tiny_model();
    change(&mut tensors);
    open(&tensors).unwrap_err().to_string()
}

const QUERY: &str = "encoder.layer.0.attention.self.query.weight";

#[test]
fn a_folder_is_read_with_its_sentence_files() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let sentence = model.sentence.as_ref().unwrap();
    assert_eq!((sentence.normalize, sentence.max_seq_length), (true, Some(12)));
    assert_eq!((model.config_json.clone(), model.unused()), (tiny_config(), vec!["pooler.dense.bias"]));
    for file in ["modules.json", "tokenizer.json"] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    assert!(model.sentence.is_none() && model.tokenizer.is_none());
}

#[test]
fn sources_are_stacked_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = tiny_model();
    write_model(folder.path(), &tensors);
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let fused = model.graph.weights.iter().find(|weight| weight.sources.len() == 3 && weight.shape.len() == 2).unwrap();
    let expected: Vec<f32> = fused.sources.iter().flat_map(|source| tensors[source].1.clone()).collect();
    assert_eq!(model.read(fused).unwrap(), expected);
}

#[test]
fn checkpoints_with_other_names_are_the_same_model() {
    let mut renamed = Tensors::new();
    for (name, tensor) in tiny_model() {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        renamed.insert(format!("bert.{name}"), tensor);
    }
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_model(folder.path(), &tiny_model());
    write_model(other.path(), &renamed);
    let (model, other) =
        (ModelFolder::open(folder.path(), "a").unwrap(), ModelFolder::open(other.path(), "b").unwrap());
    for weight in &model.graph.weights {
        assert_eq!(model.read(weight).unwrap(), other.read(weight).unwrap(), "{}", weight.name);
    }
}

#[test]
fn missing_tensors_are_named_with_what_is_near() {
    let error = error(|tensors| {
        let tensor = tensors.remove(QUERY).unwrap();
        tensors.insert("encoder.layer.0.attention.self.querry.weight".into(), tensor);
    });
    let expected = "tensor `encoder.layer.0.attention.self.query.weight` is missing: expected [64, 64], looked for \
        encoder.layer.0.attention.self.query.weight, bert.encoder.layer.0.attention.self.query.weight; found \
        encoder.layer.0.attention.self.querry.weight";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn shapes_must_be_those_of_the_config() {
    let wrong = error(|tensors| tensors.get_mut(QUERY).unwrap().0 = vec![32, 128]);
    assert!(
        wrong.ends_with(&format!("tensor `{QUERY}` should be [64, 64] by config.json, found [32, 128]")),
        "{wrong}"
    );
    let wrong = error(|tensors| {
        let tensor = tensors.get_mut(QUERY).unwrap();
        tensor.0 = vec![63, 64];
        tensor.1.truncate(63 * 64);
    });
    assert!(wrong.contains(&format!("tensor `{QUERY} + ")), "{wrong}");
    assert!(wrong.ends_with("should be [192, 64] by config.json, found [191, 64]"), "{wrong}");
    let wrong = error(|tensors| tensors.get_mut(QUERY).unwrap().0 = vec![64 * 64]);
    assert!(wrong.ends_with("should be [64, 64] by config.json, found [4096]"), "{wrong}");
}

#[test]
fn files_that_are_not_there_or_not_json_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = || ModelFolder::open(folder.path(), "tiny").unwrap_err().to_string();
    assert!(error().ends_with("expected a folder in Hugging Face layout, found no config.json"), "{}", error());
    write(folder.path(), "config.json", b"{");
    assert!(error().contains("config.json: should be JSON: EOF while parsing"), "{}", error());
    write(folder.path(), "config.json", br#"{"model_type": "mamba"}"#);
    assert!(error().ends_with("model family `mamba` is not known; the families are: bert"), "{}", error());
    write(folder.path(), "config.json", tiny_config().to_string().as_bytes());
    assert!(error().ends_with("found no weights"), "{}", error());
    write(folder.path(), "modules.json", b"[]");
    assert!(error().ends_with("expected Transformer, Pooling and optionally Normalize, found none"), "{}", error());
}

#[test]
fn a_missing_pooling_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    std::fs::remove_file(folder.path().join("1_Pooling/config.json")).unwrap();
    let error = ModelFolder::open(folder.path(), "tiny").unwrap_err().to_string();
    assert!(error.ends_with("config.json: there is no such file or folder"), "{error}");
}

#[test]
fn other_files_are_told_from_packages() {
    let folder = tempfile::tempdir().unwrap();
    let error = |bytes: &[u8]| {
        write(folder.path(), "file", bytes);
        Model::open(&folder.path().join("file"), "file").unwrap_err().to_string()
    };
    assert!(error(b"GGUF\x03\0\0\0").contains("GGUF files are not read"));
    let checkpoint = checkpoint_bytes(&[("a", &[1], &[1.0])]);
    assert!(error(&checkpoint).ends_with("make one of it with `webnibble quantize`"));
    assert!(error(b"").ends_with("the header should have 8 bytes, the file has 0: it is truncated"));
    assert!(error(b"<!doctype html>").ends_with("this is not a safetensors file"));
}

#[test]
fn a_folder_with_onnx_alone_is_for_transformers_js() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    write(folder.path(), "onnx/model.onnx", b"weights of somebody");
    let open = || Model::open(folder.path(), "tiny").unwrap();
    assert!(matches!(open(), Model::Folder(_)), "safetensors come first");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let Model::Onnx(model) = open() else { panic!("it has no other weights") };
    assert!(model.sentence.is_some() && model.tokenizer.is_some());

    let facts = model.facts(Bits::B32, &mut |_| {}).unwrap();
    assert_eq!((facts.header.meta.family.as_str(), facts.header.total_bytes), ("bert", 19));
    assert!(facts.header.meta.parameters > 0 && facts.header.meta.tensors.is_empty());
    let error =
        model.settings_for(&Settings { scheme: Some(Scheme::Asymmetric), ..Settings::default() }, Platform::Wasm);
    assert!(error.unwrap_err().to_string().contains("leave out --scheme"));
    let resolved = crate::run::resolve(&Default::default(), Platform::Wasm, "bert").unwrap();
    let error = crate::prepare::package(&open(), &resolved.settings, Platform::Wasm, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("take --engine transformers-js"), "{error}");
}

#[test]
fn a_digest_tells_models_apart() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let digest = || ModelFolder::open(folder.path(), "tiny").unwrap().digest();
    let first = digest();
    assert_eq!(first, digest());
    write(folder.path(), "tokenizer.json", b"{}");
    let second = digest();
    assert_ne!(first, second);
    write(folder.path(), "sentence_bert_config.json", br#"{"max_seq_length": 13}"#);
    assert_ne!(second, digest());
}
