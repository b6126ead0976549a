//! Texts of scores that a test makes.

use serde_json::json;
use webnibble_common::graph::Graph;
use webnibble_common::options::GenerationOptions;

use super::*;

const WORDS: [&str; 5] = ["<s>", "</s>", "one", "two", "three"];
const END: u32 = 1;

/// A model of so many positions whose tokens are words.
fn pipeline(capacity: usize) -> Pipeline {
    let vocab: serde_json::Map<String, serde_json::Value> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special = |id: usize| {
        json!({"id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [special(0), special(1)], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<s>"},
    });
    let without = Pipeline::new(Graph::default(), capacity, None);
    without.with_tokenizer(tokenizer.to_string().as_bytes()).unwrap()
}

fn config() -> GenerationConfig {
    GenerationConfig { end_tokens: vec![END], ..GenerationConfig::default() }
}

fn scores(of: u32) -> Vec<f32> {
    (0..WORDS.len() as u32).map(|id| if id == of { 2.0 } else { 0.5 }).collect()
}

/// Generates while the model's scores are highest for these tokens, one after another.
fn generated(options: &GenerationOptions, capacity: usize, chosen: &[u32]) -> (Option<String>, Vec<u32>, FinishReason) {
    let mut generation = Generation::new(&config(), options, &[0, 2], &pipeline(capacity)).unwrap();
    let mut told = Part::default();
    for (index, token) in chosen.iter().enumerate() {
        assert_eq!(generation.choose(&scores(*token)).unwrap(), *token);
        let step = generation.push(*token);
        told.text.push_str(&step.part.text);
        told.tokens.extend(step.part.tokens);
        if let Some(reason) = step.finished {
            assert_eq!(index + 1, chosen.len(), "it ended early");
            let (text, tokens) = generation.into_text();
            assert_eq!(text.as_ref(), Some(&told.text), "pieces make the whole");
            assert_eq!(tokens, told.tokens);
            return (text, tokens, reason);
        }
    }
    panic!("it did not end");
}

#[test]
fn each_end_has_its_reason() {
    let none = GenerationOptions::default();
    let three = GenerationOptions { max_tokens: Some(3), ..none.clone() };
    assert_eq!(generated(&none, 9, &[3, 4, END]), (Some("two three".into()), vec![3, 4], FinishReason::EndToken));
    let (text, tokens, reason) = generated(&three, 9, &[3, 4, 2]);
    assert_eq!((text.as_deref(), tokens.len(), reason), (Some("two three one"), 3, FinishReason::MaxTokens));
    // Of five positions the prompt has two; what is chosen behind the last need not be run.
    let (_, tokens, reason) = generated(&none, 5, &[3, 3, 3, 3]);
    assert_eq!((tokens.len(), reason), (4, FinishReason::ContextFull));
    let ignoring = GenerationOptions { ignore_eos: Some(true), ..three };
    let (text, tokens, reason) = generated(&ignoring, 9, &[3, END, 4]);
    assert_eq!((text.as_deref(), tokens), (Some("two three"), vec![3, END, 4]), "an end token has no text");
    assert_eq!(reason, FinishReason::MaxTokens);
    let stopping = GenerationOptions { stop: Some(vec![" three".into()]), ..none };
    let (text, tokens, reason) = generated(&stopping, 9, &[3, 4]);
    assert_eq!((text.as_deref(), tokens), (Some("two"), vec![3, 4]));
    assert_eq!(reason, FinishReason::StopString);
}

#[test]
fn a_model_without_tokenizer_gives_tokens_alone() {
    let without = Pipeline::new(Graph::default(), 9, None);
    let one = GenerationOptions { max_tokens: Some(1), ..GenerationOptions::default() };
    let mut generation = Generation::new(&config(), &one, &[0], &without).unwrap();
    assert_eq!(generation.push(3).part, Part { text: String::new(), tokens: vec![3] });
    assert_eq!(generation.into_text(), (None, vec![3]));
    let stop = GenerationOptions { stop: Some(vec!["x".into()]), ..GenerationOptions::default() };
    assert_eq!(Generation::new(&config(), &stop, &[0], &without).err(), Some(GenerateError::NoTokenizer));
}

#[test]
fn what_cannot_be_gone_on_from_is_refused() {
    let refused = |options: &GenerationOptions, prompt: &[u32]| {
        Generation::new(&config(), options, prompt, &pipeline(3)).err().expect("it makes no sense").to_string()
    };
    let none = GenerationOptions::default();
    assert_eq!(refused(&none, &[]), "the prompt should have at least one token, found none");
    let full = refused(&none, &[0, 2, 2]);
    assert_eq!(full, "the prompt should have less than the 3 tokens that the model takes, found 3");
    let zero = refused(&GenerationOptions { max_tokens: Some(0), ..none.clone() }, &[0]);
    assert_eq!(zero, "`max_tokens` should be at least 1, found 0");
    let empty = refused(&GenerationOptions { stop: Some(vec![String::new()]), ..none }, &[0]);
    assert_eq!(empty, "`stop` should be texts that are not empty, found \"\"");
}
