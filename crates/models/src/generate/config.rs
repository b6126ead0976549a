//! What a model's own files say of how it generates.

use serde_json::Value;
use webnibble_common::options::GenerationOptions;

use crate::error::ModelError;
use crate::fields::{Fields, wrong};

/// What a model's own files say of how it generates: `config.json`, and before it `generation_config.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end a text.
    pub end_tokens: Vec<u32>,
    /// What holds where nobody says otherwise; without a temperature the likeliest token is taken.
    pub defaults: GenerationOptions,
}

impl GenerationConfig {
    /// By a `config.json`, and a `generation_config.json` where there is one, which has the last word.
    ///
    /// # Errors
    /// For a field of another type than these files have.
    pub fn from_json(config: &Value, generation_config: Option<&Value>) -> Result<Self, ModelError> {
        let own = generation_config.map(|own| Ok((end_tokens(own)?, defaults(own)?)));
        let (own_tokens, defaults) = own.transpose().map_err(of_own_file)?.unwrap_or_default();
        let end_tokens = match own_tokens {
            Some(tokens) => tokens,
            None => end_tokens(config)?.unwrap_or_default(),
        };
        Ok(Self { end_tokens, defaults })
    }
}

/// What a `generation_config.json` says of how tokens are chosen.
fn defaults(file: &Value) -> Result<GenerationOptions, ModelError> {
    let fields = Fields(file);
    // A file that says how tokens are drawn may still say that the likeliest is taken.
    let draws = fields.flag("do_sample", false)?;
    let most = u32::MAX as usize;
    let count = |field| Ok(fields.count_if_there(field, 0..=most)?.map(|count| count as u32));
    Ok(GenerationOptions {
        max_tokens: count("max_new_tokens")?.filter(|count| *count > 0),
        temperature: fields.number_if_there("temperature")?.or(Some(1.0)).filter(|_| draws),
        top_k: count("top_k")?.filter(|_| draws),
        top_p: fields.number_if_there("top_p")?.filter(|_| draws),
        min_p: fields.number_if_there("min_p")?.filter(|_| draws),
        repetition_penalty: fields.number_if_there("repetition_penalty")?,
        ..GenerationOptions::default()
    })
}

/// The same error with the name of its file.
fn of_own_file(error: ModelError) -> ModelError {
    match error {
        ModelError::Field { field, expected, found } => ModelError::Generation { field, expected, found },
        other => other,
    }
}

/// `eos_token_id`: one id, or a list of them.
fn end_tokens(config: &Value) -> Result<Option<Vec<u32>>, ModelError> {
    let value = match config.get("eos_token_id") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value {
        Value::Array(items) => items.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.map(Some).ok_or_else(|| wrong("eos_token_id", "a token's id or a list of them".into(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers build both in place")]
    fn read(config: Value, own: Value) -> GenerationConfig {
        GenerationConfig::from_json(&config, Some(&own)).unwrap()
    }

    #[test]
    fn the_models_own_file_has_the_last_word() {
        let read_both = read(json!({"eos_token_id": 2}), json!({"eos_token_id": [128001, 128009]}));
        assert_eq!(read_both.end_tokens, [128_001, 128_009]);
        let config = GenerationConfig::from_json(&json!({"eos_token_id": 2, "temperature": 0.5}), None).unwrap();
        assert_eq!(config, GenerationConfig { end_tokens: vec![2], ..GenerationConfig::default() });
        assert!(GenerationConfig::from_json(&json!({"eos_token_id": null}), None).unwrap().end_tokens.is_empty());
    }

    #[test]
    fn tokens_are_drawn_only_where_the_file_says_so() {
        let fields = json!({"temperature": 0.6, "top_p": 0.9, "top_k": 50, "repetition_penalty": 1.1});
        let read_greedy = read(json!({}), fields.clone());
        let penalty = GenerationOptions { repetition_penalty: Some(1.1), ..GenerationOptions::default() };
        assert_eq!(read_greedy.defaults, penalty);
        let mut drawing = fields;
        drawing["do_sample"] = json!(true);
        let (temperature, top_k) = (Some(0.6), Some(50));
        assert_eq!(
            read(json!({}), drawing).defaults,
            GenerationOptions { temperature, top_k, top_p: Some(0.9), ..penalty }
        );
        assert_eq!(read(json!({}), json!({"do_sample": true})).defaults.temperature, Some(1.0));
    }

    #[test]
    fn a_field_of_another_type_is_named() {
        for (config, own, field) in [
            (json!({"eos_token_id": "</s>"}), json!({}), "eos_token_id"),
            (json!({"eos_token_id": [1, -2]}), json!({}), "eos_token_id"),
            (json!({}), json!({"do_sample": "yes"}), "do_sample"),
            (json!({}), json!({"do_sample": true, "temperature": -1}), "temperature"),
            (json!({}), json!({"top_k": 0.5}), "top_k"),
        ] {
            let error = GenerationConfig::from_json(&config, Some(&own)).unwrap_err().to_string();
            let file = if own == json!({}) { "config.json" } else { "generation_config.json" };
            assert!(error.starts_with(&format!("{file}: `{field}` should be")), "{error}");
        }
    }
}
