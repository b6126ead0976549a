//! Folders and packages, whole and damaged.

use serde_json::json;
use webnibble_common::options::{Platform, Settings};
use webnibble_common::package::TOKENIZER;
use webnibble_common::quant::{Bits, Granularity, Scheme};
use webnibble_common::weights::WeightMap;

use super::testing::{Tensors, checkpoint_bytes, model_files, tiny_config, tiny_model, write, write_model};
use super::*;
use crate::HostError;
use crate::quantizer::{QuantizeOptions, quantize, write_package};

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
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let model = ModelFolder::open(folder.path(), "a").unwrap();
    for prefix in ["bert.", "model.", "module.", "module.bert.", "module.model.bert."] {
        let mut renamed = Tensors::new();
        for (name, tensor) in tiny_model() {
            let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
            renamed.insert(format!("{prefix}{name}"), tensor);
        }
        let other = tempfile::tempdir().unwrap();
        write_model(other.path(), &renamed);
        let other = ModelFolder::open(other.path(), "b").unwrap();
        for weight in &model.graph.weights {
            assert_eq!(model.read(weight).unwrap(), other.read(weight).unwrap(), "{prefix} {}", weight.name);
        }
    }
}

#[test]
fn the_transformer_may_lie_in_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in model_files(&tiny_model()) {
        let of_model = name == "modules.json" || name.starts_with("1_Pooling");
        write(folder.path(), &if of_model { name } else { format!("0_Transformer/{name}") }, &bytes);
    }
    let modules =
        json!([{"path": "0_Transformer", "type": "m.Transformer"}, {"path": "1_Pooling", "type": "m.Pooling"}]);
    write(folder.path(), "modules.json", modules.to_string().as_bytes());
    // As old versions wrote it, and as some folders lack it.
    for config in [Some(br#"{"__version__": "0.3.8"}"#), None] {
        match config {
            Some(config) => write(folder.path(), "config.json", config),
            None => std::fs::remove_file(folder.path().join("config.json")).unwrap(),
        }
        let Model::Folder(model) = Model::open(folder.path(), "tiny").unwrap() else { panic!("it has weights") };
        assert_eq!(model.transformer, folder.path().join("0_Transformer"));
        assert_eq!(model.sentence.as_ref().unwrap().max_seq_length, Some(12));
        assert!(model.tokenizer.is_some());
        assert_eq!(inspect(folder.path(), "tiny").unwrap().problem, None);
    }
}

#[test]
fn a_folder_stays_in_itself() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("other"), &tiny_model());
    for path in ["../other", "/etc", "../other/1_Pooling"] {
        write_model(&folder.path().join("model"), &tiny_model());
        for modules in [
            json!([{"path": path, "type": "m.Transformer"}, {"path": "1_Pooling", "type": "m.Pooling"}]),
            json!([{"path": "", "type": "m.Transformer"}, {"path": path, "type": "m.Pooling"}]),
        ] {
            write(&folder.path().join("model"), "modules.json", modules.to_string().as_bytes());
            let error = ModelFolder::open(&folder.path().join("model"), "tiny").unwrap_err().to_string();
            assert!(error.ends_with(&format!("the path of a folder in the model's own, found `{path}`")), "{error}");
        }
    }
}

/// The error of a model whose `config.json` is changed; without the files of sentence-transformers.
fn error_of_config(change: impl FnOnce(&mut serde_json::Value), more: &[(&str, &[usize])]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = tiny_model();
    tensors.extend(more.iter().map(|(name, shape)| {
        let shape = shape.to_vec();
        ((*name).to_owned(), (shape.clone(), vec![0.5; shape.iter().product()]))
    }));
    write_model(folder.path(), &tensors);
    std::fs::remove_file(folder.path().join("modules.json")).unwrap();
    let mut config = tiny_config();
    change(&mut config);
    write(folder.path(), "config.json", config.to_string().as_bytes());
    let opened = ModelFolder::open(folder.path(), "tiny").map_err(HostError::from);
    opened.map_or_else(|error| format!("{error}\n{}", error.hint()), |_| String::new())
}

