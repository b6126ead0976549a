//! One tokenizer of all the files that say how a model's texts are tokenized.
//!
//! `tokenizer.json` is not the whole story: transformers rebuilds or changes what is in it by `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json`, or builds it of `vocab.txt`, and sentence-transformers has a say in
//! `sentence_bert_config.json`. [`TokenizerFiles::effective`] does as they do (transformers 5, sentence-transformers 6) and
//! gives the one `tokenizer.json` that packages, pages and references on this machine all read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PaddingParams, Tokenizer, TruncationDirection, TruncationParams};

use crate::sentence::SentenceTokenizer;

/// The whole tokenizer, as the tokenizers library writes it.
pub const TOKENIZER: &str = "tokenizer.json";
/// Settings of the tokenizer's class.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Special tokens by their roles.
pub const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
/// Tokens that were added to the vocabulary, with their ids.
pub const ADDED_TOKENS: &str = "added_tokens.json";
/// The vocabulary, a token a line.
pub const VOCAB: &str = "vocab.txt";

/// The files that are read, by their names in a model's folder.
pub const FILES: [&str; 5] = [TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, ADDED_TOKENS, VOCAB];

/// Roles that a special token may have, as keys of the settings, in the order in which transformers looks at them.
const ROLES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Tokens that BERT's classes give to roles that the files do not name.
const ROLES_OF_BERT: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

/// Classes that build their tokenizer anew of the vocabulary, whatever else `tokenizer.json` says.
const BERT_CLASSES: [&str; 10] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "LayoutLMTokenizer",
    "SqueezeBertTokenizer",
    "LxmertTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRContextEncoderTokenizer",
];

/// Limits over this mean that there is none: transformers writes 10^30.
const NO_LIMIT: f64 = 1e9;

/// The files of a tokenizer, as they lie in a model's folder.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles(BTreeMap<&'static str, Vec<u8>>);

/// What the files come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveTokenizer {
    /// Bytes of one `tokenizer.json` that the tokenizers library reads.
    pub json: Vec<u8>,
    /// Longest text in tokens, special ones included, where the tokenizer has a limit.
    pub model_max_length: Option<usize>,
}

/// Why the files make no tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerFilesError {
    /// A file is not what it should be.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no `tokenizer.json`, and the class is not one that is built of a vocabulary.
    #[error("tokenizer class `{class}` needs a {TOKENIZER}: only BERT's classes are built of {VOCAB} alone")]
    Class {
        /// The class that the settings name.
        class: String,
    },
}

