//! `tokenizer.json`.

use webnibble_models::input::text::TextTokenizer;

/// Words, accents, scripts, controls, an emoji of several characters, and a word longer than tokenizers look at.
const TEXTS: [&str; 6] = ["The cats sat.", "  Ünï\u{301}cöde\t", "猫が座った", "\u{0}\u{200b}", "👩‍👩‍👧 \u{202e}x", LONG];

const LONG: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The input is a `tokenizer.json`.
pub(crate) fn tokenizer(data: &[u8]) {
    for limit in [3, 512] {
        let Ok(tokenizer) = TextTokenizer::from_bytes(data, limit, usize::MAX) else { continue };
        TEXTS.iter().for_each(|text| encode(&tokenizer, text, limit));
    }
}

/// Rows are whole, and never over the limit.
fn encode(tokenizer: &TextTokenizer, text: &str, limit: usize) {
    let Ok(encoded) = tokenizer.encode_batch(&[text, text], "", true) else { return };
    assert_eq!(encoded.batch, 2);
    assert!(encoded.seq > 0 && encoded.seq <= limit, "{} tokens, {limit} at most", encoded.seq);
    let lengths = [encoded.input_ids.len(), encoded.attention_mask.len(), encoded.token_type_ids.len()];
    assert_eq!(lengths, [2 * encoded.seq; 3]);
    let (first, second) = encoded.input_ids.split_at(encoded.seq);
    assert_eq!(first, second, "one text, two answers");
}
