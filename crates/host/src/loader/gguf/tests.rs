//! GGUF files from their bytes to a model, and those that are damaged or lie.

use std::path::{Path, PathBuf};

use webnibble_models::input::text::TextTokenizer;
use webnibble_models::rope::{Rope, RopeScaling};

use super::testing::{ARRAY, BOOL, Builder, F32, STRING, U32, golden, golden_folder, numbers, strings};
use super::*;
use crate::error::Failure as _;
use crate::loader::source::WeightSource as _;
use crate::loader::{Model, ModelFolder, ModelKind, inspect};
use crate::quantizer::{QuantizeOptions, quantize, write_package};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/gguf").join(name)
}

/// Writes a file and hands its path on.
fn with_file<T>(bytes: &[u8], then: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    then(&path)
}

/// What is said of a file that cannot be a model, without its path.
fn error(bytes: &[u8]) -> String {
    let error = with_file(bytes, |path| ModelFolder::open(path, "model").unwrap_err());
    assert!(!error.hint().is_empty());
    let text = error.to_string();
    text[text.find("model.gguf: ").unwrap() + 12..].to_owned()
}

fn error_of(file: &Builder) -> String {
    error(&file.bytes())
}

#[test]
fn every_type_has_the_values_of_the_reference_bit_for_bit() {
    let weights = tensors(&data("blocks.gguf")).unwrap();
    let kinds = ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"];
    assert_eq!(weights.tensors().len(), 2 * kinds.len());
    for kind in kinds {
        assert_eq!(weights.tensors()[kind].dtype.to_lowercase(), kind);
        let bits = |name: &str| -> Vec<u32> { weights.read_f32(name).unwrap().into_iter().map(f32::to_bits).collect() };
        let (found, expected) = (bits(kind), bits(&format!("expected.{kind}")));
        assert!(found.len() >= 256 && found.iter().any(|bits| *bits != 0), "{kind}");
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn a_llama_is_the_same_in_both_formats() {
    let expected = ModelFolder::open(&golden_folder(), "golden").unwrap();
    for version in [2, 3] {
        let file = Builder { version, ..golden() };
        with_file(&file.bytes(), |path| {
            let Model::Folder(found) = Model::open(path, "model").unwrap() else { panic!("it has weights") };
            assert_eq!((&found.config, found.name.as_str()), (&expected.config, "golden"));
            assert_eq!((found.unused(), found.tokenizer.as_ref()), (vec![], None));
            for weight in &expected.graph.weights {
                assert_eq!(found.read(weight).unwrap(), expected.read(weight).unwrap(), "{}", weight.name);
            }
        });
    }
}

#[test]
fn a_file_is_quantized_like_a_folder() {
    with_file(&golden().bytes(), |path| {
        let packed = |path: &Path| {
            let model = ModelFolder::open(path, "golden").unwrap();
            quantize(&model, &QuantizeOptions::default(), &mut |_| {}).unwrap()
        };
        let (found, expected) = (packed(path), packed(&golden_folder()));
        assert_eq!(found.report.total().bytes, expected.report.total().bytes);
        assert_eq!(found.meta.tensors, expected.meta.tensors);
        let package = write_package(&found, &path.with_file_name("q4.safetensors")).unwrap();
        assert_eq!((package.header.meta.name.as_str(), package.header.meta.family.as_str()), ("golden", "llama"));
        // Every word of a layer's weights is that of the folder's package.
        let other = write_package(&expected, &path.with_file_name("other.safetensors")).unwrap();
        assert_eq!(package.read_weights().unwrap(), other.read_weights().unwrap());
    });
}

#[test]
fn a_file_without_a_head_has_a_tied_one_and_ids_go_into_the_config() {
    let mut file = golden().count("tokenizer.ggml.eos_token_id", 2).count("tokenizer.ggml.bos_token_id", 1);
    file.tensors.retain(|tensor| tensor.name != "output.weight");
    // What was behind it has to move up.
    let mut moved = Builder { tensors: Vec::new(), ..file.clone() };
    for tensor in &file.tensors {
        let values: Vec<f32> = tensor.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let shape: Vec<usize> = tensor.extents.iter().rev().map(|extent| *extent as usize).collect();
        moved = moved.tensor(&tensor.name, &shape, &values);
    }
    with_file(&moved.bytes(), |path| {
        let config = ModelFolder::open(path, "model").unwrap().config_json;
        assert_eq!(config["tie_word_embeddings"], true);
        assert_eq!((&config["bos_token_id"], &config["eos_token_id"]), (&1.into(), &2.into()));
        assert_eq!(config["vocab_size"], 256);
    });
}

#[test]
fn what_is_inspected_is_the_file_with_its_problem() {
    with_file(&golden().bytes(), |path| {
        let found = inspect(path, "model").unwrap();
        assert_eq!((found.kind, found.name.as_str(), found.problem), (ModelKind::Gguf, "golden", None));
    });
    with_file(&golden().text("general.architecture", "qwen2").bytes(), |path| {
        let found = inspect(path, "model").unwrap();
        assert!(found.problem.unwrap().contains("`general.architecture` is `qwen2`; those that are read"));
        assert!(found.tensors.iter().any(|tensor| tensor.name == "token_embd.weight"));
    });
}

#[test]
fn other_files_and_other_versions_are_named() {
    assert_eq!(error(b""), "expected a GGUF file, whose first bytes are `GGUF`, found an empty file");
    assert_eq!(error(b"PK\x03\x04"), "expected a GGUF file, whose first bytes are `GGUF`, found `PK\\x03\\x04`");
    assert_eq!(error(b"version https://git-lfs"), "this is a Git LFS pointer, and not the file itself");
    for version in [0, 1, 4] {
        let found = error_of(&Builder { version, ..golden() });
        assert_eq!(found, format!("expected GGUF version 2 or 3, found version {version}"));
    }
    let found = error_of(&Builder { version: 3u32.swap_bytes(), ..golden() });
    assert_eq!(found, "expected a little-endian GGUF file, found one written for big-endian machines");
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_it_is_cut() {
    let whole = golden().bytes();
    let header = whole.len() - golden().tensors.iter().map(|tensor| tensor.bytes.len()).sum::<usize>();
    let ends = (0..header).step_by(7).chain((header..whole.len()).step_by(40_961)).chain([whole.len() - 1]);
    for end in ends {
        let found = error(&whole[..end]);
        assert!(["short", "GGUF"].iter().any(|word| found.contains(word)), "{end}: {found}");
    }
}

#[test]
fn counts_and_lengths_that_lie_take_no_memory() {
    let start =
        |tensors: u64, values: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &values.to_le_bytes()].concat();
    let huge = u64::MAX;
    assert!(
        error(&start(0, huge)).starts_with(&format!("the metadata, of {huge} values, should have {huge} bytes, but 0"))
    );
    assert!(
        error(&start(huge, 0)).starts_with(&format!("the table of {huge} tensors should have {huge} bytes, but 0"))
    );
    let padding = [0; 64];
    let key = [&start(0, 1)[..], &huge.to_le_bytes(), &padding].concat();
    assert!(error(&key).starts_with(&format!("the key of value 0 should have {huge} bytes, but 64 are left")));
    let array = |code: u32| [&code.to_le_bytes()[..], &huge.to_le_bytes()].concat();
    for (code, what) in [(STRING, "strings"), (U32, "numbers")] {
        let found = error_of(&golden().set("a", ARRAY, array(code)));
        assert!(found.starts_with(&format!("metadata `a`, of {huge} {what}, should have {huge} bytes")), "{found}");
    }
    let found = error_of(&golden().set("a", STRING, huge.to_le_bytes()));
    assert!(found.starts_with(&format!("metadata `a` should have {huge} bytes")), "{found}");
    let found = error_of(&golden().set("a", ARRAY, array(ARRAY)));
    assert_eq!(found, "metadata `a` should be a number, a string or an array of these, found type 9");
    let cut = [&2u64.to_le_bytes()[..], b"\xff\xff"].concat();
    assert_eq!(error_of(&golden().set("a", STRING, cut)), "damaged header: metadata `a` is not UTF-8");
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let with = |change: fn(&mut testing::Written)| {
        let mut file = golden();
        change(&mut file.tensors[1]);
        let found = error_of(&file);
        found.strip_prefix(&format!("tensor `{}`: ", file.tensors[1].name)).unwrap_or(&found).to_owned()
    };
    assert!(with(|tensor| tensor.kind = 99).ends_with("Q5_K or Q6_K, found type 99"));
    assert_eq!(
        with(|tensor| tensor.offset += 4).split(',').next(),
        Some("expected it to begin at a multiple of 32 bytes of the data")
    );
    assert!(with(|tensor| tensor.offset = 1 << 40).contains("of the data, which begin at"));
    assert!(with(|tensor| tensor.offset = u64::MAX - 31).contains("it is cut short, or its header is damaged"));
    assert!(with(|tensor| tensor.offset = 0).contains("it overlaps tensor `"));
    assert!(
        with(|tensor| tensor.extents = vec![1 << 40, 1 << 40]).starts_with("expected extents that something holds")
    );
    assert!(with(|tensor| tensor.extents = vec![0]).starts_with("expected extents that something holds, found [0]"));
    assert_eq!(with(|tensor| tensor.extents = vec![1; 5]), "expected 1 to 4 dimensions, found 5");
    assert_eq!(with(|tensor| tensor.extents = Vec::new()), "expected 1 to 4 dimensions, found 0");
    assert_eq!(
        with(|tensor| (tensor.kind, tensor.extents) = (2, vec![33])),
        "expected rows of a multiple of 32 values for Q4_0, found 33"
    );
    let found = error_of(&golden().count("general.alignment", 33));
    assert_eq!(found, "metadata `general.alignment` should be a power of two, found 33");
    assert!(error_of(&golden().count("general.alignment", 0)).ends_with("found 0"));
    let twice = golden().tensor("output.weight", &[1], &[1.0]);
    assert_eq!(error_of(&twice), "tensor `output.weight`: it is there twice");
    let unread = with(|tensor| (tensor.kind, tensor.extents) = (24, vec![64, 256]));
    assert!(unread.contains("should be F64, F32, F16") && unread.ends_with("found I8"), "{unread}");
}

#[test]
fn metadata_that_is_not_followed_is_named() {
    let cases = [
        (
            golden().text("general.architecture", "mamba"),
            "`general.architecture` is `mamba`; those that are read from GGUF are: llama",
        ),
        (
            golden().count("llama.expert_count", 8),
            "metadata `llama.expert_count` should be 0: models of experts are not read, found 8",
        ),
        (
            golden().set("llama.attention.causal", BOOL, [0]),
            "metadata `llama.attention.causal` should be true: encoders are not read, found false",
        ),
        (
            golden().count("split.count", 2),
            "metadata `split.count` should be 1: files in parts are to be merged first, found 2",
        ),
        (
            golden().text("llama.rope.scaling.type", "yarn"),
            "metadata `llama.rope.scaling.type` should be `none` or `linear`, found `yarn`",
        ),
        (
            golden().text("llama.rope.scaling.type", "linear"),
            "metadata `llama.rope.scaling.factor` should be a number for `linear`, found nothing",
        ),
        (
            golden().count("llama.rope.dimension_count", 4),
            "metadata `llama.rope.dimension_count` should be 8, the width of a head, found 4",
        ),
        (
            golden().text("llama.block_count", "three"),
            "metadata `llama.block_count` should be a whole number from 0 on, the same for every layer, found `three`",
        ),
        (
            golden().count("llama.attention.head_count", 0),
            "metadata `llama.attention.head_count` should be a divisor of `llama.embedding_length` (64), found 0",
        ),
        (
            golden().count("llama.vocab_size", 255),
            "metadata `llama.vocab_size` should be 256, as many as `token_embd.weight` has rows, found 255",
        ),
        (
            golden().set("tokenizer.ggml.tokens", ARRAY, strings(&["a", "b"])),
            "metadata `tokenizer.ggml.tokens` should be 256, as many as `token_embd.weight` has rows, found 2",
        ),
        (
            golden().tensor("blk.0.ffn_gate_inp.weight", &[1], &[1.0]),
            "tensor `blk.0.ffn_gate_inp.weight`: expected a tensor of a LLaMA, which has none of this name",
        ),
        (
            golden().tensor("rope_freqs.weight", &[4], &[1.0, 2.0, 1.0, 3.0]),
            "tensor `rope_freqs.weight`: expected the factors of LLaMA 3's rule for heads of 8 columns, found others",
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(error_of(&file), expected);
    }
    // More layers than there are would be a graph without weights.
    assert!(error_of(&golden().count("llama.block_count", 1000)).contains("`num_hidden_layers` is 1000"));
}

#[test]
fn rotary_positions_are_scaled_as_the_file_says() {
    let scaling = |file: Builder| {
        let (header, factors) = with_file(&file.bytes(), |path| {
            let header = file::Header::read(path).unwrap();
            let factors = weights::rope_factors(path, &header).unwrap();
            (header, factors)
        });
        config::config(&header, factors.as_deref()).unwrap()["rope_scaling"].clone()
    };
    assert_eq!(scaling(golden()), serde_json::Value::Null);
    assert_eq!(scaling(golden().tensor("rope_freqs.weight", &[4], &[1.0; 4])), serde_json::Value::Null);
    let linear =
        golden().text("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", F32, 4f32.to_le_bytes());
    assert_eq!(scaling(linear), serde_json::json!({"rope_type": "linear", "factor": 4.0}));
    let rule = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let turns = |scaling| Rope { theta: 5e5, scaling }.frequencies(8);
    let factors: Vec<f32> =
        turns(RopeScaling::None).iter().zip(turns(rule)).map(|(plain, scaled)| plain / scaled).collect();
    assert_eq!((factors[0], factors[3]), (1.0, 32.0));
    let scaled =
        golden().set("llama.rope.freq_base", F32, 5e5f32.to_le_bytes()).tensor("rope_freqs.weight", &[4], &factors);
    let found = scaling(scaled);
    assert_eq!((&found["rope_type"], &found["factor"]), (&"llama3".into(), &32.0.into()));
}

/// Ids of a text, by the tokenizer of a file with this metadata.
fn ids(file: &Builder, text: &str) -> Vec<u32> {
    with_file(&file.bytes(), |path| ids_of(path, text))
}

fn ids_of(path: &Path, text: &str) -> Vec<u32> {
    let header = file::Header::read(path).unwrap();
    let mut files = tokenizer::files(&header.metadata).unwrap();
    let json = files.remove("tokenizer.json").unwrap();
    let tokenizer = TextTokenizer::from_bytes(&json, 256, 1000).unwrap();
    tokenizer.encode_batch(&[text], "", false).unwrap().input_ids.clone()
}

/// Letters, digits and merges: the metadata of byte-level BPE.
fn byte_level(pre: &str) -> Builder {
    let letters: Vec<String> = (b'!'..=b'~').map(|letter| char::from(letter).to_string()).collect();
    let more = ["\u{120}", "12", "123", "1234", "\u{120}a", "\u{120}ab", "<|end|>"];
    let tokens: Vec<&str> = letters.iter().map(String::as_str).chain(more).collect();
    let merges = ["1 2", "12 3", "123 4", "\u{120} a", "\u{120}a b"];
    let types: Vec<[u8; 4]> = (0..tokens.len()).map(|id| (if id == 100 { 3i32 } else { 1 }).to_le_bytes()).collect();
    Builder::new()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .set("tokenizer.ggml.tokens", ARRAY, strings(&tokens))
        .set("tokenizer.ggml.token_type", ARRAY, numbers(5, &types))
        .set("tokenizer.ggml.merges", ARRAY, strings(&merges))
        .count("tokenizer.ggml.bos_token_id", 100)
        .count("tokenizer.ggml.eos_token_id", 100)
}

#[test]
fn byte_level_vocabularies_split_as_their_name_says() {
    // 16 is `1`; 94 the space alone, 95 `12`, 96 `123`, 97 `1234`, 99 ` ab`, 100 the special token.
    let of = |pre: &str| ids(&byte_level(pre), "x ab1234<|end|>");
    assert_eq!(of("gpt-2"), [87, 99, 97, 100]);
    assert_eq!(of("smollm"), [87, 99, 16, 17, 18, 19, 100]);
    assert_eq!(of("qwen2"), [87, 99, 16, 17, 18, 19, 100]);
    assert_eq!(of("default"), [87, 99, 96, 19, 100]);
    // LLaMA 3's files begin texts without being told to.
    assert_eq!(of("llama-bpe"), [100, 87, 99, 96, 19, 100]);
    let both = byte_level("gpt-2").set("tokenizer.ggml.add_bos_token", BOOL, [1]).set(
        "tokenizer.ggml.add_eos_token",
        BOOL,
        [1],
    );
    assert_eq!(ids(&both, "x"), [100, 87, 100]);
}

/// A few pieces with scores: the metadata of SentencePiece.
fn pieces() -> Builder {
    let pieces = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("<0x21>", 0.0, 6),
        ("he", -1.0, 1),
        ("ll", -2.0, 1),
        ("hell", -3.0, 1),
        ("hello", -4.0, 1),
        ("\u{2581}hello", -5.0, 1),
        ("\u{2581}", -6.0, 1),
        ("h", -7.0, 1),
        ("e", -8.0, 1),
        ("l", -9.0, 1),
        ("o", -10.0, 1),
        ("lo", -1.5, 1),
    ];
    let scores: Vec<[u8; 4]> = pieces.iter().map(|piece| (piece.1 as f32).to_le_bytes()).collect();
    let types: Vec<[u8; 4]> = pieces.iter().map(|piece| i32::to_le_bytes(piece.2)).collect();
    let file = Builder::new()
        .text("tokenizer.ggml.model", "llama")
        .set("tokenizer.ggml.tokens", ARRAY, strings(&pieces.map(|piece| piece.0)))
        .set("tokenizer.ggml.scores", ARRAY, numbers(F32, &scores))
        .set("tokenizer.ggml.token_type", ARRAY, numbers(5, &types));
    file.count("tokenizer.ggml.bos_token_id", 1).count("tokenizer.ggml.unknown_token_id", 0)
}

#[test]
fn pieces_are_joined_by_their_scores() {
    // `he` comes first, then `lo` before `ll`: `hello` cannot be made any more, and is made where `ll` scores more.
    assert_eq!(ids(&pieces(), "hello!"), [1, 9, 4, 12, 14, 3]);
    let mut quicker = pieces();
    let scores = quicker.values.iter_mut().find(|value| value.0 == "tokenizer.ggml.scores").unwrap();
    // The last piece's.
    let last = scores.2.len() - 4;
    scores.2[last..].copy_from_slice(&(-20f32).to_le_bytes());
    assert_eq!(ids(&quicker, "hello hello"), [1, 8, 8]);
    let plain =
        quicker.set("tokenizer.ggml.add_space_prefix", BOOL, [0]).set("tokenizer.ggml.add_bos_token", BOOL, [0]);
    assert_eq!(ids(&plain, "hello<s>hello"), [7, 1, 7]);
}

#[test]
fn sentence_piece_itself_gives_the_same_ids() {
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(data("pieces.json")).unwrap()).unwrap();
    for case in cases.as_array().unwrap() {
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(ids_of(&data("pieces.gguf"), case["text"].as_str().unwrap()), expected, "{}", case["text"]);
    }
}

#[test]
fn vocabularies_that_are_not_read_are_named() {
    let of = |file: Builder| {
        let header = with_file(&file.bytes(), |path| file::Header::read(path).unwrap());
        tokenizer::files(&header.metadata).unwrap_err().to_string()
    };
    assert_eq!(
        of(byte_level("falcon")),
        "metadata `tokenizer.ggml.pre` should be `smollm`, `gpt-2`, `default`, `llama-bpe` or `qwen2`, found `falcon`"
    );
    let model = "metadata `tokenizer.ggml.model` should be `gpt2` or `llama`, found `bert`";
    assert_eq!(of(byte_level("gpt-2").text("tokenizer.ggml.model", "bert")), model);
    assert_eq!(
        of(byte_level("gpt-2").set("tokenizer.ggml.merges", ARRAY, strings(&["1 2", "12 9"]))),
        "metadata `tokenizer.ggml.merges` should be two tokens with a space between, which make a third, found `12 9`"
    );
    assert_eq!(
        of(byte_level("gpt-2").set("tokenizer.ggml.token_type", ARRAY, numbers(5, &[[1, 0, 0, 0]]))),
        "metadata `tokenizer.ggml.token_type` should be as long as `tokenizer.ggml.tokens`, which has 101, found 1 numbers"
    );
    assert_eq!(
        of(byte_level("gpt-2").count("tokenizer.ggml.eos_token_id", 101)),
        "metadata `tokenizer.ggml.eos_token_id` should be the id of one of 101 tokens, found 101"
    );
    assert!(
        of(Builder {
            values: pieces().values.into_iter().filter(|value| !value.0.ends_with("scores")).collect(),
            ..pieces()
        })
        .ends_with("should be an array of numbers, found nothing")
    );
}