#[test]
fn a_model_with_a_head_alone_is_refused_and_said_to_be_one() {
    let architecture =
        |name: &'static str| move |config: &mut serde_json::Value| config["architectures"] = json!([name]);
    let head: &[(&str, &[usize])] = &[("classifier.weight", &[1, 64]), ("classifier.bias", &[1])];
    let error = error_of_config(architecture("BertForSequenceClassification"), head);
    assert!(
        error.contains("BertForSequenceClassification: this is a classifier of texts, or a cross-encoder"),
        "{error}"
    );
    assert!(error.contains("BertModel and BertForMaskedLM") && !error.contains("fetch"), "{error}");
    for name in ["BertForTokenClassification", "BertForQuestionAnswering"] {
        assert!(error_of_config(architecture(name), &[]).contains(name));
    }
    let error = error_of_config(|_| (), head);
    assert!(error.contains("no `architectures`") && error.contains("classifier.weight"), "{error}");
    let of_words: &[(&str, &[usize])] = &[("cls.predictions.bias", &[70])];
    for name in ["BertModel", "BertForMaskedLM"] {
        assert_eq!(error_of_config(architecture(name), of_words), "");
    }
    assert_eq!(error_of_config(|_| (), of_words), "");
}

#[test]
fn what_sentence_transformers_describe_is_no_matter_of_the_architecture() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let mut config = tiny_config();
    config["architectures"] = json!(["BertForSequenceClassification"]);
    write(folder.path(), "config.json", config.to_string().as_bytes());
    assert!(ModelFolder::open(folder.path(), "tiny").is_ok());
    let dense = json!([{"path": "", "type": "m.Transformer"}, {"path": "1_Pooling", "type": "m.Pooling"},
        {"path": "2_Dense", "type": "m.Dense"}]);
    write(folder.path(), "modules.json", dense.to_string().as_bytes());
    let error = HostError::from(ModelFolder::open(folder.path(), "tiny").unwrap_err());
    assert!(error.to_string().contains("found Transformer, Pooling, Dense: Dense is not supported yet"), "{error}");
    assert!(!error.hint().contains("fetch"), "the folder is whole: {}", error.hint());
}

#[test]
fn counts_that_the_checkpoint_does_not_bear_out_are_refused_before_a_graph_is_made() {
    let with = |field: &'static str, value: u64| move |config: &mut serde_json::Value| config[field] = json!(value);
    // A graph of as many layers would take tens of gigabytes.
    let error = error_of_config(with("num_hidden_layers", 4_000_000_000), &[]);
    assert!(error.contains("`num_hidden_layers` should be a whole number from 1 to 1024, found 4000000000"), "{error}");
    let error = error_of_config(with("num_hidden_layers", 1000), &[]);
    assert!(error.contains("`num_hidden_layers` is 1000, but there are tensors for 1"), "{error}");
    for field in ["vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings", "type_vocab_size"] {
        let error = error_of_config(with(field, 2_000_000_000), &[]);
        assert!(error.contains(&format!("`{field}` is 2000000000, but tensor `")), "{error}");
    }
    assert!(
        error_of_config(with("num_attention_heads", 2_000_000_000), &[]).contains("multiple of `num_attention_heads`")
    );
}

#[test]
fn a_package_is_held_to_its_counts_too() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let model = ModelFolder::open(folder.path(), "tiny").unwrap();
    let mut quantized = quantize(&model, &QuantizeOptions::default(), &mut |_| {}).unwrap();
    quantized.meta.config["num_hidden_layers"] = json!(1000);
    let error = write_package(&quantized, &folder.path().join("q4.safetensors")).unwrap_err().to_string();
    assert!(error.contains("`num_hidden_layers` is 1000, but there are tensors for 1"), "{error}");
    // One that an older version made of a model with a head.
    let mut quantized = quantize(&model, &QuantizeOptions::default(), &mut |_| {}).unwrap();
    quantized.meta.config["architectures"] = json!(["BertForSequenceClassification"]);
    let path = folder.path().join("q4.safetensors");
    assert!(write_package(&quantized, &path).is_ok(), "what modules.json describes is no matter of the architecture");
    quantized.meta.sentence = None;
    assert!(write_package(&quantized, &path).unwrap_err().to_string().contains("a classifier of texts"));
}

