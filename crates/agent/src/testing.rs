//! What the browser tests share: packages made in memory, and a server for them that can misbehave.

use std::collections::BTreeMap;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::console_log;
use webnibble_common::capabilities::Adapter;
use webnibble_common::graph::{Graph, Role};
use webnibble_common::package::{
    FORMAT_VERSION, PackageMeta, QuantizationMeta, SentenceConfig, TOKENIZER, TensorMeta, write,
};
use webnibble_common::prompt::Prompts;
use webnibble_common::quant::{Bits, Format, Granularity, Quantizer, Scheme};
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_models::ModelConfig;

#[wasm_bindgen(module = "/js/test_server.js")]
extern "C" {
    #[wasm_bindgen(js_name = serve)]
    fn serve_js(
        bytes: &Uint8Array,
        chunk_bytes: u32,
        breaks: &Array,
        resumable: bool,
        length: f64,
        other_origin: bool,
    ) -> String;

    #[wasm_bindgen(js_name = requests)]
    fn requests_js(url: &str) -> Array;
}

/// How a file is served.
pub(crate) struct Serving {
    /// Bytes of each chunk.
    pub(crate) chunk_bytes: u32,
    /// Places where a connection breaks, once each.
    pub(crate) breaks: Vec<u32>,
    /// Whether the server answers ranges.
    pub(crate) resumable: bool,
    /// The content-length that it claims, if any.
    pub(crate) length: Option<usize>,
    /// Whether it is another origin, which shows the length and no other header.
    pub(crate) other_origin: bool,
}

impl Serving {
    /// As a static server does.
    pub(crate) fn well(bytes: &[u8]) -> Self {
        let (breaks, length) = (Vec::new(), Some(bytes.len()));
        Self { chunk_bytes: 1 << 16, breaks, resumable: true, length, other_origin: false }
    }

    /// The address of `bytes`.
    pub(crate) fn serve(&self, bytes: &[u8]) -> String {
        let breaks = self.breaks.iter().map(|place| JsValue::from(*place)).collect();
        let length = self.length.map_or(-1.0, |length| length as f64);
        let bytes = Uint8Array::from(bytes);
        serve_js(&bytes, self.chunk_bytes, &breaks, self.resumable, length, self.other_origin)
    }
}

/// Serves `bytes` well.
pub(crate) fn serve(bytes: &[u8]) -> String {
    Serving::well(bytes).serve(bytes)
}

/// The `Range` headers of the requests for `url`, empty where there was none.
pub(crate) fn ranges_asked(url: &str) -> Vec<String> {
    requests_js(url).iter().filter_map(|range| range.as_string()).collect()
}

/// Says that a test compared what an adapter computed: `scripts/test.sh` wants such a test in every part that is there for one.
pub(crate) fn ran_on_webgpu(adapter: &Adapter) {
    let kind = if adapter.hardware { "hardware" } else { "software" };
    console_log!("ran on webgpu: {} {} ({kind})", adapter.vendor, adapter.architecture);
}

/// The tiny BERT's vocabulary has this many tokens.
pub(crate) const VOCAB: usize = 8;

/// Longest input of the tiny BERT.
pub(crate) const MAX_LEN: usize = 12;

/// A package of a BERT of two layers with random weights and a pooler, a tokenizer of a few words, and the prompt `article`
/// before texts.
pub(crate) fn tiny_bert(bits: Bits) -> Vec<u8> {
    let config = serde_json::json!({
        "model_type": "bert", "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 16, "type_vocab_size": 2
    });
    let prompts = Prompts { by_name: [("article".to_owned(), "the ".to_owned())].into(), default_name: None };
    let mean = SentenceConfig::new(webnibble_common::graph::Pooling::Mean, true, Some(MAX_LEN));
    let sentence = SentenceConfig { prompts, ..mean };
    let graph = ModelConfig::from_json(&config).expect("the config is whole").graph_over(Some(&sentence), &|_| true);
    let weights = random_weights(&graph, bits);
    package(&graph, &weights, config, Some(sentence), &[(TOKENIZER, tokenizer().as_bytes())])
}

