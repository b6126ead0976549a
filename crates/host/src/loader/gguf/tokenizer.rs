//! The files of a tokenizer, as Hugging Face's library reads them, of what a GGUF file says of its vocabulary.
//!
//! Two kinds are read. `gpt2` is byte-level BPE: the file has tokens and merges, and a name for how texts are split before.
//! `llama` is SentencePiece's BPE: the file has a score for each piece, and of two neighbours those are joined whose whole has the
//! highest. That is BPE whose merges are the pieces in the order of their scores, which is what Hugging Face's converter makes of
//! it too; the library's Unigram would split a text by the sum of the scores, which are no probabilities here but ranks.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use webnibble_models::tokenizer_files::{TOKENIZER, TOKENIZER_CONFIG};

use super::error::GgufError;
use super::metadata::Metadata;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// Types of tokens, as the file numbers them.
const NORMAL: i128 = 1;
const UNKNOWN: i128 = 2;
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;

/// What SentencePiece has for a space.
const SPACE: &str = "\u{2581}";

/// How LLaMA 3 and Qwen 2 split texts, but for how many digits a number may have.
const WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// How files without a name for it are split: each expression splits what those before it left.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// Files by their names in a folder; none where the file has no vocabulary.
///
/// # Errors
/// For a kind or a way of splitting texts that is not read, and for arrays that do not go together.
pub(super) fn files(metadata: &Metadata) -> Result<BTreeMap<&'static str, Vec<u8>>, GgufError> {
    let kind = metadata.text(MODEL)?.unwrap_or("none");
    if kind == "none" || kind == "no_vocab" {
        return Ok(BTreeMap::new());
    }
    let vocabulary = Vocabulary::read(metadata)?;
    let mut tokenizer = match kind {
        "gpt2" => byte_level(metadata, &vocabulary)?,
        "llama" => sentence_piece(metadata, &vocabulary)?,
        other => return Err(GgufError::metadata(MODEL, "`gpt2` or `llama`", format!("`{other}`"))),
    };
    tokenizer["version"] = "1.0".into();
    tokenizer["added_tokens"] = vocabulary.added();
    tokenizer["post_processor"] = post_processor(metadata, &vocabulary, kind)?;
    let settings = settings(metadata, &vocabulary)?;
    let bytes = |json: Value| json.to_string().into_bytes();
    Ok(BTreeMap::from([(TOKENIZER, bytes(tokenizer)), (TOKENIZER_CONFIG, bytes(settings))]))
}

/// Tokens by their ids, and what kind each is of.
struct Vocabulary<'a> {
    tokens: &'a [String],
    types: Vec<i128>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, GgufError> {
        let tokens = metadata.texts(TOKENS)?;
        let tokens = tokens.ok_or_else(|| GgufError::metadata(TOKENS, "an array of strings", "nothing"))?;
        let types = metadata.integers(TYPES)?.unwrap_or_else(|| vec![NORMAL; tokens.len()]);
        check_length(TYPES, types.len(), tokens)?;
        Ok(Self { tokens, types })
    }

    fn ids(&self) -> Value {
        Value::Object(self.tokens.iter().zip(0u32..).map(|(token, id)| (token.clone(), id.into())).collect())
    }

    /// Tokens that stand for themselves in a text, whatever is around them.
    fn added(&self) -> Value {
        let whole = |(id, (token, kind)): (usize, (&String, &i128))| {
            let special = [UNKNOWN, CONTROL].contains(kind);
            (special || *kind == USER_DEFINED).then(|| {
                json!({"id": id, "content": token, "special": special, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false})
            })
        };
        self.tokens.iter().zip(&self.types).enumerate().filter_map(whole).collect()
    }

    /// The token that has a role (`bos`, `eos`, …) by its id in the metadata, with the id.
    fn with_role(&self, metadata: &Metadata, role: &str) -> Result<Option<(&'a str, u64)>, GgufError> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        let Some(id) = metadata.count(&key)? else { return Ok(None) };
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        let outside =
            || GgufError::metadata(&key, format!("the id of one of {} tokens", self.tokens.len()), id.to_string());
        Ok(Some((token.ok_or_else(outside)?, id)))
    }
}

