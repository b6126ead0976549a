//! Texts to batches of token ids, padded to the longest.
//!
//! The tokenizer is Hugging Face's own, from a `tokenizer.json`: the one that [`crate::tokenizer_files`] makes of a model's
//! files. That file may ask for padding and truncation (all-MiniLM-L6-v2's pads everything to 128 tokens): both are ignored
//! but for the end at which a text is cut, because how long an input may be is the model's business, a longer batch only
//! costs time, and a text is never cut unless the caller says so.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationParams};
use webnibble_common::graph::Graph;
use webnibble_common::io::NamedTensors;
use webnibble_common::prompt::UnknownPrompt;
use webnibble_common::tensor::{Tensor, TensorError};
use webnibble_common::tokens::TokensKept;

use super::tensors::{ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS};
use crate::bert::POOLING_MASK;
use crate::post_processor;

/// A model's tokenizer and its longest input.
#[derive(Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    limits: Limits,
    /// Special tokens around a text: `[CLS]` and `[SEP]`.
    special: usize,
}

/// What token ids must keep to, and how a batch of them is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest row in tokens, special ones included.
    pub max_len: usize,
    /// Ids are smaller than this.
    pub vocab_size: usize,
    /// Id of the padding; the mask drops it, so its value changes nothing.
    pub pad_id: u32,
}

/// A padded batch, rows side by side: `batch · seq` values each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Number of rows.
    pub batch: usize,
    /// Tokens of the longest row.
    pub seq: usize,
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<u32>,
    /// Segment of each token.
    pub token_type_ids: Vec<u32>,
    /// Of each row, how many of its tokens run: all, unless truncation was asked for. Special ones count, padding does not.
    pub tokens_kept: Vec<TokensKept>,
    /// Tokens at the begin of every row that belong to a prompt, special ones included.
    pub prompt_tokens: usize,
}

/// Why texts cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// `tokenizer.json` cannot be read.
    #[error("tokenizer.json: {reason}")]
    Tokenizer {
        /// The parser's message.
        reason: String,
    },
    /// The tokenizer failed on a text.
    #[error("text {index}: {reason}")]
    Encode {
        /// Which text, from 0.
        index: usize,
        /// The tokenizer's message.
        reason: String,
    },
    /// The longest input has no room for a token of the text.
    #[error("the longest input should be more than the {special} special tokens, found {found}")]
    Limit {
        /// Special tokens around a text.
        special: usize,
        /// The longest input asked for.
        found: usize,
    },
    /// A model without a tokenizer was given texts.
    #[error("the model has no tokenizer, so it takes token ids and no texts")]
    NoTokenizer,
    /// The model has no such prompt.
    #[error(transparent)]
    Prompt(#[from] UnknownPrompt),
    /// No text was given.
    #[error("expected at least one text, found none")]
    NoTexts,
    /// A text has nothing to tokenize.
    #[error("text {index} is empty: expected at least one token")]
    Empty {
        /// Which text, from 0.
        index: usize,
    },
    /// A text is over the model's limit.
    #[error("text {index} has {tokens} tokens, the model takes {limit}: shorten it, or ask for truncation")]
    TooLong {
        /// Which text, from 0.
        index: usize,
        /// Its tokens, special ones included.
        tokens: usize,
        /// The longest input.
        limit: usize,
    },
    /// A text has a token that the model was not made for.
    #[error(
        "text {index}: token `{token}` has id {id}, but the model's embedding table has {vocab_size} rows: it was added to \
         the tokenizer alone"
    )]
    UnknownToken {
        /// Which text, from 0.
        index: usize,
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
    /// A token id is not in the vocabulary.
    #[error("row {index}: token ids should be below {vocab_size}, found {id}")]
    Id {
        /// Which row, from 0.
        index: usize,
        /// The id.
        id: u32,
        /// Number of ids that exist.
        vocab_size: usize,
    },
}

