//! What sentence-transformers' files say of an embedding: how tokens are pooled, and whether the result is normalized.
//!
//! `modules.json` lists the stages and the folder of each. The caller reads it first, then the files that
//! [`Modules`] names.

use serde_json::{Value, json};
use webnibble_common::graph::Pooling;
use webnibble_common::package::SentenceConfig;

/// The stages of a sentence-transformers model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modules {
    /// Folder of the transformer, relative to the model's; usually empty. `sentence_bert_config.json` may lie in it.
    pub transformer: String,
    /// Folder of the pooling, usually `1_Pooling`; its `config.json` says how.
    pub pooling: String,
    /// Whether the embedding is divided by its norm.
    pub normalize: bool,
}

/// Why the files of a sentence-transformers model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SentenceError {
    /// Not JSON, or JSON of another shape.
    #[error("{file}: expected {expected}, found {found}")]
    Malformed {
        /// The file.
        file: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// What it holds, or the parser's message.
        found: String,
    },
    /// A stage that is not implemented, or stages in another order.
    #[error(
        "modules.json: expected Transformer, Pooling and optionally Normalize, found {found}{}",
        not_there(.unsupported)
    )]
    Modules {
        /// The stages, in order.
        found: String,
        /// Those that are not implemented.
        unsupported: Vec<String>,
    },
    /// A path that leads out of the model's folder.
    #[error("modules.json: expected the path of a folder in the model's own, found `{path}`")]
    Path {
        /// The path.
        path: String,
    },
    /// A pooling mode that is not implemented, several at once, or none.
    #[error("pooling config.json: expected one of mean, cls or max, found {found}")]
    Pooling {
        /// The modes that are on.
        found: String,
    },
}

impl Modules {
    /// Reads `modules.json`. Any stage but Transformer, Pooling and Normalize, in that order, is an error:
    /// an embedding without it would be another model's.
    pub fn from_json(text: &str) -> Result<Modules, SentenceError> {
        const FILE: &str = "modules.json";
        let json = parse(FILE, text)?;
        let stages = json.as_array().ok_or_else(|| malformed(FILE, "a list of modules", &json))?;
        let mut kinds = Vec::new();
        for stage in stages {
            // `sentence_transformers.models.Pooling`: only the class matters, its package has moved over the versions.
            let class = stage.get("type").and_then(Value::as_str);
            let class = class.ok_or_else(|| malformed(FILE, "modules with a `type`", stage))?;
            let path = stage.get("path").and_then(Value::as_str).unwrap_or_default();
            kinds.push((class.rsplit('.').next().unwrap_or(class), inside(path)?));
        }
        match kinds[..] {
            [("Transformer", transformer), ("Pooling", pooling)] => Ok(Self::new(transformer, pooling, false)),
            [("Transformer", transformer), ("Pooling", pooling), ("Normalize", _)] => {
                Ok(Self::new(transformer, pooling, true))
            }
            _ => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.0).collect();
                let found = if names.is_empty() { "none".into() } else { names.join(", ") };
                let unsupported = names.iter().filter(|name| !STAGES.contains(name)).map(ToString::to_string).collect();
                Err(SentenceError::Modules { found, unsupported })
            }
        }
    }

    fn new(transformer: &str, pooling: &str, normalize: bool) -> Modules {
        Modules { transformer: transformer.to_owned(), pooling: pooling.to_owned(), normalize }
    }

    /// The whole description, from the pooling's `config.json` and, where there is one, `sentence_bert_config.json`.
    pub fn sentence_config(
        &self,
        pooling_config: &str,
        sentence_bert_config: Option<&str>,
    ) -> Result<SentenceConfig, SentenceError> {
        Ok(SentenceConfig {
            pooling: pooling_mode(pooling_config)?,
            normalize: self.normalize,
            max_seq_length: sentence_bert_config.map(max_seq_length).transpose()?.flatten(),
        })
    }
}

/// The stages that are implemented.
const STAGES: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

fn not_there(stages: &[String]) -> String {
    match stages {
        [] => String::new(),
        stages => format!(
            ": {} is not supported yet, and an embedding without it would be another model's",
            stages.join(", ")
        ),
    }
}

