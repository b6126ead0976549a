//! Texts, as transformers and sentence-transformers tokenize and embed them: a table of small folders, made by running both
//! (tests/python/make_text_cases.py), and what we make of the same folders.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use webnibble_common::io::Input;
use webnibble_common::prompt::PromptChoice;
use webnibble_host::loader::{LoadError, ModelFolder};
use webnibble_host::reference::{Reference, ReferenceError};
use webnibble_models::ModelConfig;
use webnibble_models::input::text::{TextError, TextTokenizer};
use webnibble_models::input::{InputError, ModelInputs};

const TABLE: &str = include_str!("../../../tests/data/texts/cases.json");

/// Largest difference of two numbers of an embedding of length one: the table has five digits.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Table {
    texts: Vec<String>,
    base: Map<String, Value>,
    cases: Vec<Case>,
}

/// One folder, and what the reference made of it.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// Files that are otherwise than in `base`; `null` for those that are not there.
    files: Map<String, Value>,
    /// Why the reference cannot load it.
    error: Option<String>,
    limit: Option<usize>,
    /// Of transformers alone: the ids of each text, cut to the limit, and how many there were.
    #[serde(default)]
    ids: Vec<Vec<u32>>,
    #[serde(default)]
    of: Vec<usize>,
    /// Of sentence-transformers: the same, for each prompt.
    #[serde(default)]
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    prompt_name: Option<String>,
    ids: Vec<Vec<u32>>,
    of: Vec<usize>,
    /// Of the first text and of the last one, which is cut.
    #[serde(default)]
    embeddings: Vec<Vec<f32>>,
}

impl Table {
    fn read() -> Self {
        serde_json::from_str(TABLE).unwrap()
    }

    fn config(&self) -> &Value {
        &self.base["config.json"]
    }

    fn vocab_size(&self) -> usize {
        self.config()["vocab_size"].as_u64().unwrap() as usize
    }

    fn positions(&self) -> usize {
        self.config()["max_position_embeddings"].as_u64().unwrap() as usize
    }