impl TokenizerFiles {
    /// Reads the files of [`FILES`] with `read`, which gives the bytes of those that are there.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(mut read: impl FnMut(&'static str) -> Result<Option<Vec<u8>>, E>) -> Result<Self, E> {
        let mut files = BTreeMap::new();
        for name in FILES {
            if let Some(bytes) = read(name)? {
                files.insert(name, bytes);
            }
        }
        Ok(Self(files))
    }

    /// The tokenizer that transformers and sentence-transformers make of the files; `None` where there is neither a
    /// `tokenizer.json` nor a vocabulary. `config` is the model's `config.json`, `sentence` what its sentence files say.
    ///
    /// # Errors
    /// When a file cannot be read as what it is, or the class needs one that is not there.
    pub fn effective(
        &self,
        config: &Value,
        sentence: &SentenceTokenizer,
    ) -> Result<Option<EffectiveTokenizer>, TokenizerFilesError> {
        if !self.0.contains_key(TOKENIZER) && !self.0.contains_key(VOCAB) {
            return Ok(None);
        }
        let mut settings = Settings(self.object(TOKENIZER_CONFIG)?);
        settings.0.extend(sentence.arguments.clone());
        let file = self.tokenizer_json()?;
        let file = file.as_ref();
        let tokens = self.tokens(&mut settings, file)?;
        let class = settings.class(config);
        let mut tokenizer = match BERT_CLASSES.contains(&class.as_str()) && !file.is_some_and(is_no_word_piece) {
            true => bert_tokenizer(&self.vocabulary(file)?, &settings, tokens)?,
            false => self.tokenizer_as_it_is(class, &tokens)?,
        };
        settings.truncate_like(file, &mut tokenizer)?;
        if sentence.do_lower_case {
            lowercase_first(&mut tokenizer);
        }
        let json = settings.written(&tokenizer)?;
        Ok(Some(EffectiveTokenizer { json, model_max_length: settings.model_max_length()? }))
    }

    /// A JSON object; an empty one where there is no such file.
    fn object(&self, file: &'static str) -> Result<Map<String, Value>, TokenizerFilesError> {
        match self.json(file)? {
            None => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(wrong(file, "should be a JSON object")),
        }
    }

    fn json(&self, file: &'static str) -> Result<Option<Value>, TokenizerFilesError> {
        let Some(bytes) = self.0.get(file) else { return Ok(None) };
        serde_json::from_slice(without_mark(bytes))
            .map(Some)
            .map_err(|error| wrong(file, format!("should be JSON: {error}")))
    }

    fn tokenizer_json(&self) -> Result<Option<Value>, TokenizerFilesError> {
        let json = self.json(TOKENIZER)?;
        if json.as_ref().is_some_and(|json| !json["model"].is_object()) {
            return Err(wrong(TOKENIZER, "should be a tokenizer with a `model`"));
        }
        Ok(json)
    }

    /// Ids by token, of `tokenizer.json` or else of the vocabulary.
    fn vocabulary(&self, file: Option<&Value>) -> Result<Value, TokenizerFilesError> {
        if let Some(file) = file {
            return Ok(file["model"]["vocab"].clone());
        }
        let bytes = self.0.get(VOCAB).map(Vec::as_slice).unwrap_or_default();
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(VOCAB, format!("should be text: {error}")))?;
        let ids = text.lines().zip(0u32..).map(|(line, id)| (line.trim_end().to_owned(), id.into()));
        Ok(Value::Object(ids.collect()))
    }

    /// `tokenizer.json`, with tokens that it lacks.
    fn tokenizer_as_it_is(&self, class: String, tokens: &Tokens) -> Result<Tokenizer, TokenizerFilesError> {
        let bytes = self.0.get(TOKENIZER).ok_or(TokenizerFilesError::Class { class })?;
        let bytes = without_mark(bytes);
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| wrong(TOKENIZER, error.to_string()))?;
        tokens.add_to(&mut tokenizer);
        Ok(tokenizer)
    }

    /// The tokens that the files add, and those that have a role. Where the settings do not list added tokens, what
    /// `special_tokens_map.json` says is moved into them.
    fn tokens(&self, settings: &mut Settings, file: Option<&Value>) -> Result<Tokens, TokenizerFilesError> {
        let added = match settings.0.get("added_tokens_decoder") {
            Some(listed) => decoded(listed)?,
            None => {
                settings.0.extend(self.object(SPECIAL_TOKENS_MAP)?);
                self.added(settings, file)?
            }
        };
        Ok(Tokens { added: added.into_values().collect(), roles: settings.roles()?, extra: settings.extra_tokens()? })
    }

    /// Added tokens by their ids: those of `added_tokens.json`, and over them those of `tokenizer.json`.
    fn added(
        &self,
        settings: &Settings,
        file: Option<&Value>,
    ) -> Result<BTreeMap<u32, AddedToken>, TokenizerFilesError> {
        let roles = settings.roles()?.into_iter().map(|(_, token)| token);
        let specials: Vec<AddedToken> = roles.chain(settings.extra_tokens()?).collect();
        let mut added = BTreeMap::new();
        for (token, id) in self.object(ADDED_TOKENS)? {
            let id = id_of(ADDED_TOKENS, &id)?;
            let is_special = specials.iter().any(|special| special.content == token);
            added.insert(id, AddedToken::from(token, is_special));
        }
        for token in file.and_then(|file| file["added_tokens"].as_array()).into_iter().flatten() {
            added.insert(id_of(TOKENIZER, &token["id"])?, token_of(TOKENIZER, token, false)?);
        }
        Ok(added)
    }
}

/// Added tokens by their ids, as `added_tokens_decoder` lists them.
fn decoded(listed: &Value) -> Result<BTreeMap<u32, AddedToken>, TokenizerFilesError> {
    let not_listed =
        || wrong(TOKENIZER_CONFIG, format!("`added_tokens_decoder` should list tokens by id, found {listed}"));
    let token = |(id, token): (&String, &Value)| {
        Ok((id.parse().map_err(|_| not_listed())?, token_of(TOKENIZER_CONFIG, token, false)?))
    };
    listed.as_object().ok_or_else(not_listed)?.iter().map(token).collect()
}

/// Tokens beside the vocabulary's own.
struct Tokens {
    /// By their ids: those keep their order, and not their value.
    added: Vec<AddedToken>,
    /// Special tokens by role.
    roles: Vec<(&'static str, AddedToken)>,
    /// Special tokens without a role.
    extra: Vec<AddedToken>,
}

impl Tokens {
    /// Adds what the tokenizer lacks; a token that the vocabulary has keeps its id there.
    fn add_to(&self, tokenizer: &mut Tokenizer) {
        let known: Vec<AddedToken> = tokenizer.get_added_tokens_decoder().into_values().collect();
        let mut wanted: Vec<AddedToken> = self.added.iter().filter(|token| !known.contains(token)).cloned().collect();
        let named = self.roles.iter().map(|(_, token)| token).chain(&self.extra);
        for token in named {
            let is_there = |tokens: &[AddedToken]| tokens.iter().any(|one| one.content == token.content);
            if !is_there(&known) && !is_there(&wanted) {
                wanted.push(token.clone());
            }
        }
        for token in &mut wanted {
            token.special |= self.roles.iter().any(|(_, role)| role.content == token.content);
        }
        tokenizer.add_tokens(&wanted);
    }