fn check_length(key: &str, found: usize, tokens: &[String]) -> Result<(), GgufError> {
    if found == tokens.len() {
        return Ok(());
    }
    let expected = format!("as long as `{TOKENS}`, which has {}", tokens.len());
    Err(GgufError::metadata(key, expected, format!("{found} numbers")))
}

/// Byte-level BPE.
fn byte_level(metadata: &Metadata, vocabulary: &Vocabulary<'_>) -> Result<Value, GgufError> {
    let pre = metadata.text(PRE)?.unwrap_or("default");
    let merges =
        metadata.texts(MERGES)?.ok_or_else(|| GgufError::metadata(MERGES, "an array of strings", "nothing"))?;
    let known: std::collections::HashSet<&str> = vocabulary.tokens.iter().map(String::as_str).collect();
    let merges: Result<Vec<Value>, GgufError> = merges.iter().map(|merge| pair_of(merge, &known)).collect();
    Ok(json!({
        "normalizer": if pre == "qwen2" { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer(pre)?,
        "decoder": byte_level_step(true),
        "model": {"type": "BPE", "vocab": vocabulary.ids(), "merges": merges?, "byte_fallback": false, "fuse_unk": false,
            // A word that is a token is one, also where no merges lead to it.
            "ignore_merges": pre == "llama-bpe"},
    }))
}

/// Both sides of a merge, which are tokens, as is what they make.
fn pair_of(merge: &str, known: &std::collections::HashSet<&str>) -> Result<Value, GgufError> {
    // A token is never empty, and may itself begin with a space in files of other tools.
    let second = merge.char_indices().nth(1).map_or(merge.len(), |(at, _)| at);
    let space = merge[second..].find(' ').map(|at| at + second);
    let pair = space.map(|at| (&merge[..at], &merge[at + 1..]));
    let is_known = |(left, right): &(&str, &str)| {
        known.contains(left) && known.contains(right) && known.contains(format!("{left}{right}").as_str())
    };
    let expected = "two tokens with a space between, which make a third";
    let (left, right) =
        pair.filter(is_known).ok_or_else(|| GgufError::metadata(MERGES, expected, format!("`{merge}`")))?;
    Ok(json!([left, right]))
}

/// How texts are split before merges, by the name that the file has for it.
fn pre_tokenizer(pre: &str) -> Result<Value, GgufError> {
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
    let by_words = |digits: &str| {
        let steps = vec![split(&WORDS.replace("DIGITS", digits)), byte_level_step(false)];
        sequence(steps)
    };
    match pre {
        "gpt-2" | "gpt2" => Ok(byte_level_step(true)),
        "smollm" => Ok(sequence(vec![json!({"type": "Digits", "individual_digits": true}), byte_level_step(true)])),
        "llama-bpe" => Ok(by_words("3")),
        "qwen2" => Ok(by_words("1")),
        "default" => Ok(sequence(DEFAULT.map(split).into_iter().chain([byte_level_step(false)]).collect())),
        other => {
            let expected = "`smollm`, `gpt-2`, `default`, `llama-bpe` or `qwen2`";
            Err(GgufError::metadata(PRE, expected, format!("`{other}`")))
        }
    }
}

fn split(expression: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false})
}

/// Bytes as the letters that stand for them; `splits` says whether GPT-2's own expression splits before.
fn byte_level_step(splits: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": splits})
}