#[test]
fn what_took_the_place_of_a_file_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 90868376\n".as_slice();
    for (content, what) in [(pointer, "Git LFS pointer"), (b"<!DOCTYPE html>\n<html>", "HTML page")] {
        for name in model_files(&tiny_model()).keys() {
            let folder = tempfile::tempdir().unwrap();
            write_model(folder.path(), &tiny_model());
            write(folder.path(), name, content);
            let error = HostError::from(Model::open(folder.path(), "tiny").unwrap_err());
            let expected = format!("{name}: this is a");
            assert!(error.to_string().contains(&expected) && error.to_string().contains(what), "{error}");
            assert!(error.hint().contains("the file itself"), "{}", error.hint());
        }
        let folder = tempfile::tempdir().unwrap();
        write_model(folder.path(), &tiny_model());
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        for name in ["onnx/model.onnx", "model.safetensors.index.json"] {
            write(folder.path(), name, content);
            let error = Model::open(folder.path(), "tiny").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(what), "{error}");
        }
        write(folder.path(), "package", content);
        let error = Model::open(&folder.path().join("package"), "package").unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn json_as_python_writes_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let config = tiny_config().to_string();
    write(folder.path(), "config.json", format!("\u{feff}{}", config.replacen('{', "{\"a\": NaN, ", 1)).as_bytes());
    assert_eq!(ModelFolder::open(folder.path(), "tiny").unwrap().config_json["a"], "NaN");
    write(folder.path(), "config.json", config.replacen('{', "{\"layer_norm_eps\": Infinity, ", 1).as_bytes());
    let error = ModelFolder::open(folder.path(), "tiny").unwrap_err().to_string();
    assert!(error.ends_with("`layer_norm_eps` should be a positive number, found \"Infinity\""), "{error}");
}

