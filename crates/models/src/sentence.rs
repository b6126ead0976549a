//! What sentence-transformers' files say of an embedding: what is put before a text, how it is tokenized, how tokens are
//! pooled, and whether the result is normalized.
//!
//! `modules.json` lists the stages and the folder of each. The caller reads it first, then the files that
//! [`Modules`] names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use webnibble_common::graph::Pooling;
use webnibble_common::package::SentenceConfig;
use webnibble_common::prompt::Prompts;

/// Prompts of the whole model, beside `modules.json`.
pub const MODEL_CONFIG: &str = "config_sentence_transformers.json";

/// Settings of the transformer, in its folder: the first of these files that is there.
pub const TRANSFORMER_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Names of prompts that every sentence-transformers model has, empty where its files do not say otherwise.
const KNOWN_PROMPTS: [&str; 2] = ["query", "document"];

/// The files of a sentence-transformers model, but for `modules.json`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SentenceFiles<'a> {
    /// The pooling's `config.json`.
    pub pooling: &'a str,
    /// [`MODEL_CONFIG`].
    pub model: Option<&'a str>,
    /// One of [`TRANSFORMER_CONFIGS`].
    pub transformer: Option<&'a str>,
}

/// What the transformer's settings say of its tokenizer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentenceTokenizer {
    /// Whether texts are lowercased, whatever the tokenizer does.
    pub do_lower_case: bool,
    /// Settings that come before those of `tokenizer_config.json`.
    pub arguments: Map<String, Value>,
}

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
    /// The default prompt is none of the prompts.
    #[error("{MODEL_CONFIG}: expected `default_prompt_name` to be one of the prompts ({}), found {found}", .known.join(", "))]
    DefaultPrompt {
        /// The name.
        found: String,
        /// Names of the prompts.
        known: Vec<String>,
    },
    /// Prompts are to be left out of a pooling that takes one token.
    #[error(
        "pooling config.json: expected `include_prompt` to be true where pooling is cls, found false: the first token after \
         a prompt is not pooled yet"
    )]
    PromptOfCls,
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

    /// The whole description, and what it says of the tokenizer.
    ///
    /// # Errors
    /// When a file is not what it should be, or asks for what is not implemented.
    pub fn read(&self, files: SentenceFiles<'_>) -> Result<(SentenceConfig, SentenceTokenizer), SentenceError> {
        let (pooling, include_prompt) = pooling(files.pooling)?;
        let (max_seq_length, tokenizer) = transformer_config(files.transformer)?;
        let prompts = files.model.map(prompts).transpose()?.unwrap_or_default();
        let config =
            SentenceConfig { prompts, include_prompt, ..SentenceConfig::new(pooling, self.normalize, max_seq_length) };
        if pooling == Pooling::Cls && config.leaves_prompts_out() {
            return Err(SentenceError::PromptOfCls);
        }
        Ok((config, tokenizer))
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
pub const FILES: [&str; 4] = ["modules.json", "1_Pooling/config.json", TRANSFORMER_CONFIGS[0], MODEL_CONFIG];

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
        "include_prompt": sentence.include_prompt,
    });
    let mut limits = json!({ "do_lower_case": false });
    if let Some(length) = sentence.max_seq_length {
        limits["max_seq_length"] = length.into();
    }
    let [list, how, longest, before] = FILES;
    [(list, modules.into()), (how, pooling), (longest, limits), (before, written(&sentence.prompts))]
}

/// The prompts, as [`MODEL_CONFIG`] has them.
fn written(Prompts { by_name, default_name }: &Prompts) -> Value {
    json!({ "prompts": by_name, "default_prompt_name": default_name })
}

/// Reads the prompts of [`MODEL_CONFIG`].
fn prompts(text: &str) -> Result<Prompts, SentenceError> {
    let json = parse(MODEL_CONFIG, text)?;
    let mut by_name = BTreeMap::new();
    for (name, prompt) in json.get("prompts").and_then(Value::as_object).into_iter().flatten() {
        let text = match prompt {
            Value::Null => "",
            Value::String(text) => text,
            other => return Err(malformed(MODEL_CONFIG, "`prompts` to be texts", other)),
        };
        by_name.insert(name.clone(), text.to_owned());
    }
    let default_name = match json.get("default_prompt_name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(other) => return Err(malformed(MODEL_CONFIG, "`default_prompt_name` to be a name", other)),
    };
    if let Some(name) = default_name.as_ref().filter(|name| !by_name.contains_key(*name)) {
        if !KNOWN_PROMPTS.contains(&name.as_str()) {
            let known = by_name.into_keys().collect();
            return Err(SentenceError::DefaultPrompt { found: name.clone(), known });
        }
        by_name.insert(name.clone(), String::new());
    }
    Ok(Prompts { by_name, default_name })
}

