//! Inputs and outputs by their names: `--input` and `--output`, against the golden answers and the host's reference.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use webnibble_common::io::{Input, NamedTensors, Output, TensorOutput};
use webnibble_common::record::RunRecord;
use webnibble_host::loader::{Model, ModelFolder};
use webnibble_host::reference::Reference;
use webnibble_tests::{
    Sandbox, browser_available, golden_bert, mini_lm, mini_lm_available, skip_unless, webnn_browser,
};

use crate::golden::{error, golden, golden_outputs, run_golden};

const OUTPUTS: [&str; 3] = ["pooler_output", "last_hidden_state", "hidden_states.1"];

/// How far f32 weights may be from the reference.
const TOLERANCE: f32 = 1e-3;

/// The golden model's inputs as nested lists, those of `names` alone.
fn nested(sandbox: &Sandbox, names: &[&str]) -> PathBuf {
    let rows = |(name, tensor): (String, webnibble_common::tensor::Tensor)| {
        let rows: Vec<&[u32]> = tensor.as_u32().unwrap().chunks(tensor.shape()[1]).collect();
        (name, json!(rows))
    };
    let document = golden().0.into_iter().filter(|(name, _)| names.contains(&name.as_str())).map(rows);
    write(sandbox, &Value::Object(document.collect()))
}

fn write(sandbox: &Sandbox, document: &Value) -> PathBuf {
    let path = sandbox.path().join("nested.json");
    std::fs::write(&path, document.to_string()).unwrap();
    path
}

/// Options that ask for outputs by name.
fn asking_for(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().flat_map(|name| ["--output", name]).collect()
}

/// What the host's reference says of the golden model on its golden inputs.
fn reference(names: &[&str]) -> NamedTensors {
    let model = ModelFolder::open(&golden_bert(), "golden").unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let input = Input::Tensors { tensors: golden().0 };
    Reference::of_folder(&model).unwrap().outputs_named(&input, &names).unwrap()
}

#[track_caller]
fn named(record: &RunRecord) -> &std::collections::BTreeMap<String, TensorOutput> {
    match &record.output {
        Some(Output::Tensors { tensors }) => tensors,
        other => panic!("expected tensors by name, found {other:?}"),
    }
}

/// Every output that was asked for is there, and none besides: as transformers gave it, and as the reference gives it.
#[track_caller]
fn assert_golden_outputs(record: &RunRecord, platform: &str) {
    let found = named(record);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["hidden_states.1", "last_hidden_state", "pooler_output"], "{platform}");
    let mut compared = 0;
    let of_reference = reference(&OUTPUTS);
    let of_reference = of_reference.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let of_golden = golden_outputs();
    for (name, expected) in of_reference.chain(of_golden.iter().map(|(name, tensor)| (name.as_str(), tensor))) {
        let TensorOutput { shape, data } = &found[name];
        assert_eq!(shape, expected.shape(), "{platform}: {name}");
        let off = error(data, expected.as_f32().unwrap());
        println!("{platform}: {name} is off by {off:.2e}");
        assert!(off <= TOLERANCE, "{platform}: {name}: {off:.2e}");
        compared += 1;
    }
    assert_eq!(compared, 5, "three with the reference, two of them with transformers' answers");
    let error = record.performance_metrics.quantization_error.expect("the same outputs are compared with f32");
    assert!(error.cosine > 0.9999, "{platform}: {error:?}");
}

#[test]
fn outputs_by_their_names_on_webgpu_and_wasm() {
    skip_unless!(browser_available());
    for platform in ["webgpu", "wasm"] {
        let sandbox = Sandbox::default();
        let input = nested(&sandbox, &["input_ids", "attention_mask", "token_type_ids"]);
        let options = ["--platform", platform, "--bits", "32", "--runs", "2", "--no-fallback"];
        let record = run_golden(&sandbox, &input, &[&options[..], &asking_for(&OUTPUTS)].concat());
        assert_golden_outputs(&record, platform);
        sandbox.assert_clean();
    }
}