/// A package of a LLaMA of two layers with random weights, whose head is its token table, and the tiny BERT's tokenizer.
pub(crate) fn tiny_llama(bits: Bits) -> Vec<u8> {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 160, "tie_word_embeddings": true
    });
    let graph = ModelConfig::from_json(&config).expect("the config is whole").graph(None);
    package(&graph, &random_weights(&graph, bits), config, None, &[(TOKENIZER, tokenizer().as_bytes())])
}

/// A package of a ViT of two layers with random weights and three labels, for images of any size.
pub(crate) fn tiny_vit(bits: Bits) -> Vec<u8> {
    let config = serde_json::json!({
        "model_type": "vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "image_size": 8, "patch_size": 4, "id2label": {"0": "cat", "1": "dog", "2": "bird"}
    });
    let graph = ModelConfig::from_json(&config).expect("the config is whole").graph(None);
    package(&graph, &random_weights(&graph, bits), config, None, &[])
}

/// Weights of every kind that `graph` has, matrices at `bits`.
pub(crate) fn random_weights(graph: &Graph, bits: Bits) -> WeightMap {
    let mut state = 1u32;
    let mut random = move || {
        // A linear congruential generator (Numerical Recipes): tests need numbers that repeat, not good ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    let mut weights = WeightMap::new();
    for weight in &graph.weights {
        let values: Vec<f32> = (0..weight.shape.iter().product()).map(|_| random()).collect();
        let data = match weight.role {
            Role::Vector => WeightData::Vector(values),
            Role::Embedding => WeightData::Matrix(quantize(Format::F16, &values, &weight.shape)),
            Role::Attention | Role::Linear => {
                let format = Format { bits, scheme: Scheme::Asymmetric, granularity: Granularity::Group(32) };
                WeightData::Matrix(quantize(format, &values, &weight.shape))
            }
        };
        weights.insert(weight.name.clone(), data);
    }
    weights
}

fn quantize(format: Format, values: &[f32], shape: &[usize]) -> webnibble_common::quant::QTensor {
    Quantizer::for_format(format).quantize(values, shape).expect("small numbers can be quantized")
}

/// A package of any graph.
pub(crate) fn package(
    graph: &Graph,
    weights: &WeightMap,
    config: serde_json::Value,
    sentence: Option<SentenceConfig>,
    extras: &[(&str, &[u8])],
) -> Vec<u8> {
    let tensors: BTreeMap<String, TensorMeta> = graph
        .weights
        .iter()
        .map(|weight| {
            let format = match &weights[&weight.name] {
                WeightData::Matrix(matrix) => matrix.layout.format,
                WeightData::Vector(_) => Format::F32,
            };
            (weight.name.clone(), TensorMeta { shape: weight.shape.clone(), role: weight.role, format })
        })
        .collect();
    let quantization = QuantizationMeta {
        bits: 4,
        scheme: Scheme::Asymmetric,
        granularity: Granularity::Group(32),
        mixed_precision: false,
        attention_bits: 4,
        embedding_bits: 16,
    };
    let takes_images = config["model_type"] == "vit";
    let meta = PackageMeta {
        format_version: FORMAT_VERSION,
        name: "test".to_owned(),
        family: config["model_type"].as_str().unwrap_or("bert").to_owned(),
        parameters: 0,
        config,
        sentence,
        generation_config: None,
        preprocessor_config: takes_images.then(|| serde_json::json!({})),
        model_max_length: None,
        tensors,
        quantization,
        activations: None,
    };
    let mut file = Vec::new();
    write(&meta, weights, extras, &mut file).expect("metadata and weights belong together");
    file
}

/// `tokenizer.json` of a WordPiece tokenizer of [`VOCAB`] tokens.
fn tokenizer() -> String {
    let special = |id: u32, token: &str| {
        serde_json::json!({"id": id, "special": true, "content": token, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "sat"];
    let vocab: serde_json::Map<_, _> =
        words.iter().zip(0..).map(|(word, id)| ((*word).to_owned(), id.into())).collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}
    })
    .to_string()
}
