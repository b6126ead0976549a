//! Which family a `config.json` belongs to.

use serde_json::Value;
use webnibble_common::graph::Graph;
use webnibble_common::package::SentenceConfig;

use crate::bert::BertConfig;
use crate::error::{FAMILIES, ModelError};
use crate::fields::Fields;
use crate::llama::LlamaConfig;
use crate::vit::VitConfig;

/// A model's family and dimensions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelConfig {
    /// BERT and what is built like it (MiniLM, BGE, GTE and other encoders with `model_type` `bert`).
    Bert(BertConfig),
    /// LLaMA, and what is built like it (`model_type` `llama`).
    Llama(LlamaConfig),
    /// ViT, and what is built like it (`model_type` `vit`).
    Vit(VitConfig),
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
            "llama" => Ok(ModelConfig::Llama(LlamaConfig::from_fields(fields)?)),
            "vit" => Ok(ModelConfig::Vit(VitConfig::from_fields(fields)?)),
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
            ModelConfig::Llama(config) => config.check_counts(shape_of),
            ModelConfig::Vit(config) => config.check_counts(shape_of),
        }
    }

    /// The graph of what every checkpoint of the family has: see [`ModelConfig::graph_over`].
    pub fn graph(&self, sentence: Option<&SentenceConfig>) -> Graph {
        self.graph_over(sentence, &|_| false)
    }

    /// The graph over a checkpoint or a package, `has` saying which tensors it holds by their names in the graph: token ids
    /// to the last hidden state or to what may come next, or with `sentence` to one embedding a text; pixels to scores of labels. That is the first of
    /// its outputs; the others are what may be asked for by name, as far as the weights are there.
    pub fn graph_over(&self, sentence: Option<&SentenceConfig>, has: &dyn Fn(&str) -> bool) -> Graph {
        match self {
            ModelConfig::Bert(config) => config.graph(sentence, has),
            ModelConfig::Llama(config) => config.graph(sentence),
            ModelConfig::Vit(config) => config.graph(),
        }
    }

    /// The family's name, one of [`FAMILIES`].
    pub fn family(&self) -> &'static str {
        match self {
            ModelConfig::Bert(_) => "bert",
            ModelConfig::Llama(_) => "llama",
            ModelConfig::Vit(_) => "vit",
        }
    }

    /// Whether it goes on from an input, token by token: its program has the graph
    /// [`DECODE`](webnibble_common::program::DECODE), and that scores what comes next.
    pub fn generates(&self) -> bool {
        match self {
            ModelConfig::Bert(_) | ModelConfig::Vit(_) => false,
            ModelConfig::Llama(config) => config.has_head,
        }
    }

    /// Longest input in tokens, special ones included; of images the rows that one makes.
    pub fn max_positions(&self) -> usize {
        match self {
            ModelConfig::Bert(config) => config.max_position_embeddings,
            ModelConfig::Llama(config) => config.max_position_embeddings,
            ModelConfig::Vit(config) => config.rows(),
        }
    }

    /// Height and width of the images that it takes, where it takes images.
    pub fn image_size(&self) -> Option<[usize; 2]> {
        match self {
            ModelConfig::Vit(config) => Some(config.image_size),
            ModelConfig::Bert(_) | ModelConfig::Llama(_) => None,
        }
    }

    /// What its classes are called, where it is a classifier.
    pub fn labels(&self) -> Option<&[String]> {
        match self {
            ModelConfig::Vit(config) => config.labels.as_deref(),
            ModelConfig::Bert(_) | ModelConfig::Llama(_) => None,
        }
    }

    /// Ids of tokens that there are; 0 where it takes none.
    pub fn vocab_size(&self) -> usize {
        match self {
            ModelConfig::Bert(config) => config.vocab_size,
            ModelConfig::Llama(config) => config.vocab_size,
            ModelConfig::Vit(_) => 0,
        }
    }

    /// Width of a hidden state, and of an embedding.
    pub fn hidden_size(&self) -> usize {
        match self {
            ModelConfig::Bert(config) => config.hidden_size,
            ModelConfig::Llama(config) => config.hidden_size,
            ModelConfig::Vit(config) => config.hidden_size,
        }
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
        let config = json!({"architectures": ["LlamaForCausalLM"]});
        assert_eq!(ModelConfig::from_json(&config).unwrap().family(), "llama");
    }

    #[test]
    fn an_unknown_family_is_named_with_those_that_exist() {
        let error = ModelConfig::from_json(&json!({"model_type": "mamba"})).unwrap_err();
        assert_eq!(error.to_string(), "model family `mamba` is not known; the families are: bert, llama, vit");
        let error = ModelConfig::from_json(&json!({"architectures": ["BertweetModel"]})).unwrap_err();
        assert_eq!(error.to_string(), "model family `BertweetModel` is not known; the families are: bert, llama, vit");
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