/// SentencePiece's BPE.
fn sentence_piece(metadata: &Metadata, vocabulary: &Vocabulary<'_>) -> Result<Value, GgufError> {
    let scores =
        metadata.floats(SCORES)?.ok_or_else(|| GgufError::metadata(SCORES, "an array of numbers", "nothing"))?;
    check_length(SCORES, scores.len(), vocabulary.tokens)?;
    let prefixed = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let prepend = prefixed.then(|| json!({"type": "Prepend", "prepend": SPACE}));
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let normalizers: Vec<Value> = prepend.into_iter().chain([replace]).collect();
    let back = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
    let strip = prefixed.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    let decoders = [back, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})].into_iter().chain(strip);
    let unknown = vocabulary.with_role(metadata, "unknown")?.map(|(token, _)| token);
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": decoders.collect::<Vec<Value>>()},
        "model": {"type": "BPE", "vocab": vocabulary.ids(), "merges": merges_by_score(vocabulary, &scores),
            "unk_token": unknown, "byte_fallback": true, "fuse_unk": true, "ignore_merges": false},
    }))
}

/// Every way to make a piece of two others, the piece of the highest score first. Where scores are the same, longer parts come
/// first, the left one's length before the right one's, and then the order of ids.
fn merges_by_score<'a>(vocabulary: &Vocabulary<'a>, scores: &[f64]) -> Vec<(&'a str, &'a str)> {
    let all = vocabulary.tokens.iter().zip(&vocabulary.types).enumerate();
    let normal = all.filter(|(_, (_, kind))| **kind == NORMAL);
    let pieces: HashMap<&str, usize> = normal.map(|(id, (piece, _))| (piece.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (id, piece) in vocabulary.tokens.iter().enumerate().filter(|(id, piece)| pieces.get(piece.as_str()) == Some(id))
    {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if let (Some(first), Some(second)) = (pieces.get(left), pieces.get(right)) {
                merges.push((id, *first, *second, left, right));
            }
        }
    }
    let lengths = |left: &str, right: &str| (left.chars().count(), right.chars().count());
    merges.sort_by(|a, b| {
        let longer = || lengths(b.3, b.4).cmp(&lengths(a.3, a.4));
        scores[b.0].total_cmp(&scores[a.0]).then_with(longer).then_with(|| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)))
    });
    merges.into_iter().map(|(.., left, right)| (left, right)).collect()
}

/// Puts the tokens of begin and end around a text, where the file asks for them. Files that do not say have a begin where
/// GGML's tools put one: with SentencePiece's pieces and with LLaMA 3's.
fn post_processor(metadata: &Metadata, vocabulary: &Vocabulary<'_>, kind: &str) -> Result<Value, GgufError> {
    let usual = kind == "llama" || metadata.text(PRE)? == Some("llama-bpe");
    let begins = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(usual);
    let ends = metadata.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
    let wanted = |wanted: bool, role: &str| if wanted { vocabulary.with_role(metadata, role) } else { Ok(None) };
    let (begin, end) = (wanted(begins, "bos")?, wanted(ends, "eos")?);
    if begin.is_none() && end.is_none() {
        return Ok(Value::Null);
    }
    let mut special_tokens = Map::new();
    for (token, id) in begin.into_iter().chain(end) {
        special_tokens.insert(token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    let around = |text: &str, type_id: u32| {
        let special = |token: Option<(&str, u64)>| {
            token.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": type_id}}))
        };
        let text = json!({"Sequence": {"id": text, "type_id": type_id}});
        [special(begin), Some(text), special(end)].into_iter().flatten().collect::<Vec<Value>>()
    };
    let pair = [around("A", 0), around("B", 1)].concat();
    Ok(json!({"type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": special_tokens}))
}

/// `tokenizer_config.json`: roles, and a class that takes the tokenizer as it is.
fn settings(metadata: &Metadata, vocabulary: &Vocabulary<'_>) -> Result<Value, GgufError> {
    let mut settings = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    let roles = [("bos", "bos_token"), ("eos", "eos_token"), ("unknown", "unk_token"), ("padding", "pad_token")];
    for (role, field) in roles {
        if let Some((token, _)) = vocabulary.with_role(metadata, role)? {
            settings[field] = token.into();
        }
    }
    Ok(settings)
}