impl TextTokenizer {
    /// A tokenizer from the bytes of `tokenizer.json`, for a model whose inputs have at most `max_len` tokens, special ones
    /// included, with ids below `vocab_size`.
    ///
    /// # Errors
    /// When the file cannot be read, or the limit has no room for a token of a text.
    pub fn from_bytes(tokenizer_json: &[u8], max_len: usize, vocab_size: usize) -> Result<TextTokenizer, TextError> {
        let reason = |error: tokenizers::Error| TextError::Tokenizer { reason: error.to_string() };
        let mut tokenizer =
            caught(|| Tokenizer::from_bytes(tokenizer_json)).map_err(|reason| TextError::Tokenizer { reason })?;
        let checked = tokenizer.get_post_processor().map_or(Ok(()), post_processor::check);
        checked.map_err(|reason| TextError::Tokenizer { reason })?;
        let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if max_len <= special {
            return Err(TextError::Limit { special, found: max_len });
        }
        let pad_id = tokenizer.get_padding().map_or_else(|| tokenizer.token_to_id("[PAD]"), |p| Some(p.pad_id));
        let pad_id = pad_id.filter(|id| (*id as usize) < vocab_size).unwrap_or(0);
        tokenizer.with_padding(None);
        let direction = tokenizer.get_truncation().map(|asked| asked.direction).unwrap_or_default();
        let truncation = TruncationParams { max_length: max_len, direction, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(reason)?;
        Ok(Self { tokenizer, limits: Limits { max_len, vocab_size, pad_id }, special })
    }

    /// The longest input, the size of the vocabulary and the padding.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Encodes one row a text, each after `prompt`, with the tokenizer's special tokens.
    /// With `truncate`, texts over the limit lose their end (special tokens stay); without, the first of them is an error.
    ///
    /// # Errors
    /// For no texts, a text with no token of its own, one with a token that the model does not know, and without `truncate`
    /// one over the limit.
    pub fn encode_batch(&self, texts: &[&str], prompt: &str, truncate: bool) -> Result<Encoded, TextError> {
        let before = self.before(prompt)?;
        let mut rows = Vec::with_capacity(texts.len());
        let mut tokens_kept = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let encoding = self.encode(index, &format!("{prompt}{text}"))?;
            let of = self.tokens_of(&encoding);
            if text.trim().is_empty() || (of <= before.tokens && self.is_empty(index, text)?) {
                return Err(TextError::Empty { index });
            }
            let limit = self.limits.max_len;
            if of > limit && !truncate {
                return Err(TextError::TooLong { index, tokens: of, limit });
            }
            self.check_tokens(index, &encoding)?;
            tokens_kept.push(TokensKept { kept: encoding.len(), of });
            rows.push(Row { ids: encoding.get_ids().to_vec(), types: encoding.get_type_ids().to_vec() });
        }
        Encoded::pad(&rows, self.limits.pad_id, tokens_kept, before.pooled_apart)
    }

    /// The text of token ids, special tokens left out. Ids that the tokenizer does not know have none.
    pub fn decode(&self, ids: &[u32]) -> String {
        caught(|| self.tokenizer.decode(ids, true)).unwrap_or_default()
    }

    /// What a prompt puts before a text's own tokens.
    fn before(&self, prompt: &str) -> Result<Before, TextError> {
        if prompt.is_empty() {
            return Ok(Before { tokens: self.special, pooled_apart: 0 });
        }
        let encoding = self.encode(0, prompt)?;
        // The special token after it comes after the text.
        let ends_specially = encoding.get_special_tokens_mask().last() == Some(&1);
        let pooled_apart = encoding.len() - usize::from(ends_specially);
        Ok(Before { tokens: self.tokens_of(&encoding), pooled_apart })
    }

    fn encode(&self, index: usize, text: &str) -> Result<Encoding, TextError> {
        caught(|| self.tokenizer.encode(text, true)).map_err(|reason| TextError::Encode { index, reason })
    }

    /// Tokens that a text had before it was cut, special ones included.
    fn tokens_of(&self, encoding: &Encoding) -> usize {
        // What was cut comes in further pieces, each with special tokens of its own.
        let cut = encoding.get_overflowing().iter().map(|piece| piece.len().saturating_sub(self.special));
        encoding.len() + cut.sum::<usize>()
    }

    /// Whether a text has no token of its own.
    fn is_empty(&self, index: usize, text: &str) -> Result<bool, TextError> {
        Ok(self.tokens_of(&self.encode(index, text)?) <= self.special)
    }

    fn check_tokens(&self, index: usize, encoding: &Encoding) -> Result<(), TextError> {
        let vocab_size = self.limits.vocab_size;
        let unknown = encoding.get_ids().iter().zip(encoding.get_tokens()).find(|(id, _)| **id as usize >= vocab_size);
        match unknown {
            Some((id, token)) => Err(TextError::UnknownToken { index, token: token.clone(), id: *id, vocab_size }),
            None => Ok(()),
        }
    }
}

/// What comes before a text's own tokens.
struct Before {
    /// Tokens of an input that has nothing else, special ones included.
    tokens: usize,
    /// Tokens that a pooling leaves out which takes the text alone.
    pooled_apart: usize,
}

/// What the tokenizers library gives. It panics over some files that are wrong, which is an error like its others; in a page a
/// panic cannot be caught, and ends the agent.
fn caught<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers library panicked over it".to_owned()),
    }
}

/// One row before padding.
struct Row {
    ids: Vec<u32>,
    types: Vec<u32>,
}

