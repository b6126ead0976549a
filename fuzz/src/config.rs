//! The small JSON files of a model.

use serde_json::Value;
use webnibble_common::graph::Pooling;
use webnibble_common::package::SentenceConfig;
use webnibble_models::ModelConfig;
use webnibble_models::sentence::{Modules, SentenceFiles};

/// Layers of the largest graph that is built here: more take longer, and are no other.
const MOST_LAYERS: u64 = 64;

/// Rows and widths of the largest graph. The loader holds counts against the checkpoint before it makes a graph.
const MOST: u64 = 1 << 20;

/// The input is a `config.json`, a `modules.json`, the `config.json` of a pooling, a
/// `config_sentence_transformers.json`, or a `sentence_bert_config.json`.
pub(crate) fn model_config(data: &[u8]) {
    const MODULES: &str = r#"[{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "1_Pooling"}]"#;
    const POOLING: &str = r#"{"pooling_mode": "mean"}"#;
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = serde_json::from_str(text) {
        let sentence = SentenceConfig::new(Pooling::Mean, true, None);
        build(&config, None);
        build(&config, Some(&sentence));
    }
    drop(Modules::from_json(text));
    let modules = Modules::from_json(MODULES).expect("it is right");
    drop(modules.read(SentenceFiles { pooling: text, ..SentenceFiles::default() }));
    drop(modules.read(SentenceFiles { pooling: POOLING, model: Some(text), transformer: None }));
    let limited = modules.read(SentenceFiles { pooling: POOLING, model: None, transformer: Some(text) });
    if let Ok((SentenceConfig { max_seq_length, .. }, _)) = limited {
        assert_ne!(max_seq_length, Some(0), "a text has tokens");
    }
}

/// A config that is taken gives a graph that is valid.
pub(crate) fn build(config: &Value, sentence: Option<&SentenceConfig>) {
    match ModelConfig::from_json(config) {
        Ok(model) if is_small(config) => {
            model.graph(sentence).validate().unwrap_or_else(|error| panic!("{error}: {config}"));
            assert!(model.graph(None).parameters() > 0 && model.max_positions() > 0);
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn is_small(config: &Value) -> bool {
    let fields = config.as_object().into_iter().flatten();
    let counts = fields.filter_map(|(name, value)| Some((name.as_str(), value.as_u64()?)));
    counts.into_iter().all(|(name, count)| count <= if name == "num_hidden_layers" { MOST_LAYERS } else { MOST })
}