/// Reads one of [`TRANSFORMER_CONFIGS`]: the limit in tokens, and what is said of the tokenizer.
fn transformer_config(text: Option<&str>) -> Result<(Option<usize>, SentenceTokenizer), SentenceError> {
    const FILE: &str = TRANSFORMER_CONFIGS[0];
    let Some(text) = text else { return Ok(Default::default()) };
    let json = parse(FILE, text)?;
    if let Some(other) = json.get("tokenizer_name_or_path").filter(|name| !name.is_null()) {
        return Err(malformed(FILE, "the tokenizer to be the model's own, and no `tokenizer_name_or_path`", other));
    }
    let arguments = ["processor_kwargs", "tokenizer_args"].into_iter().filter_map(|name| json.get(name)?.as_object());
    let arguments: Map<String, Value> =
        arguments.flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    let limit = match arguments.get("model_max_length") {
        Some(limit) => length(FILE, Some(limit))?,
        None => length(FILE, json.get("max_seq_length"))?,
    };
    let do_lower_case = json.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
    Ok((limit, SentenceTokenizer { do_lower_case, arguments }))
}

/// Reads the pooling's `config.json`: the mode, and whether tokens of prompts are pooled.
fn pooling(text: &str) -> Result<(Pooling, bool), SentenceError> {
    let include_prompt = parse("pooling config.json", text)?.get("include_prompt").and_then(Value::as_bool);
    Ok((pooling_mode(text)?, include_prompt.unwrap_or(true)))
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

/// A limit in tokens.
fn length(file: &'static str, value: Option<&Value>) -> Result<Option<usize>, SentenceError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(length) if length > 0 => Ok(Some(length)),
        _ => Err(malformed(file, "a positive length", value)),
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
        let limits = r#"{"max_seq_length": 256, "do_lower_case": false}"#;
        let files = SentenceFiles { pooling: MEAN, transformer: Some(limits), model: None };
        let (config, tokenizer) = modules.read(files).unwrap();
        assert_eq!(config, SentenceConfig::new(Pooling::Mean, true, Some(256)));
        assert_eq!(tokenizer, SentenceTokenizer::default());
    }

    #[test]
    fn without_the_last_module_nothing_is_normalized() {
        let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "p", "type": "a.b.Pooling"}]"#;
        let modules = Modules::from_json(modules).unwrap();
        let files = SentenceFiles { pooling: r#"{"pooling_mode_cls_token": true}"#, ..SentenceFiles::default() };
        let (config, _) = modules.read(files).unwrap();
        assert_eq!(config, SentenceConfig::new(Pooling::Cls, false, None));
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
    }

    fn read(pooling: &str, model: Option<&str>, transformer: Option<&str>) -> Result<SentenceConfig, SentenceError> {
        let files = SentenceFiles { pooling, model, transformer };
        Modules::from_json(MODULES).unwrap().read(files).map(|(config, _)| config)
    }

    #[test]
    fn settings_that_cannot_be_kept_are_errors() {
        let error = |transformer: &str| read(MEAN, None, Some(transformer)).unwrap_err().to_string();
        let limit = error(r#"{"max_seq_length": 0}"#);
        assert_eq!(limit, "sentence_bert_config.json: expected a positive length, found 0");
        assert!(error(r#"{"tokenizer_name_or_path": "another"}"#).ends_with("found \"another\""));
        let cls = r#"{"pooling_mode_cls_token": true, "include_prompt": false}"#;
        let error = read(cls, Some(r#"{"prompts": {"query": "q: "}}"#), None).unwrap_err();
        assert_eq!(error, SentenceError::PromptOfCls);
        assert!(read(cls, Some(r#"{"prompts": {"query": ""}}"#), None).is_ok(), "no prompt has a token");
    }

    #[test]
    fn prompts_are_read_with_their_default() {
        let prompts = |text: &str| read(MEAN, Some(text), None).map(|config| config.prompts);
        let found = prompts(r#"{"prompts": {"query": "q: ", "none": null}, "default_prompt_name": "query"}"#).unwrap();
        assert_eq!(found.by_name, [("query", "q: "), ("none", "")].map(|(a, b)| (a.into(), b.into())).into());
        assert_eq!(found.default_name.as_deref(), Some("query"));
        assert_eq!(prompts(r#"{"default_prompt_name": "document"}"#).unwrap().by_name["document"], "");
        let error = prompts(r#"{"prompts": {"query": "q: "}, "default_prompt_name": "x"}"#).unwrap_err().to_string();
        assert!(error.ends_with("to be one of the prompts (query), found x"), "{error}");
        assert_eq!(prompts("{}").unwrap(), Prompts::default());
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
            let prompts =
                Prompts { by_name: [("query".into(), "q: ".into())].into(), default_name: Some("query".into()) };
            let include_prompt = pooling == Pooling::Cls;
            let sentence =
                SentenceConfig { prompts, include_prompt, ..SentenceConfig::new(pooling, normalize, max_seq_length) };
            let files: BTreeMap<_, _> = files(&sentence, 64).into_iter().collect();
            let modules = Modules::from_json(&files["modules.json"].to_string()).unwrap();
            assert_eq!(modules.pooling, "1_Pooling");
            let limits = files["sentence_bert_config.json"].to_string();
            let pooling = files["1_Pooling/config.json"].to_string();
            let model = files["config_sentence_transformers.json"].to_string();
            let files = SentenceFiles { pooling: &pooling, model: Some(&model), transformer: Some(&limits) };
            assert_eq!(modules.read(files).unwrap(), (sentence, SentenceTokenizer::default()));
        }
    }
}