#[test]
fn outputs_by_their_names_on_webnn() {
    skip_unless!(webnn_browser());
    let browser = webnn_browser().expect("looked for before");
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let sandbox = Sandbox::default();
    let input = nested(&sandbox, &["input_ids", "attention_mask", "token_type_ids"]);
    for parts in ["1", "2"] {
        let options = ["--platform", "webnn", "--bits", "32", "--runs", "1", "--no-fallback", "--threads", parts];
        let record = run_golden(&sandbox, &input, &[&options[..], &browser, &asking_for(&OUTPUTS)].concat());
        assert_golden_outputs(&record, &format!("webnn in {parts} parts"));
    }
    sandbox.assert_clean();
}

#[test]
fn a_simulation_here_reads_the_same_outputs() {
    let sandbox = Sandbox::default();
    let input = nested(&sandbox, &["input_ids", "attention_mask", "token_type_ids"]);
    // Safari is nowhere but on macOS.
    let options =
        ["--bits", "32", "--runs", "1", "--browser", if cfg!(target_os = "macos") { "webkit" } else { "safari" }];
    let record = run_golden(&sandbox, &input, &[&options[..], &asking_for(&OUTPUTS)].concat());
    assert_eq!((record.is_simulation, record.simulated_in.as_deref()), (Some(true), Some("host")));
    assert_golden_outputs(&record, "simulated in the host");
}

#[test]
fn what_follows_from_the_ids_may_be_left_out() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let (_, input_ids) = golden().0.into_iter().find(|(name, _)| name == "input_ids").unwrap();
    let (shape, ids) = (input_ids.shape(), input_ids.as_u32().unwrap());
    let options = ["--platform", "wasm", "--bits", "32", "--runs", "1"];
    let alone = run_golden(&sandbox, &nested(&sandbox, &["input_ids"]), &options);
    let of = |value: u32| json!({"shape": shape, "data": vec![value; ids.len()]});
    let document = json!({
        "input_ids": {"shape": shape, "data": ids, "dtype": "u32"}, "attention_mask": of(1), "token_type_ids": of(0),
    });
    let whole = run_golden(&sandbox, &write(&sandbox, &document), &options);
    assert_eq!(named(&alone).keys().collect::<Vec<_>>(), ["last_hidden_state"], "the answer, where none is asked for");
    assert_eq!(alone.output, whole.output);
    sandbox.assert_clean();
}

#[test]
fn a_sentence_models_outputs_are_those_of_its_reference() {
    skip_unless!(browser_available(), mini_lm_available());
    const TEXTS: [&str; 2] = ["A man is playing a guitar.", "Stocks fell."];
    let sandbox = Sandbox::default();
    let model = mini_lm();
    let names = ["sentence_embedding", "pooler_output"];
    let run = |options: &[&'static str]| {
        let args = ["run", "--json", "--platform", "wasm", "--bits", "32", "--embedding-bits", "32", "--runs", "1"];
        let more = ["--warmup", "0", "--model", model.to_str().unwrap(), "--text", TEXTS[0], TEXTS[1]];
        let finished = sandbox.run(&[&args[..], &more, options].concat());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        serde_json::from_str::<RunRecord>(&finished.stdout).unwrap()
    };
    let Model::Folder(folder) = Model::open(&model, "all-MiniLM-L6-v2").unwrap() else { panic!("it is a folder") };
    let asked = names.map(str::to_owned);
    let input = Input::texts(TEXTS.map(str::to_owned).into());
    let expected = Reference::of_folder(&folder).unwrap().outputs_named(&input, &asked).unwrap();
    let by_name = run(&asking_for(&names));
    let found = named(&by_name);
    assert_eq!(found.len(), expected.len());
    for (name, expected) in &expected {
        let off = error(&found[name].data, expected.as_f32().unwrap());
        println!("{name} of MiniLM at 32 bits on wasm is off by {off:.2e}");
        assert!(off <= TOLERANCE && found[name].shape == [2, 384], "{name}: {off:.2e}");
    }
    let Some(Output::Embeddings { embeddings }) = run(&[]).output else { panic!("its answer is embeddings") };
    assert_eq!(embeddings.concat(), found["sentence_embedding"].data, "the answer is made of this output");
    sandbox.assert_clean();
}