/// A path of `modules.json` without what means nothing. It comes with the model, from anybody: it may not leave the folder.
fn inside(path: &str) -> Result<&str, SentenceError> {
    let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    let is_folder = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0']);
    if path.is_empty() || path == "." || path.split('/').all(is_folder) {
        return Ok(if path == "." { "" } else { path });
    }
    Err(SentenceError::Path { path: path.to_owned() })
}

/// Names of what [`files`] gives.
pub const FILES: [&str; 4] =
    ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json"];

/// The files that tell sentence-transformers of an embedding, by their paths in a model's folder: what [`Modules`] reads.
/// `hidden_size` is the width of a token's state.
pub fn files(sentence: &SentenceConfig, hidden_size: usize) -> [(&'static str, Value); 4] {
    let module = |index: usize, path: &str, class: &str| {
        let kind = format!("sentence_transformers.models.{class}");
        json!({ "idx": index, "name": index.to_string(), "path": path, "type": kind })
    };
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    if sentence.normalize {
        modules.push(module(2, "2_Normalize", "Normalize"));
    }
    let pooling = json!({
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": sentence.pooling == Pooling::Cls,
        "pooling_mode_mean_tokens": sentence.pooling == Pooling::Mean,
        "pooling_mode_max_tokens": sentence.pooling == Pooling::Max,
        "pooling_mode_mean_sqrt_len_tokens": false,
    });
    let mut limits = json!({ "do_lower_case": false });
    if let Some(length) = sentence.max_seq_length {
        limits["max_seq_length"] = length.into();
    }
    let [list, how, longest, before] = FILES;
    [(list, modules.into()), (how, pooling), (longest, limits), (before, prompts())]
}

/// What is put before texts: nothing, as long as a [`SentenceConfig`] has no prompts.
fn prompts() -> Value {
    json!({ "prompts": {}, "default_prompt_name": null })
}

/// Reads the pooling's `config.json`: a flag a mode, or in newer versions one `pooling_mode`.
fn pooling_mode(text: &str) -> Result<Pooling, SentenceError> {
    const FLAG: &str = "pooling_mode_";
    let json = parse("pooling config.json", text)?;
    let fields = json.as_object().ok_or_else(|| malformed("pooling config.json", "an object", &json))?;
    let flags = fields.iter().filter(|(name, value)| name.starts_with(FLAG) && **value == Value::Bool(true));
    // Where both are there, the newer one counts.
    let mut modes: Vec<&str> = match fields.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => flags.map(|(name, _)| name[FLAG.len()..].trim_end_matches("_tokens")).collect(),
    };
    // Objects keep their order or not, as another crate of the build may ask of serde_json.
    modes.sort_unstable();
    match modes[..] {
        ["mean"] => Ok(Pooling::Mean),
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["max"] => Ok(Pooling::Max),
        [] => Err(SentenceError::Pooling { found: "none".to_owned() }),
        _ => Err(SentenceError::Pooling { found: modes.join(" and ") }),
    }
}

fn max_seq_length(text: &str) -> Result<Option<usize>, SentenceError> {
    const FILE: &str = "sentence_bert_config.json";
    let json = parse(FILE, text)?;
    match json.get("max_seq_length") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(length) if length > 0 => Ok(Some(length)),
            _ => Err(malformed(FILE, "a positive `max_seq_length`", value)),
        },
    }
}

fn parse(file: &'static str, text: &str) -> Result<Value, SentenceError> {
    serde_json::from_str(text).map_err(|error| SentenceError::Malformed {
        file,
        expected: "JSON",
        found: error.to_string(),
    })
}