    /// With the tokens that the class gives to roles that the files do not name.
    fn with_roles_of_bert(mut self) -> Tokens {
        for (role, token) in ROLES_OF_BERT {
            if !self.roles.iter().any(|(name, _)| *name == role) {
                self.roles.push((role, AddedToken::from(token, true)));
            }
        }
        self
    }

    /// Content of the token that has a role; empty where none has it.
    fn role(&self, role: &str) -> &str {
        self.roles.iter().find(|(name, _)| *name == role).map_or("", |(_, token)| &token.content)
    }
}

/// Builds a BERT tokenizer of a vocabulary, as its class in transformers does.
fn bert_tokenizer(vocab: &Value, settings: &Settings, tokens: Tokens) -> Result<Tokenizer, TokenizerFilesError> {
    let tokens = tokens.with_roles_of_bert();
    let json = json!({
        "version": "1.0",
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
            "strip_accents": settings.flag("strip_accents")?,
            "lowercase": settings.flag("do_lower_case")?.unwrap_or(true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": tokens.role("unk_token"),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    });
    let mut tokenizer = Tokenizer::from_bytes(json.to_string()).map_err(|error| wrong(TOKENIZER, error.to_string()))?;
    tokens.add_to(&mut tokenizer);
    let [cls, sep, pad] = ["cls_token", "sep_token", "pad_token"].map(|role| tokens.role(role));
    let id = |token: &str| tokenizer.token_to_id(token).unwrap_or_default();
    let template = template([(cls, id(cls)), (sep, id(sep))]);
    let padding = PaddingParams { pad_id: id(pad), pad_token: pad.to_owned(), ..PaddingParams::default() };
    tokenizer.with_post_processor(Some(template)).with_padding(Some(padding));
    Ok(tokenizer)
}

/// Puts the first token before a text and the second one after it.
fn template([first, last]: [(&str, u32); 2]) -> TemplateProcessing {
    let token = |(name, _): (&str, u32), segment: u32| json!({ "SpecialToken": { "id": name, "type_id": segment } });
    let text = |name: &str, segment: u32| json!({ "Sequence": { "id": name, "type_id": segment } });
    let special = |(name, id): (&str, u32)| (name.to_owned(), json!({ "id": name, "ids": [id], "tokens": [name] }));
    let single = json!([token(first, 0), text("A", 0), token(last, 0)]);
    let pair = json!([token(first, 0), text("A", 0), token(last, 0), text("B", 1), token(last, 1)]);
    let special: Map<String, Value> = [special(first), special(last)].into_iter().collect();
    let json = json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special });
    serde_json::from_value(json).expect("it names each of its tokens")
}

/// `tokenizer_config.json`, and what other files change in it.
struct Settings(Map<String, Value>);

impl Settings {
    /// The tokenizer's class without the mark of the fast kind: the settings' own, else that of `config.json`, else BERT's.
    fn class(&self, config: &Value) -> String {
        let named = |fields: &Value| fields.as_str().map(|name| name.strip_suffix("Fast").unwrap_or(name).to_owned());
        let own = self.0.get("tokenizer_class").and_then(named);
        own.or_else(|| named(&config["tokenizer_class"])).unwrap_or_else(|| BERT_CLASSES[0].to_owned())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, TokenizerFilesError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(TOKENIZER_CONFIG, format!("`{name}` should be true or false, found {other}"))),
        }
    }

    /// Special tokens by role.
    fn roles(&self) -> Result<Vec<(&'static str, AddedToken)>, TokenizerFilesError> {
        let named =
            ROLES.into_iter().filter_map(|role| Some((role, self.0.get(role).filter(|token| !token.is_null())?)));
        named.map(|(role, token)| Ok((role, special_token(token)?))).collect()
    }

    /// Special tokens without one of the roles: listed, named in an object, or fields of other names that end in `_token`.
    fn extra_tokens(&self) -> Result<Vec<AddedToken>, TokenizerFilesError> {
        let given = |name: &str| self.0.get(name).filter(|value| !value.is_null() && *value != &Value::Array(vec![]));
        let listed = given("extra_special_tokens").or_else(|| given("additional_special_tokens"));
        let mut tokens: Vec<&Value> = match listed {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(Value::Object(named)) => named.values().collect(),
            _ => Vec::new(),
        };
        let is_extra = |name: &str| name.ends_with("_token") && !ROLES.contains(&name);
        tokens
            .extend(self.0.iter().filter(|(name, value)| is_extra(name) && value.is_string()).map(|(_, value)| value));
        tokens.into_iter().map(special_token).collect()
    }

