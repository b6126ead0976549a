//! Models whose answer is made by a head: no graph here has one, and hidden states would be passed off as the answer.

use serde_json::Value;

use crate::error::ModelError;
use crate::{bert, checkpoint, llama, vit};

/// Heads by the ends of architectures' names, and what a model with one is.
const HEADS: &[(&str, &str)] = &[
    ("ForSequenceClassification", "a classifier of texts, or a cross-encoder that rates pairs of them"),
    ("ForTokenClassification", "a classifier of tokens"),
    ("ForQuestionAnswering", "a model that marks an answer in a text"),
    ("ForMultipleChoice", "a model that chooses among answers"),
    ("ForMaskedImageModeling", "a model that restores hidden parts of images"),
    ("ForNextSentencePrediction", "a model that says whether one sentence follows another"),
];

/// Parts of a checkpoint, after its prefix, that a graph has, or that serve training alone.
const KNOWN_PARTS: &[&str] =
    &["embeddings.", "encoder.", "pooler.", "cls.", "lm_head.", "embed_tokens.", "layers.", "norm.", "layernorm."];

/// The part of a checkpoint that makes a classifier, of families whose graphs have it.
const CLASSIFIER: (&str, &str) = ("vit", "classifier.");

/// Refuses a model whose answer is not its hidden states. `architectures` of `config.json` decides; where it is missing, or
/// names what nobody knows, the names of the checkpoint's `tensors` do. What sentence-transformers' files describe is not
/// asked of this: they say themselves what the answer is.
///
/// # Errors
/// [`ModelError::Head`], with what the model is.
pub fn refuse_heads<'a>(config: &Value, tensors: impl IntoIterator<Item = &'a str>) -> Result<(), ModelError> {
    let names: Vec<&str> = config["architectures"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let known = [bert::HIDDEN_STATE_ARCHITECTURES, llama::ARCHITECTURES, vit::ARCHITECTURES].concat();
    if names.iter().any(|name| known.contains(name)) {
        return Ok(());
    }
    let head =
        names.iter().find_map(|name| HEADS.iter().find(|(end, _)| name.ends_with(end)).map(|head| (name, head.1)));
    if let Some((architecture, what)) = head {
        return Err(ModelError::Head { found: format!("`architectures` is {architecture}"), what: what.to_owned() });
    }
    let unknown: Vec<&str> = tensors
        .into_iter()
        .filter(|name| {
            let name = checkpoint::without_prefix(name);
            let classifies = config["model_type"] == CLASSIFIER.0 && name.starts_with(CLASSIFIER.1);
            !classifies && !KNOWN_PARTS.iter().any(|part| name.starts_with(part))
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let found = match names.as_slice() {
        [] => "no `architectures`".to_owned(),
        names => format!("`architectures` is {}", names.join(", ")),
    };
    let shown = unknown[..unknown.len().min(4)].join(", ");
    Err(ModelError::Head { found, what: format!("a model with parts beside the encoder ({shown})") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ENCODER: [&str; 3] =
        ["bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.bias", "bert.pooler.dense.bias"];

    fn refused(architectures: &Value, more: &[&'static str]) -> Option<String> {
        let config = json!({ "architectures": architectures });
        let tensors = ENCODER.iter().chain(more).copied();
        refuse_heads(&config, tensors).err().map(|error| error.to_string())
    }

    #[test]
    fn encoders_and_models_for_masked_words_have_hidden_states() {
        for name in ["BertModel", "BertForMaskedLM", "BertForPreTraining"] {
            assert_eq!(refused(&json!([name]), &["cls.predictions.bias", "classifier.weight"]), None, "{name}");
        }
    }

    #[test]
    fn a_head_is_named_with_what_the_model_is() {
        let error = refused(&json!(["BertForSequenceClassification"]), &["classifier.weight"]).unwrap();
        assert!(error.starts_with("config.json: `architectures` is BertForSequenceClassification: "), "{error}");
        assert!(error.contains("cross-encoder") && error.contains("BertModel"), "{error}");
        for name in ["BertForTokenClassification", "BertForQuestionAnswering", "BertForMultipleChoice"] {
            assert!(refused(&json!([name]), &[]).is_some(), "{name}");
        }
    }

    #[test]
    fn without_a_known_architecture_the_tensors_say_it() {
        for none in [json!(null), json!([]), json!(["HF_ColBERT"])] {
            assert_eq!(refused(&none, &["cls.predictions.bias", "module.bert.pooler.dense.bias"]), None);
            let error = refused(&none, &["model.classifier.weight"]).unwrap();
            assert!(error.contains("model.classifier.weight"), "{error}");
            assert!(refused(&none, &["qa_outputs.weight"]).is_some());
        }
    }
}