#[test]
fn missing_tensors_are_named_with_what_is_near() {
    let error = error(|tensors| {
        let tensor = tensors.remove(QUERY).unwrap();
        tensors.insert("encoder.layer.0.attention.self.querry.weight".into(), tensor);
    });
    let expected = "tensor `encoder.layer.0.attention.self.query.weight` is missing: expected [64, 64], looked for \
        encoder.layer.0.attention.self.query.weight, and these after `module.`, `model.`, `vit.`, `bert.`; found \
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
    assert!(error().ends_with("model family `mamba` is not known; the families are: bert, llama, vit"), "{}", error());
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
    let expected = "modules.json names a Pooling in `1_Pooling`, whose config.json is not there";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn other_files_are_told_from_packages() {
    let folder = tempfile::tempdir().unwrap();
    let error = |bytes: &[u8]| {
        write(folder.path(), "file", bytes);
        Model::open(&folder.path().join("file"), "file").unwrap_err().to_string()
    };
    assert!(error(b"GGUF\x03\0\0\0").contains("the number of tensors should have 8 bytes, but 0 are left"));
    let checkpoint = checkpoint_bytes(&[("a", &[1], &[1.0])]);
    assert!(error(&checkpoint).ends_with("make one of it with `webnibble quantize`"));
    assert!(error(b"").ends_with("the header should have 8 bytes, the file has 0: it is truncated"));
    assert!(error(b"not a header").ends_with("this is not a safetensors file"));
}

/// A package of the tiny model.
fn tiny_package(folder: &Path) -> PackageFile {
    write_model(folder, &tiny_model());
    let options = QuantizeOptions { granularity: Granularity::Group(32), ..QuantizeOptions::default() };
    let quantized = quantize(&ModelFolder::open(folder, "tiny").unwrap(), &options, &mut |_| {}).unwrap();
    write_package(&quantized, &folder.join("tiny.safetensors")).unwrap()
}

/// What comes of a package whose bytes were changed: its header's digest, and its weights.
fn taken(path: &Path, whole: &[u8], change: impl FnOnce(&mut [u8])) -> Result<(String, WeightMap), LoadError> {
    let mut bytes = whole.to_vec();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    let package = PackageFile::open(path)?;
    let weights = package.read_weights()?;
    package.read_extra(TOKENIZER)?;
    package.read_extra(crate::quantizer::REPORT)?;
    Ok((package.header.digest, weights))
}

#[test]
fn a_changed_byte_of_a_package_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let package = tiny_package(folder.path());
    let (path, header) = (&package.path, &package.header);
    let whole = std::fs::read(path).unwrap();
    let (digest, _) = taken(path, &whole, |_| {}).unwrap();
    for at in (0..header.data_start as usize).step_by(101) {
        match taken(path, &whole, |bytes| bytes[at] ^= 1) {
            Ok((other, _)) => assert_ne!(other, digest, "byte {at}"),
            Err(error) => assert!(error.to_string().contains("tiny.safetensors"), "byte {at}: {error}"),
        }
    }
    for plane in &header.planes {
        for at in [plane.begin, plane.end - 1] {
            let error = taken(path, &whole, |bytes| bytes[at as usize] ^= 0x80).unwrap_err().to_string();
            let named = error.contains("tiny.safetensors") && error.contains(&format!("plane `{}`", plane.name()));
            assert!(named && error.contains("SHA-256"), "byte {at}: {error}");
        }
        // The digest itself.
        let place = whole.windows(64).position(|bytes| bytes == plane.sha256.as_bytes()).expect("the header has it");
        let digit = if whole[place] == b'0' { b'1' } else { b'0' };
        let error = taken(path, &whole, |bytes| bytes[place] = digit).unwrap_err().to_string();
        assert!(error.contains(&format!("plane `{}`", plane.name())), "{error}");
    }
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
    // Each file that has a say in what a text comes to makes another model of it.
    let files = [
        ("tokenizer_config.json", r#"{"do_lower_case": false}"#),
        ("added_tokens.json", r#"{"mats": 64}"#),
        ("special_tokens_map.json", r#"{"cls_token": "[UNK]"}"#),
        ("sentence_bert_config.json", r#"{"max_seq_length": 13}"#),
        ("sentence_bert_config.json", r#"{"max_seq_length": 13, "do_lower_case": true}"#),
        ("config_sentence_transformers.json", r#"{"prompts": {"query": "q: "}}"#),
        ("config_sentence_transformers.json", r#"{"prompts": {"query": "q: "}, "default_prompt_name": "query"}"#),
        ("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true, "include_prompt": false}"#),
    ];
    let mut digests = vec![first];
    for (name, content) in files {
        write(folder.path(), name, content.as_bytes());
        assert!(!digests.contains(&digest()), "{name}: {content}");
        digests.push(digest());
    }
}

#[test]
fn how_a_model_generates_by_its_own_word_is_read_and_checked() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/llama");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let open = || ModelFolder::open(folder.path(), "llama");
    let without = open().unwrap();
    assert_eq!(without.generation_config, None);
    write(folder.path(), "generation_config.json", br#"{"eos_token_id": [2, 9], "do_sample": true, "top_k": 5}"#);
    let with = open().unwrap();
    assert_eq!(with.generation_config.as_ref().unwrap()["top_k"], 5);
    assert!(with.digest() != without.digest(), "another package");
    write(folder.path(), "generation_config.json", br#"{"top_k": "five"}"#);
    let error = open().unwrap_err().to_string();
    assert!(
        error
            .ends_with("generation_config.json: `top_k` should be a whole number from 0 to 4294967295, found \"five\""),
        "{error}"
    );
}

#[test]
fn what_becomes_of_images_is_read_and_checked() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/goldens/vit");
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let open = || ModelFolder::open(folder.path(), "vit");
    let without = open().unwrap();
    assert_eq!(without.preprocessor_config, None);
    write(folder.path(), "preprocessor_config.json", br#"{"size": 32, "resample": 3}"#);
    let with = open().unwrap();
    assert_eq!(with.preprocessor_config.as_ref().unwrap()["resample"], 3);
    assert!(with.digest() != without.digest(), "another package");
    write(folder.path(), "preprocessor_config.json", br#"{"size": 33}"#);
    let error = open().unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json: `size` should be height 32 and width 32"), "{error}");
}

#[test]
fn limits_of_the_tokenizer_and_of_the_sentence_model_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    write(folder.path(), "tokenizer_config.json", br#"{"model_max_length": 9}"#);
    let limit = || ModelFolder::open(folder.path(), "tiny").unwrap().max_tokens();
    assert_eq!(limit(), 12, "the sentence model's own limit comes first");
    write(folder.path(), "sentence_bert_config.json", br#"{"max_seq_length": 512}"#);
    assert_eq!(limit(), 16, "there are no more positions");
    std::fs::remove_file(folder.path().join("sentence_bert_config.json")).unwrap();
    assert_eq!(limit(), 9);
    std::fs::remove_file(folder.path().join("modules.json")).unwrap();
    assert_eq!(limit(), 9);
}

#[test]
fn a_tokenizer_that_is_none_is_found_when_the_folder_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), &tiny_model());
    let error = |bytes: &[u8]| {
        write(folder.path(), "tokenizer.json", bytes);
        ModelFolder::open(folder.path(), "tiny").unwrap_err().to_string()
    };
    assert!(error(b"{}").ends_with("tokenizer.json: should be a tokenizer with a `model`"));
    assert!(error(b"[").contains("tokenizer.json: should be JSON"));
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    write(folder.path(), "vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\ncat\n");
    assert!(ModelFolder::open(folder.path(), "tiny").unwrap().tokenizer.is_some());
    write(folder.path(), "tokenizer_config.json", br#"{"tokenizer_class": "T5Tokenizer"}"#);
    let error = ModelFolder::open(folder.path(), "tiny").unwrap_err().to_string();
    assert!(error.contains("tokenizer class `T5Tokenizer` needs a tokenizer.json"), "{error}");
}