    /// The case's folder, with weights.
    fn folder(&self, case: &Case) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut files = self.base.clone();
        files.extend(case.files.clone());
        for (name, content) in &files {
            match content {
                Value::Null => {}
                Value::String(text) => write(folder.path(), name, text.as_bytes()),
                json => write(folder.path(), name, json.to_string().as_bytes()),
            }
        }
        write(folder.path(), "model.safetensors", &checkpoint(self.config()));
        folder
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Every tensor of the model's graph, with the values that the table was made with.
fn checkpoint(config: &Value) -> Vec<u8> {
    let graph = ModelConfig::from_json(config).unwrap().graph(None);
    let (mut header, mut data) = (Map::new(), Vec::new());
    for weight in &graph.weights {
        let mut shape = weight.shape.clone();
        shape[0] /= weight.sources.len();
        for source in &weight.sources {
            let begin = data.len();
            data.extend(values(source, shape.iter().product()).flat_map(f32::to_le_bytes));
            let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
            header.insert(source.clone(), entry);
        }
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Values of a tensor, from its name: `weight` of make_text_cases.py.
fn values(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let seed = name.bytes().map(u64::from).sum::<u64>() % 97;
    let scale = if name.contains("embeddings") && !name.contains("LayerNorm") { 0.3 } else { 0.2 };
    let base = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
    (0..count as u64).map(move |index| (base + scale * (((index + 17 * seed) as f64) * 0.37).sin()) as f32)
}

fn open(folder: &TempDir) -> Result<ModelFolder, LoadError> {
    ModelFolder::open(folder.path(), "case")
}

/// One text after a prompt, cut to the limit.
fn input(text: &str, prompt: &PromptChoice) -> Input {
    Input::Text { texts: vec![text.to_owned()], truncate: true, prompt: prompt.clone() }
}

#[test]
fn what_the_reference_cannot_load_is_an_error() {
    let table = Table::read();
    let refused: Vec<&Case> = table.cases.iter().filter(|case| case.error.is_some()).collect();
    assert!(!refused.is_empty());
    for case in refused {
        assert!(open(&table.folder(case)).is_err(), "{}: {:?}", case.name, case.error);
    }
}

#[test]
fn texts_have_the_tokens_that_transformers_gives_them() {
    let table = Table::read();
    let mut compared = 0;
    for case in table.cases.iter().filter(|case| !case.ids.is_empty()) {
        let files = table.folder(case);
        let folder = open(&files).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        if case.name == "nothing_at_all" {
            // transformers makes up a tokenizer that knows five tokens; we have none.
            assert!(folder.tokenizer.is_none());
            continue;
        }
        let limit = case.limit.unwrap_or(usize::MAX).min(table.positions());
        assert_eq!(folder.max_tokens(), limit, "{}", case.name);
        let whole = case.limit.unwrap_or(1000);
        let tokenizer = TextTokenizer::from_bytes(folder.tokenizer.as_ref().unwrap(), whole, usize::MAX).unwrap();
        for (index, text) in table.texts.iter().enumerate() {
            let encoded = tokenizer.encode_batch(&[text], "", true).unwrap();
            let found = (&encoded.input_ids, encoded.tokens_kept[0].of);
            assert_eq!(found, (&case.ids[index], case.of[index]), "{}: {text:?}", case.name);
            assert!(encoded.attention_mask.iter().all(|bit| *bit == 1) && encoded.batch == 1);
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared} texts");
}

#[test]
fn tokens_that_the_model_was_not_made_for_are_an_error() {
    let table = Table::read();
    let mut unknown = 0;
    for case in table.cases.iter().filter(|case| !case.ids.is_empty() && case.name != "nothing_at_all") {
        let files = table.folder(case);
        let reference = Reference::of_folder(&open(&files).unwrap()).unwrap();
        for (text, ids) in table.texts.iter().zip(&case.ids).take(table.texts.len() - 1) {
            let expected = ids.iter().find(|id| **id as usize >= table.vocab_size());
            let found = match reference.inputs(&input(text, &PromptChoice::Default)) {
                Err(ReferenceError::Input(InputError::Text(TextError::UnknownToken { id, .. }))) => Some(id),
                found => found.map(|_| None).unwrap(),
            };
            assert_eq!(found.as_ref(), expected, "{}: {text:?}", case.name);
            unknown += usize::from(found.is_some());
        }
    }
    assert!(unknown > 0);
}

#[test]
fn sentences_have_the_tokens_and_embeddings_that_sentence_transformers_gives_them() {
    let table = Table::read();
    let (mut compared, mut embedded) = (0, 0);
    for case in table.cases.iter().filter(|case| !case.runs.is_empty()) {
        let files = table.folder(case);
        let folder = open(&files).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(Some(folder.max_tokens()), case.limit, "{}", case.name);
        let reference = Reference::of_folder(&folder).unwrap();
        for run in &case.runs {
            let name = format!("{} with prompt {:?}", case.name, run.prompt_name);
            let prompt = run.prompt_name.clone().map_or(PromptChoice::Default, PromptChoice::Named);
            for (index, text) in table.texts.iter().enumerate() {
                let ModelInputs { tensors, tokens_kept } = reference.inputs(&input(text, &prompt)).unwrap();
                let (_, ids) = tensors.iter().find(|(name, _)| name == "input_ids").unwrap();
                let found = (ids.as_u32().unwrap(), tokens_kept[0].of);
                assert_eq!(found, (&run.ids[index][..], run.of[index]), "{name}: {text:?}");
                compared += 1;
            }
            let ends = [&table.texts[0], &table.texts[table.texts.len() - 1]];
            for (text, expected) in ends.iter().zip(&run.embeddings) {
                let outputs = reference.outputs(&input(text, &prompt)).unwrap();
                let found = outputs[0].1.as_f32().unwrap();
                let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(found.len() == expected.len() && largest < TOLERANCE, "{name}: {text:?}: off by {largest}");
                embedded += 1;
            }
        }
    }
    assert!(compared > 150 && embedded > 40, "{compared} texts, {embedded} embeddings");
}

#[test]
fn prompts_and_pooling_make_a_difference_that_the_table_sees() {
    let table = Table::read();
    let embedding = |name: &str, prompt: Option<&str>| {
        let case = table.cases.iter().find(|case| case.name == name).unwrap();
        let run = case.runs.iter().find(|run| run.prompt_name.as_deref() == prompt).unwrap();
        run.embeddings[0].clone()
    };
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let pooled = embedding("prompt_by_default", None);
    for other in [
        embedding("prompt_by_default", Some("passage")),
        embedding("prompt_is_not_pooled", None),
        embedding("no_default_prompt", None),
    ] {
        assert!(apart(&pooled, &other) > 10.0 * TOLERANCE);
    }
}