/// An input, options, and what is said of them: exit status, code, and words of the message.
type Case<'a> = (&'a Value, &'a [&'a str], i32, &'a str, &'a [&'a str]);

/// What does not fit is told before a browser is started.
#[test]
fn what_does_not_fit_is_told_at_once() {
    let sandbox = Sandbox::default();
    let bert = golden_bert();
    let run = |document: &Value, options: &[&str]| {
        let input = write(&sandbox, document);
        let args = ["run", "--json", "--platform", "wasm", "--model", bert.to_str().unwrap(), "--input"];
        sandbox.run(&[&args[..], &[input.to_str().unwrap()], options].concat())
    };
    let ids = json!({"input_ids": [[5, 6, 7]]});
    let long = json!({"input_ids": [vec![5; 65]]});
    let other = json!({"input_ids": [[5, 6, 7]], "attention_mask": [[1, 1]]});
    let cases: [Case<'_>; 8] = [
        (
            &ids,
            &["--output", "logits"],
            2,
            "unknown_output",
            &["`logits`", "last_hidden_state, pooler_output, hidden_states.0"],
        ),
        (
            &json!({"pixel_values": [[0.5]]}),
            &[],
            1,
            "bad_input",
            &["`pixel_values`", "input_ids, attention_mask, token_type_ids"],
        ),
        (&json!({"attention_mask": [[1, 1]]}), &[], 1, "bad_input", &["`input_ids` is missing", "attention_mask"]),
        (
            &json!({"input_ids": [[0.5, 1.5]]}),
            &[],
            1,
            "bad_input",
            &["`input_ids` should be u32 [batch, seq]", "found f32 [1, 2]"],
        ),
        (&json!({"input_ids": [5, 6]}), &[], 1, "bad_input", &["u32 [batch, seq]", "found u32 [2]"]),
        (&other, &[], 1, "bad_input", &["`attention_mask`", "batch 1 and seq 3", "found u32 [1, 2]"]),
        (&json!({"input_ids": [[5, 256]]}), &[], 1, "bad_input", &["below 256, found 256"]),
        (&long, &[], 1, "bad_input", &["at most 64 positions, found 65"]),
    ];
    for (document, options, status, code, words) in cases {
        let finished = run(document, options);
        assert_eq!(finished.code, Some(status), "{document}: {finished:?}");
        let record = finished.json();
        let (error, message) = (&record["error"], record["error"]["message"].as_str().unwrap());
        assert_eq!((&error["code"], &record["browser"]), (&code.into(), &Value::Null), "{error}");
        assert!(words.iter().all(|word| message.contains(word)), "{document}: {message}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
    }
    // A file that holds no tensors is no input at all.
    for (document, words) in [
        (json!({"input_ids": [[1, 2], [3]]}), "input `input_ids`: expected a list of 2 at [1]"),
        (json!([[1, 2]]), "expected tensors by the names of the model's inputs"),
        (json!({"input_ids": {"shape": [1, 4], "data": [1, 2, 3]}}), "shape [1, 4] holds 4 elements, found 3"),
    ] {
        let finished = run(&document, &[]);
        assert_eq!(finished.code, Some(2), "{document}: {finished:?}");
        let error = finished.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(words), "{document}: {error}");
    }
    sandbox.assert_clean();
}

#[test]
fn another_engine_reads_what_its_file_gives() {
    skip_unless!(crate::transformers_js::vendored());
    let sandbox = Sandbox::default();
    let input = nested(&sandbox, &["input_ids", "attention_mask", "token_type_ids"]);
    let (bert, input): (PathBuf, &Path) = (golden_bert(), &input);
    let run = |output: &str| {
        let args = ["run", "--json", "--gpu", "software", "--model", bert.to_str().unwrap(), "--platform", "wasm"];
        let engine = ["--engine", "transformers-js", "--no-fallback", "--bits", "32", "--runs", "1", "--input"];
        sandbox.run(&[&args[..], &engine, &[input.to_str().unwrap(), "--output", output]].concat())
    };
    let given = run("last_hidden_state");
    assert_eq!(given.code, Some(0), "{given:?}");
    let record: RunRecord = serde_json::from_str(&given.stdout).unwrap();
    let (_, expected) = &reference(&["last_hidden_state"])[0];
    assert!(error(&named(&record)["last_hidden_state"].data, expected.as_f32().unwrap()) <= TOLERANCE);
    let refused = run("pooler_output");
    let error = &refused.json()["error"];
    assert_eq!((refused.code, &error["code"]), (Some(1), &"unsupported".into()), "{refused:?}");
    assert!(error["message"].as_str().unwrap().contains("reads no output `pooler_output`"), "{error}");
    sandbox.assert_clean();
}
