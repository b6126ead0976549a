//! Small models for tests.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use webnibble_common::graph::Graph;
use webnibble_models::ModelConfig;

/// Writes a file of a folder, and the folders on the way to it.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A safetensors file of f32 tensors.
pub(crate) fn checkpoint_bytes(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let begin = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert((*name).to_owned(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Tensors of a checkpoint by name, with their shapes and values.
pub(crate) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub(crate) fn tiny_config() -> serde_json::Value {
    json!({"model_type": "bert", "vocab_size": 70, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
        "intermediate_size": 96, "max_position_embeddings": 16, "type_vocab_size": 2})
}

pub(crate) fn tiny_graph() -> Graph {
    ModelConfig::from_json(&tiny_config()).unwrap().graph(None)
}

/// Every tensor that [`tiny_config`]'s graph is made of, with values that differ, and one that it does not use.
pub(crate) fn tiny_model() -> Tensors {
    let mut tensors = Tensors::from([("pooler.dense.bias".to_owned(), (vec![3], vec![1.0, 2.0, 3.0]))]);
    for weight in tiny_graph().weights {
        let mut shape = weight.shape.clone();
        shape[0] /= weight.sources.len();
        for source in weight.sources {
            let seed = tensors.len() as f32;
            let count: usize = shape.iter().product();
            let values = (0..count).map(|i| ((i as f32 + 1.7 * seed) * 0.37).sin() * 0.1).collect();
            tensors.insert(source, (shape.clone(), values));
        }
    }
    tensors
}

/// The files of a sentence-transformers model with these tensors.
pub(crate) fn model_files(tensors: &Tensors) -> BTreeMap<String, Vec<u8>> {
    let listed: Vec<(&str, &[usize], &[f32])> =
        tensors.iter().map(|(name, (shape, values))| (name.as_str(), shape.as_slice(), values.as_slice())).collect();
    let modules = json!([
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]);
    BTreeMap::from([
        ("config.json".to_owned(), tiny_config().to_string().into_bytes()),
        ("modules.json".to_owned(), modules.to_string().into_bytes()),
        ("1_Pooling/config.json".to_owned(), br#"{"pooling_mode_mean_tokens": true}"#.to_vec()),
        ("sentence_bert_config.json".to_owned(), br#"{"max_seq_length": 12}"#.to_vec()),
        ("tokenizer.json".to_owned(), tiny_tokenizer()),
        ("model.safetensors".to_owned(), checkpoint_bytes(&listed)),
    ])
}

/// Writes the files of a model into a folder.
pub(crate) fn write_model(folder: &Path, tensors: &Tensors) {
    for (name, bytes) in model_files(tensors) {
        write(folder, &name, &bytes);
    }
}

/// A WordPiece tokenizer of [`tiny_config`]'s vocabulary: a few words, and letters for all others.
pub(crate) fn tiny_tokenizer() -> Vec<u8> {
    let special = |id: u32, token: &str| {
        json!({"id": id, "special": true, "content": token, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "mat", "on", "a", "dog", "runs", "far"];
    let words = words.iter().map(ToString::to_string);
    let letters = ('a'..='z').map(|letter| format!("##{letter}")).chain(('b'..='z').map(String::from));
    let vocab: serde_json::Map<_, _> = words.chain(letters).zip(0..).map(|(word, id)| (word, json!(id))).collect();
    let [cls, sep] = ["[CLS]", "[SEP]"].map(|token| json!({"SpecialToken": {"id": token, "type_id": 0}}));
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [cls, {"Sequence": {"id": "A", "type_id": 0}}, sep],
            "pair": [cls, {"Sequence": {"id": "A", "type_id": 0}}, sep, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}
    })
    .to_string()
    .into_bytes()
}
