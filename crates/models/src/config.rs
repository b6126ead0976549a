//! Which family a `config.json` belongs to, and how its fields are read.

use serde_json::Value;
use webnibble_common::graph::Graph;
use webnibble_common::package::SentenceConfig;

use crate::bert::BertConfig;

/// Families that exist, by their `model_type`.
pub const FAMILIES: &[&str] = &["bert"];

/// A model's family and dimensions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelConfig {
    /// BERT and what is built like it (MiniLM, BGE, GTE and other encoders with `model_type` `bert`).
    Bert(BertConfig),
}

/// Why a `config.json` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No family of that name.
    #[error("model family `{found}` is not known; the families are: {}", FAMILIES.join(", "))]
    UnknownFamily {
        /// `model_type`, else the first of `architectures`.
        found: String,
    },
    /// Neither `model_type` nor `architectures` says what the model is.
    #[error("config.json has no `model_type` and no `architectures`; the families are: {}", FAMILIES.join(", "))]
    NoFamily,
    /// A field has a value of the wrong type, or one that makes no sense.
    #[error("config.json: `{field}` should be {expected}, found {found}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`. The family is `model_type`, or is taken from `architectures` where that is missing.
    pub fn from_json(config: &Value) -> Result<ModelConfig, ModelError> {
        let fields = Fields(config);
        let family = match fields.text("model_type", "")? {
            "" => family_of_architecture(config).ok_or(ModelError::NoFamily)?,
            name => name.to_owned(),
        };
        match family.as_str() {
            "bert" => Ok(ModelConfig::Bert(BertConfig::from_fields(fields)?)),
            _ => Err(ModelError::UnknownFamily { found: family }),
        }
    }

    /// The graph: token ids to the last hidden state or, with `sentence`, to one embedding a text.
    pub fn graph(&self, sentence: Option<&SentenceConfig>) -> Graph {
        match self {
            ModelConfig::Bert(config) => config.graph(sentence),
        }
    }

    /// The family's name, one of [`FAMILIES`].
    pub fn family(&self) -> &'static str {
        match self {
            ModelConfig::Bert(_) => "bert",
        }
    }

    /// Longest input in tokens, special ones included.
    pub fn max_positions(&self) -> usize {
        match self {
            ModelConfig::Bert(config) => config.max_position_embeddings,
        }
    }

    /// Number of weights that the graph uses; heads that a checkpoint may have beside them are not counted.
    pub fn parameters(&self) -> u64 {
        let count = |shape: &[usize]| shape.iter().map(|extent| *extent as u64).product::<u64>();
        self.graph(None).weights.iter().map(|weight| count(&weight.shape)).sum()
    }
}

/// `BertForMaskedLM` → `bert`; an unknown architecture is returned whole, for the error message.
fn family_of_architecture(config: &Value) -> Option<String> {
    let name = config.get("architectures")?.as_array()?.first()?.as_str()?;
    let family = FAMILIES.iter().find(|family| {
        let rest = name.to_ascii_lowercase();
        rest.strip_prefix(**family).is_some_and(|rest| rest.starts_with("model") || rest.starts_with("for"))
    });
    Some(family.map_or(name, |family| family).to_owned())
}

/// Reads fields of a `config.json`: absent or `null` gives the family's default, another type is an error.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A count of at least `least`.
    pub(crate) fn count(self, field: &'static str, least: usize, default: usize) -> Result<usize, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        // Beyond 2^32 no table or layer can be held anyway, and products of two counts stay inside 64 bits.
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok()).map(|n| n as usize);
        count
            .filter(|n| *n >= least)
            .ok_or_else(|| wrong(field, format!("a whole number of at least {least}"), value.to_string()))
    }

    /// A positive, finite number.
    pub(crate) fn positive(self, field: &'static str, default: f32) -> Result<f32, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let number = value.as_f64().map(|n| n as f32);
        number
            .filter(|n| n.is_finite() && *n > 0.0)
            .ok_or_else(|| wrong(field, "a positive number".to_owned(), value.to_string()))
    }

    /// A string.
    pub(crate) fn text(self, field: &'static str, default: &'a str) -> Result<&'a str, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_str().ok_or_else(|| wrong(field, "a string".to_owned(), value.to_string()))
    }

    /// A boolean.
    pub(crate) fn flag(self, field: &'static str, default: bool) -> Result<bool, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| wrong(field, "true or false".to_owned(), value.to_string()))
    }
}

/// A [`ModelError::Field`].
pub(crate) fn wrong(field: &'static str, expected: String, found: String) -> ModelError {
    ModelError::Field { field, expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_family_is_the_model_type_or_the_architecture() {
        for config in [
            json!({"model_type": "bert"}),
            json!({"architectures": ["BertForMaskedLM"]}),
            json!({"architectures": ["BertModel"], "model_type": null}),
        ] {
            assert_eq!(ModelConfig::from_json(&config).unwrap().family(), "bert");
        }
    }

    #[test]
    fn an_unknown_family_is_named_with_those_that_exist() {
        let error = ModelConfig::from_json(&json!({"model_type": "mamba"})).unwrap_err();
        assert_eq!(error.to_string(), "model family `mamba` is not known; the families are: bert");
        let error = ModelConfig::from_json(&json!({"architectures": ["BertweetModel"]})).unwrap_err();
        assert_eq!(error.to_string(), "model family `BertweetModel` is not known; the families are: bert");
        assert_eq!(ModelConfig::from_json(&json!([])).unwrap_err(), ModelError::NoFamily);
    }

    #[test]
    fn fields_of_the_wrong_type_are_named() {
        let error = |config| ModelConfig::from_json(&config).unwrap_err().to_string();
        assert_eq!(
            error(json!({"model_type": "bert", "hidden_size": "big"})),
            r#"config.json: `hidden_size` should be a whole number of at least 1, found "big""#
        );
        assert_eq!(
            error(json!({"model_type": "bert", "num_hidden_layers": 0})),
            "config.json: `num_hidden_layers` should be a whole number of at least 1, found 0"
        );
        assert_eq!(
            error(json!({"model_type": "bert", "layer_norm_eps": -1})),
            "config.json: `layer_norm_eps` should be a positive number, found -1"
        );
        assert_eq!(error(json!({"model_type": 3})), "config.json: `model_type` should be a string, found 3");
    }
}