impl Encoded {
    /// Pads rows of ids, all of segment 0. Empty rows and ids outside the vocabulary are errors, and so is a row over the
    /// limit, unless `truncate` cuts it.
    pub fn from_ids(rows: &[Vec<u32>], limits: Limits, truncate: bool) -> Result<Encoded, TextError> {
        let Limits { max_len: limit, vocab_size, pad_id } = limits;
        let mut tokens_kept = Vec::with_capacity(rows.len());
        let mut kept = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let tokens = row.len();
            if let Some(id) = row.iter().find(|id| **id as usize >= vocab_size) {
                return Err(TextError::Id { index, id: *id, vocab_size });
            }
            match (tokens, truncate) {
                (0, _) => return Err(TextError::Empty { index }),
                (_, false) if tokens > limit => return Err(TextError::TooLong { index, tokens, limit }),
                _ => {}
            }
            let ids = row[..tokens.min(limit)].to_vec();
            tokens_kept.push(TokensKept { kept: ids.len(), of: tokens });
            kept.push(Row { types: vec![0; ids.len()], ids });
        }
        Self::pad(&kept, pad_id, tokens_kept, 0)
    }

    fn pad(
        rows: &[Row],
        pad_id: u32,
        tokens_kept: Vec<TokensKept>,
        prompt_tokens: usize,
    ) -> Result<Encoded, TextError> {
        let seq = rows.iter().map(|row| row.ids.len()).max().ok_or(TextError::NoTexts)?;
        let padded = |values: &dyn Fn(&Row) -> Vec<u32>, fill: u32| {
            let mut all = Vec::with_capacity(rows.len() * seq);
            for row in rows {
                let end = all.len() + seq;
                all.extend(values(row));
                all.resize(end, fill);
            }
            all
        };
        Ok(Encoded {
            batch: rows.len(),
            seq,
            input_ids: padded(&|row| row.ids.clone(), pad_id),
            attention_mask: padded(&|row| vec![1; row.ids.len()], 0),
            token_type_ids: padded(&|row| row.types.clone(), 0),
            tokens_kept,
            prompt_tokens,
        })
    }

    /// The attention mask without the prompt's tokens.
    pub fn pooling_mask(&self) -> Vec<u32> {
        let mut mask = self.attention_mask.clone();
        let prompts = mask.chunks_mut(self.seq.max(1)).map(|row| &mut row[..self.prompt_tokens.min(self.seq)]);
        prompts.for_each(|prompt| prompt.fill(0));
        mask
    }

    /// The tensors that `graph` takes, u32 `[batch, seq]`, by the names of its inputs.
    pub fn inputs(&self, graph: &Graph) -> Result<NamedTensors, TensorError> {
        let all = [
            (INPUT_IDS, self.input_ids.clone()),
            (ATTENTION_MASK, self.attention_mask.clone()),
            (TOKEN_TYPE_IDS, self.token_type_ids.clone()),
            (POOLING_MASK, self.pooling_mask()),
        ];
        let wanted = |name: &str| graph.inputs.iter().any(|id| graph.value_of(*id).name == name);
        all.into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, values)| Ok((name.to_owned(), Tensor::u32([self.batch, self.seq], values)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A small WordPiece tokenizer whose file asks for padding and truncation, as that of MiniLM does.
    fn tokenizer(max_len: usize) -> Result<TextTokenizer, TextError> {
        let special = |id: u32, token: &str| {
            json!({"id": id, "special": true, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false})
        };
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "sat"];
        let vocab: serde_json::Map<_, _> = words.iter().zip(0..).map(|(w, i)| (w.to_string(), json!(i))).collect();
        let file = json!({
            "version": "1.0",
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                    "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab}
        });
        TextTokenizer::from_bytes(file.to_string().as_bytes(), max_len, 8)
    }

    #[test]
    fn rows_are_padded_to_the_longest_and_no_further() {
        let encoded = tokenizer(10).unwrap().encode_batch(&["The cats sat", "cat"], "", false).unwrap();
        assert_eq!((encoded.batch, encoded.seq), (2, 6));
        assert_eq!(encoded.input_ids, [2, 4, 5, 6, 7, 3, 2, 5, 3, 0, 0, 0]);
        assert_eq!(encoded.attention_mask, [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(encoded.token_type_ids, [0; 12]);
        assert_eq!(encoded.tokens_kept, [(6, 6), (3, 3)].map(|(kept, of)| TokensKept { kept, of }));
    }

    #[test]
    fn empty_text_is_an_error() {
        let tokenizer = tokenizer(10).unwrap();
        assert_eq!(tokenizer.encode_batch(&[], "", false).unwrap_err(), TextError::NoTexts);
        let texts = ["", "  \t\n", "\u{a0}", "\u{0}\u{200b}"];
        for (text, prompt) in texts.iter().flat_map(|text| [(*text, ""), (*text, "the cat ")]) {
            let error = tokenizer.encode_batch(&["cat", text], prompt, true).unwrap_err();
            assert_eq!(error, TextError::Empty { index: 1 }, "{prompt}{text:?}");
        }
    }

    #[test]
    fn text_over_the_limit_is_cut_only_when_asked() {
        let tokenizer = tokenizer(4).unwrap();
        let text = "cat sat the cats the cat sat sat";
        let error = tokenizer.encode_batch(&["cat", text], "", false).unwrap_err();
        assert_eq!(error, TextError::TooLong { index: 1, tokens: 11, limit: 4 });
        assert_eq!(error.to_string(), "text 1 has 11 tokens, the model takes 4: shorten it, or ask for truncation");
        let encoded = tokenizer.encode_batch(&["cat", text], "", true).unwrap();
        assert_eq!(encoded.input_ids, [2, 5, 3, 0, 2, 5, 7, 3]);
        assert_eq!(encoded.tokens_kept, [(3, 3), (4, 11)].map(|(kept, of)| TokensKept { kept, of }));
    }

    #[test]
    fn a_text_of_exactly_the_limit_is_whole() {
        let encoded = tokenizer(4).unwrap().encode_batch(&["cat sat"], "", false).unwrap();
        assert_eq!(encoded.input_ids, [2, 5, 7, 3]);
        assert!(!encoded.tokens_kept[0].is_cut());
    }

    #[test]
    fn the_limit_must_leave_room() {
        assert_eq!(tokenizer(2).err(), Some(TextError::Limit { special: 2, found: 2 }));
        assert!(tokenizer(3).is_ok());
        assert!(matches!(TextTokenizer::from_bytes(b"{}", 8, 8), Err(TextError::Tokenizer { .. })));
    }

    #[test]
    fn ids_are_checked_and_padded() {
        let limits = tokenizer(4).unwrap().limits();
        let encoded = Encoded::from_ids(&[vec![2, 5, 3], vec![7]], limits, false).unwrap();
        assert_eq!(encoded.input_ids, [2, 5, 3, 7, 0, 0]);
        assert_eq!(encoded.attention_mask, [1, 1, 1, 1, 0, 0]);
        let error = |rows: &[Vec<u32>]| Encoded::from_ids(rows, limits, false).unwrap_err();
        assert_eq!(error(&[]), TextError::NoTexts);
        assert_eq!(error(&[vec![]]), TextError::Empty { index: 0 });
        assert_eq!(error(&[vec![1], vec![8]]), TextError::Id { index: 1, id: 8, vocab_size: 8 });
        assert_eq!(error(&[vec![1; 5]]), TextError::TooLong { index: 0, tokens: 5, limit: 4 });
        let cut = Encoded::from_ids(&[vec![1; 5]], limits, true).unwrap();
        assert_eq!((cut.seq, cut.tokens_kept), (4, vec![TokensKept { kept: 4, of: 5 }]));
    }

    #[test]
    fn a_prompt_comes_before_each_text_and_may_be_left_out_of_pooling() {
        let encoded = tokenizer(10).unwrap().encode_batch(&["sat", "cat"], "the cats ", false).unwrap();
        assert_eq!(encoded.input_ids, [2, 4, 5, 6, 7, 3, 2, 4, 5, 6, 5, 3]);
        assert_eq!((encoded.prompt_tokens, encoded.pooling_mask()), (4, [0, 0, 0, 0, 1, 1].repeat(2)));
        // A word of its own, though prompt and text together have no more tokens than the prompt alone.
        let joined = tokenizer(10).unwrap().encode_batch(&["s"], "cat", false).unwrap();
        assert_eq!((joined.input_ids, joined.prompt_tokens), (vec![2, 5, 6, 3], 2));
        let whole = tokenizer(10).unwrap().encode_batch(&["cat"], "", false).unwrap();
        assert_eq!(whole.pooling_mask(), whole.attention_mask);
    }

    #[test]
    fn a_token_that_the_model_does_not_know_is_named() {
        let TextTokenizer { tokenizer, limits, special } = tokenizer(10).unwrap();
        let tokenizer = TextTokenizer { tokenizer, limits: Limits { vocab_size: 7, ..limits }, special };
        let error = tokenizer.encode_batch(&["the cat", "cat sat"], "", false).unwrap_err();
        assert_eq!(error, TextError::UnknownToken { index: 1, token: "sat".into(), id: 7, vocab_size: 7 });
    }
}
