//! Why a `config.json` cannot be used.

/// Families that exist, by their `model_type`.
pub const FAMILIES: &[&str] = &["bert", "llama", "vit"];

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
         their last hidden states, LlamaForCausalLM, ViTForImageClassification, and sentence-transformers models of Transformer, Pooling and Normalize"
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
    /// A field of `generation_config.json` has a value of the wrong type, or one that makes no sense.
    #[error("generation_config.json: `{field}` should be {expected}, found {found}")]
    Generation {
        /// Name of the field.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A field of `preprocessor_config.json` has a value of the wrong type, or asks for what is not done here.
    #[error("preprocessor_config.json: `{field}` should be {expected}, found {found}")]
    Preprocessor {
        /// Name of the field.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
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