    /// Which end of a long text is cut, in the tokenizer's own words.
    fn truncate_like(&self, file: Option<&Value>, tokenizer: &mut Tokenizer) -> Result<(), TokenizerFilesError> {
        let side = self.0.get("truncation_side").or_else(|| file?.get("truncation")?.get("direction"));
        let direction = match side.and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        // The page reads this file too, where a count has 32 bits.
        let max_length = self.model_max_length()?.unwrap_or(i32::MAX as usize);
        let params = TruncationParams { direction, max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(params)).map(drop).map_err(|error| wrong(TOKENIZER_CONFIG, error.to_string()))
    }

    fn model_max_length(&self) -> Result<Option<usize>, TokenizerFilesError> {
        let limit = self.0.get("model_max_length").or_else(|| self.0.get("max_len")).filter(|limit| !limit.is_null());
        let Some(limit) = limit else { return Ok(None) };
        match limit.as_f64() {
            Some(limit) if limit >= NO_LIMIT => Ok(None),
            Some(limit) if limit >= 1.0 => Ok(Some(limit as usize)),
            _ => Err(wrong(TOKENIZER_CONFIG, format!("`model_max_length` should be a positive number, found {limit}"))),
        }
    }

    /// The bytes of the tokenizer. With `split_special_tokens`, special tokens in a text are ordinary words: then they are
    /// left out of the list of those that are looked for.
    fn written(&self, tokenizer: &Tokenizer) -> Result<Vec<u8>, TokenizerFilesError> {
        let text = tokenizer.to_string(false).map_err(|error| wrong(TOKENIZER, error.to_string()))?;
        if self.flag("split_special_tokens")? != Some(true) {
            return Ok(text.into_bytes());
        }
        let mut json: Value = serde_json::from_str(&text).map_err(|error| wrong(TOKENIZER, error.to_string()))?;
        if let Some(tokens) = json["added_tokens"].as_array_mut() {
            tokens.retain(|token| token["special"] != true);
        }
        Ok(json.to_string().into_bytes())
    }
}

/// Puts a lowercasing before all else, as sentence-transformers does where nothing of that kind is there.
fn lowercase_first(tokenizer: &mut Tokenizer) {
    let normalizer = tokenizer.get_normalizer().cloned();
    let is_lowercase = |one: &NormalizerWrapper| matches!(one, NormalizerWrapper::Lowercase(_));
    let rest = match normalizer {
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        other => other.into_iter().collect(),
    };
    if !rest.iter().any(is_lowercase) {
        let all = std::iter::once(NormalizerWrapper::Lowercase(Lowercase)).chain(rest);
        tokenizer.with_normalizer(Some(Sequence::new(all.collect())));
    }
}

/// Whether a `tokenizer.json` has another model than the one that BERT's classes build.
fn is_no_word_piece(file: &Value) -> bool {
    file["model"]["type"].as_str().is_some_and(|kind| kind != "WordPiece")
}

/// A token with a role, given by its content or with its flags.
fn special_token(value: &Value) -> Result<AddedToken, TokenizerFilesError> {
    match value {
        Value::String(content) => Ok(AddedToken::from(content.clone(), true)),
        _ => token_of(TOKENIZER_CONFIG, value, true),
    }
}

/// A token with its flags, special where the file says so or `always_special` does. A flag that is not there is off, and
/// special tokens are not normalized unless their flag says so.
fn token_of(file: &'static str, value: &Value, always_special: bool) -> Result<AddedToken, TokenizerFilesError> {
    let no_content = || wrong(file, format!("a token should have `content`, found {value}"));
    let content = value["content"].as_str().ok_or_else(no_content)?;
    let flag = |name: &str| value[name].as_bool();
    let special = always_special || flag("special").unwrap_or(false);
    Ok(AddedToken::from(content, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special)))
}

/// Text without the mark that some editors put before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn id_of(file: &'static str, id: &Value) -> Result<u32, TokenizerFilesError> {
    let id_of_32_bits = id.as_u64().and_then(|id| u32::try_from(id).ok());
    id_of_32_bits.ok_or_else(|| wrong(file, format!("an added token should have an id of 32 bits, found {id}")))
}

fn wrong(file: &'static str, reason: impl Into<String>) -> TokenizerFilesError {
    TokenizerFilesError::File { file, reason: reason.into() }
}