fn malformed(file: &'static str, expected: &'static str, found: &Value) -> SentenceError {
    SentenceError::Malformed { file, expected, found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = r#"[
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
    ]"#;
    const MEAN: &str = r#"{"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
        "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false}"#;

    #[test]
    fn mini_lm_is_mean_pooled_and_normalized() {
        let modules = Modules::from_json(MODULES).unwrap();
        assert_eq!((modules.transformer.as_str(), modules.pooling.as_str()), ("", "1_Pooling"));
        let config = modules.sentence_config(MEAN, Some(r#"{"max_seq_length": 256, "do_lower_case": false}"#)).unwrap();
        assert_eq!(config, SentenceConfig { pooling: Pooling::Mean, normalize: true, max_seq_length: Some(256) });
    }

    #[test]
    fn without_the_last_module_nothing_is_normalized() {
        let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "p", "type": "a.b.Pooling"}]"#;
        let modules = Modules::from_json(modules).unwrap();
        let config = modules.sentence_config(r#"{"pooling_mode_cls_token": true}"#, None).unwrap();
        assert_eq!(config, SentenceConfig { pooling: Pooling::Cls, normalize: false, max_seq_length: None });
    }

    #[test]
    fn the_newer_spelling_of_the_mode_is_read() {
        assert_eq!(pooling_mode(r#"{"pooling_mode": "max"}"#).unwrap(), Pooling::Max);
        assert_eq!(pooling_mode(r#"{"pooling_mode": ["mean"]}"#).unwrap(), Pooling::Mean);
        let both = r#"{"pooling_mode": "mean", "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#;
        assert_eq!(pooling_mode(both).unwrap(), Pooling::Mean);
    }

    #[test]
    fn modes_that_are_not_there_are_errors() {
        let error = |text| pooling_mode(text).unwrap_err().to_string();
        let expected = "pooling config.json: expected one of mean, cls or max, found ";
        assert_eq!(error(r#"{"pooling_mode_lasttoken": true}"#), format!("{expected}lasttoken"));
        assert_eq!(
            error(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#),
            format!("{expected}max and mean")
        );
        assert_eq!(error("{}"), format!("{expected}none"));
        assert!(error("nonsense").starts_with("pooling config.json: expected JSON"));
    }

    #[test]
    fn modules_that_are_not_there_are_errors() {
        let dense = r#"[{"type": "m.Transformer"}, {"type": "m.Pooling"}, {"type": "m.Dense"}]"#;
        assert_eq!(
            Modules::from_json(dense).unwrap_err().to_string(),
            "modules.json: expected Transformer, Pooling and optionally Normalize, found Transformer, Pooling, Dense: Dense is \
             not supported yet, and an embedding without it would be another model's"
        );
        assert!(Modules::from_json("[]").unwrap_err().to_string().ends_with("found none"));
        assert!(Modules::from_json("{}").is_err());
        let modules = Modules::from_json(MODULES).unwrap();
        assert!(modules.sentence_config(MEAN, Some(r#"{"max_seq_length": 0}"#)).is_err());
    }

    #[test]
    fn paths_stay_in_the_folder() {
        let modules = |path: &str| {
            let stages = json!([{"type": "m.Transformer", "path": path}, {"type": "m.Pooling", "path": "1_Pooling"}]);
            Modules::from_json(&stages.to_string())
        };
        for (path, read) in [("", ""), (".", ""), ("0_Transformer/", "0_Transformer"), ("./a/b", "a/b")] {
            assert_eq!(modules(path).unwrap().transformer, read);
        }
        for path in ["..", "../other", "a/../../b", "/etc", "a//b", r"..\other", "C:", "a/./b"] {
            let error = modules(path).unwrap_err();
            assert!(matches!(error, SentenceError::Path { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (pooling, normalize, max_seq_length) in
            [(Pooling::Mean, true, Some(256)), (Pooling::Cls, false, None), (Pooling::Max, true, None)]
        {
            let sentence = SentenceConfig { pooling, normalize, max_seq_length };
            let files: std::collections::BTreeMap<_, _> = files(&sentence, 64).into_iter().collect();
            let modules = Modules::from_json(&files["modules.json"].to_string()).unwrap();
            assert_eq!(modules.pooling, "1_Pooling");
            let limits = files["sentence_bert_config.json"].to_string();
            let pooling = files["1_Pooling/config.json"].to_string();
            assert_eq!(modules.sentence_config(&pooling, Some(&limits)).unwrap(), sentence);
        }
    }
}
