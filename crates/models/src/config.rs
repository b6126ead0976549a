//! Which family a `config.json` belongs to, and how its fields are read.

use std::ops::RangeInclusive;

use serde_json::Value;
use webnibble_common::graph::Graph;
use webnibble_common::package::SentenceConfig;

use crate::bert::BertConfig;

/// Families that exist, by their `model_type`.
pub const FAMILIES: &[&str] = &["bert"];

/// Largest width or number of rows that is taken. The products of two are held in 64 bits, and no table has more rows.
pub(crate) const MOST: usize = i32::MAX as usize;

/// Most layers that are taken: a graph grows with them, and a model in ONNX form has no checkpoint that would bound them.
pub(crate) const MOST_LAYERS: usize = 1024;

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
    /// The model's answer is made by a head that no graph here has.
    #[error(
        "config.json: {found}: this is {what}, which is not supported yet. Supported are BertModel and BertForMaskedLM, for \
         their last hidden states, and sentence-transformers models of Transformer, Pooling and Normalize"
    )]
    Head {
        /// What `architectures` says.
        found: String,
        /// What the model is.
        what: String,
    },
    /// A count that the checkpoint does not bear out.
    #[error("config.json: `{field}` is {found}, but {holds}")]
    Count {
        /// Name of the field.
        field: &'static str,
        /// What it is.
        found: usize,
        /// What the checkpoint holds.
        holds: String,
    },
    /// The checkpoint lacks a tensor that every model of the family has.
    #[error("tensor `{tensor}` is missing: expected {expected:?} by config.json")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// Its shape.
        expected: [usize; 2],
    },
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

    /// Checks every count that a graph is made of against the checkpoint, or against a package's tensors: to be called before
    /// [`ModelConfig::graph`], which takes as much memory as the counts ask for. `shape_of` gives the shape of the tensor that
    /// is a source of the graph.
    ///
    /// # Errors
    /// [`ModelError::Count`] names the field, [`ModelError::MissingTensor`] a tensor that should say how large one is.
    pub fn check_counts(&self, shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Result<(), ModelError> {
        match self {
            ModelConfig::Bert(config) => config.check_counts(shape_of),
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

    /// Width of a hidden state, and of an embedding.
    pub fn hidden_size(&self) -> usize {
        match self {
            ModelConfig::Bert(config) => config.hidden_size,
        }
    }

    /// Number of weights that the graph uses; heads that a checkpoint may have beside them are not counted.
    pub fn parameters(&self) -> u64 {
        // Without a checkpoint nobody has said that the counts are possible.
        let count = |shape: &[usize]| shape.iter().fold(1, |all: u64, extent| all.saturating_mul(*extent as u64));
        self.graph(None).weights.iter().fold(0, |all, weight| all.saturating_add(count(&weight.shape)))
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

    /// A count in a range.
    pub(crate) fn count(
        self,
        field: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, ModelError> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
        count.filter(|n| range.contains(n)).ok_or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            wrong(field, expected, value.to_string())
        })
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
            r#"config.json: `hidden_size` should be a whole number from 1 to 2147483647, found "big""#
        );
        assert_eq!(
            error(json!({"model_type": "bert", "num_hidden_layers": 0})),
            "config.json: `num_hidden_layers` should be a whole number from 1 to 1024, found 0"
        );
        let huge = error(json!({"model_type": "bert", "num_hidden_layers": 4_000_000_000_u64}));
        assert!(huge.ends_with("from 1 to 1024, found 4000000000"), "{huge}");
        assert_eq!(
            error(json!({"model_type": "bert", "layer_norm_eps": -1})),
            "config.json: `layer_norm_eps` should be a positive number, found -1"
        );
        assert_eq!(error(json!({"model_type": 3})), "config.json: `model_type` should be a string, found 3");
    }
}
