//! A real LLaMA in GGUF, SmolLM2-135M-Instruct in Q4_1: its tokenizer, and what it says comes next. Needs the file that
//! `scripts/fetch-models.sh smollm2` brings.

use std::path::PathBuf;

use webnibble_common::io::Input;
use webnibble_host::loader::{ModelFolder, models_dir};
use webnibble_host::reference::Reference;
use webnibble_models::input::text::TextTokenizer;

const PROMPT: &str = "The capital of France is";

/// The ids of [`PROMPT`]: a word each, but for the first all with the space before them.
const PROMPT_IDS: [u32; 5] = [504, 3575, 282, 4649, 314];

/// ` Paris`.
const PARIS: usize = 7042;

fn file() -> Result<PathBuf, String> {
    let path = models_dir().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("{} is not there: scripts/fetch-models.sh smollm2 brings it", path.display())),
    }
}

fn model() -> Result<ModelFolder, String> {
    file().map(|path| ModelFolder::open(&path, "smollm2").unwrap())
}

#[test]
fn a_real_file_says_paris() {
    let model = match model() {
        Ok(model) => model,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let reference = Reference::of_folder(&model).unwrap();
    let outputs = reference.outputs(&Input::texts(vec![PROMPT.into()])).unwrap();
    let (name, logits) = &outputs[0];
    assert_eq!((name.as_str(), logits.shape()), ("logits", &[1, PROMPT_IDS.len(), 49152][..]));
    let last = &logits.as_f32().unwrap()[(PROMPT_IDS.len() - 1) * 49152..];
    let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
    assert_eq!(best, PARIS);
}

#[test]
fn a_real_vocabulary_has_the_known_ids() {
    let model = match model() {
        Ok(model) => model,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let json = model.tokenizer.as_deref().unwrap();
    let tokenizer = TextTokenizer::from_bytes(json, 64, 49152).unwrap();
    let ids = |text: &str| tokenizer.encode_batch(&[text], "", false).unwrap().input_ids.clone();
    assert_eq!(ids(PROMPT), PROMPT_IDS);
    assert_eq!(ids("Hello world"), [19556, 905]);
    // Digits one by one, and the words of a chat.
    assert_eq!(ids("11<|im_end|>"), [33, 33, 2]);
    // The tokens say the text again, with the letter that stands for a space.
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    let vocabulary = json["model"]["vocab"].as_object().unwrap();
    let token = |id: &u32| vocabulary.iter().find(|(_, other)| **other == *id).unwrap().0.as_str();
    assert_eq!(PROMPT_IDS.iter().map(token).collect::<String>().replace('\u{120}', " "), PROMPT);
    assert_eq!(vocabulary["\u{120}Paris"], PARIS);
}
