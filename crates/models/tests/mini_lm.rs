//! The tokenizer and config of the real all-MiniLM-L6-v2, where scripts/fetch-models.sh has brought it.

use std::path::{Path, PathBuf};

use webnibble_common::record::TokensKept;
use webnibble_models::input::text::{TextError, TextTokenizer};
use webnibble_models::sentence::SentenceFiles;
use webnibble_models::{ModelConfig, sentence};

/// The model's folder, or why there is none.
fn folder() -> Result<PathBuf, String> {
    let models = std::env::var_os("WEBNIBBLE_MODELS").map(PathBuf::from).or_else(|| {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        cache.map(|cache| cache.join("webnibble/models"))
    });
    let folder = models.ok_or("no home directory")?.join("all-MiniLM-L6-v2");
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(format!("{} is not there: scripts/fetch-models.sh", folder.display()))
    }
}

macro_rules! folder_or_skip {
    () => {
        match folder() {
            Ok(folder) => folder,
            Err(reason) => {
                println!("skipped: {reason}");
                return;
            }
        }
    };
}

fn tokenizer(folder: &Path, max_len: usize) -> TextTokenizer {
    TextTokenizer::from_bytes(&std::fs::read(folder.join("tokenizer.json")).unwrap(), max_len, 30522).unwrap()
}

#[test]
fn known_sentences_have_known_ids() {
    let folder = folder_or_skip!();
    let texts = ["This is an example sentence", "Each sentence is converted", "Tokenisation of naïve CAFÉS!"];
    let encoded = tokenizer(&folder, 256).encode_batch(&texts, "", false).unwrap();
    assert_eq!((encoded.batch, encoded.seq), (3, 8));
    let row = |index: usize| &encoded.input_ids[index * 8..(index + 1) * 8];
    assert_eq!(row(0), [101, 2023, 2003, 2019, 2742, 6251, 102, 0]);
    assert_eq!(row(1), [101, 2169, 6251, 2003, 4991, 102, 0, 0]);
    // Lower case, accents off, `token ##isation`, `cafes`.
    assert_eq!(row(2), [101, 19204, 6648, 1997, 15743, 23812, 999, 102]);
    assert_eq!(encoded.tokens_kept, [7, 6, 8].map(|count| TokensKept { kept: count, of: count }));
}

#[test]
fn the_limit_is_the_models_and_not_that_of_the_file() {
    let folder = folder_or_skip!();
    // The file truncates at 128 and pads to 128.
    let long = "word ".repeat(200);
    let encoded = tokenizer(&folder, 256).encode_batch(&[&long], "", false).unwrap();
    assert_eq!((encoded.seq, encoded.tokens_kept[0].is_cut()), (202, false));
    let long = "word ".repeat(300);
    let error = tokenizer(&folder, 256).encode_batch(&[&long], "", false).unwrap_err();
    assert_eq!(error, TextError::TooLong { index: 0, tokens: 302, limit: 256 });
    let encoded = tokenizer(&folder, 256).encode_batch(&[&long], "", true).unwrap();
    assert_eq!(encoded.tokens_kept, [TokensKept { kept: 256, of: 302 }]);
    assert_eq!((encoded.input_ids[0], encoded.input_ids[255], encoded.seq), (101, 102, 256));
}

#[test]
fn config_and_sentence_files_make_a_valid_graph() {
    let folder = folder_or_skip!();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let config = ModelConfig::from_json(&serde_json::from_str(&read("config.json")).unwrap()).unwrap();
    let modules = sentence::Modules::from_json(&read("modules.json")).unwrap();
    let pooling = read(&format!("{}/config.json", modules.pooling));
    let limits = read("sentence_bert_config.json");
    let files = SentenceFiles { pooling: &pooling, transformer: Some(&limits), model: None };
    let (sentence, _) = modules.read(files).unwrap();
    assert_eq!(sentence.max_seq_length, Some(256));
    let graph = config.graph(Some(&sentence));
    graph.validate().unwrap();
    let encoded = tokenizer(&folder, 256).encode_batch(&["a", "b c"], "", false).unwrap();
    let inputs = encoded.inputs(&graph).unwrap();
    let shapes: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype(), tensor.shape())).collect();
    let bindings = graph.bind(&shapes).unwrap();
    assert_eq!(graph.shape(graph.outputs[0], &bindings).unwrap(), [2, 384]);
}
