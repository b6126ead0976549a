//! Whole models: package to answer, and everything that an answer can fail on.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::lock::Mutex;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::generate::{FinishReason, Part};
use webnibble_common::io::{Input, NamedTensors};
use webnibble_common::options::{GenerationOptions, Platform};
use webnibble_common::package::{Header, Parsed, read_weights};
use webnibble_common::prompt::PromptChoice;
use webnibble_common::quant::Bits;
use webnibble_common::record::{ImplementationType, TokensKept};
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::{ErrorCode, LoadOptions, LoadReport, RemoteError, RunOptions, Stage};
use webnibble_kernels::problems::compare;
use webnibble_kernels::reference;
use webnibble_models::ModelConfig;

use super::*;
use crate::stop::Stop;
use crate::tasks::sleep;
use crate::testing::{MAX_LEN, VOCAB, package, ran_on_webgpu, random_weights, serve, tiny_bert, tiny_llama};

const ONCE: RunOptions =
    RunOptions { warmup: Some(0), runs: 1, profile: false, outputs: Vec::new(), generate: None, deadline_ms: None };

fn options(platform: Platform) -> LoadOptions {
    LoadOptions::on(platform)
}

async fn load(file: &[u8], options: &LoadOptions) -> Result<(LoadedModel, LoadReport), RemoteError> {
    let request = LoadRequest { url: &serve(file), digest: None, options };
    LoadedModel::load(request, &Mutex::default(), &Stop::new(None), Rc::new(|_, _, _| {})).await
}

async fn on_cpu(bits: Bits) -> LoadedModel {
    load(&tiny_bert(bits), &options(Platform::Wasm)).await.unwrap().0
}

async fn run(model: &mut LoadedModel, input: Input) -> Result<Ran, RemoteError> {
    model.run(input, &ONCE, &Stop::new(None), |_, _, _| {}).await
}

fn texts(texts: &[&str]) -> Input {
    Input::Text {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        truncate: false,
        prompt: PromptChoice::Default,
    }
}

fn ids(rows: Vec<Vec<u32>>) -> Input {
    Input::ids(rows)
}

fn embeddings(ran: &Ran) -> &[f32] {
    ran.outputs[0].1.as_f32().unwrap()
}

#[wasm_bindgen_test]
async fn texts_become_embeddings_of_length_one() {
    let mut model = on_cpu(Bits::B4).await;
    let ran = run(&mut model, texts(&["The cats sat", "cat"])).await.unwrap();
    assert_eq!(ran.outputs[0].1.shape(), [2, 32]);
    assert_eq!(ran.report.token_counts, [6, 3]);
    assert_eq!((ran.report.run_ms.len(), ran.report.truncated), (1, false));
    assert_eq!(ran.report.implementation_type, ImplementationType::RealWasm);
    for row in embeddings(&ran).chunks(32) {
        let norm: f32 = row.iter().map(|x| x * x).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    // Padding changes nothing: the short text alone gives what it gave beside the long one.
    let alone = run(&mut model, texts(&["cat"])).await.unwrap();
    let pairs = embeddings(&alone).iter().zip(&embeddings(&ran)[32..]);
    assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", pairs.collect::<Vec<_>>());
}

#[wasm_bindgen_test]
async fn the_gpu_and_the_cpu_agree() {
    for bits in [Bits::B4, Bits::B16] {
        let file = tiny_bert(bits);
        let (mut cpu, _) = load(&file, &options(Platform::Wasm)).await.unwrap();
        let (mut gpu, report) = match load(&file, &options(Platform::Webgpu)).await {
            Ok(loaded) => loaded,
            Err(error) if error.code == ErrorCode::WebgpuUnavailable => {
                return console_log!("skipped: {}", error.message);
            }
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(report.implementation_type, ImplementationType::RealWebgpu);
        assert!(report.adapter.is_some() && report.package_bytes == file.len() as u64);
        let (a, b) = (run(&mut cpu, texts(&["the cats sat"])).await, run(&mut gpu, texts(&["the cats sat"])).await);
        let (a, b) = (a.unwrap(), b.unwrap());
        let cosine: f32 = embeddings(&a).iter().zip(embeddings(&b)).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "{bits} bits: {cosine}");
        assert!(b.report.dispatches.is_some_and(|count| count > 0) && b.report.gpu_peak_bytes > Some(0));
        ran_on_webgpu(&report.adapter.unwrap());
    }
}

#[wasm_bindgen_test]
async fn ids_and_tensors_give_what_their_text_gives() {
    let mut model = on_cpu(Bits::B8).await;
    let text = run(&mut model, texts(&["the cat"])).await.unwrap();
    let ids = run(&mut model, ids(vec![vec![2, 4, 5, 3]])).await.unwrap();
    assert_eq!(embeddings(&text), embeddings(&ids));
    let tensor = |values: &[u32]| Tensor::u32([1, 4], values.to_vec()).unwrap();
    let named = [("input_ids", [2, 4, 5, 3]), ("attention_mask", [1; 4]), ("token_type_ids", [0; 4])];
    let tensors = named.iter().map(|(name, values)| ((*name).to_owned(), tensor(values))).collect();
    let tensors = run(&mut model, Input::Tensors { tensors }).await.unwrap();
    assert_eq!(embeddings(&text), embeddings(&tensors));
    assert!(tensors.report.token_counts.is_empty());
}

/// A package's outputs on the oracle.
fn oracle(file: &[u8], names: &[&str], rows: &[Vec<u32>]) -> NamedTensors {
    let Parsed::Header(header) = Header::parse(file).unwrap() else { panic!("the file is whole") };
    let weights = read_weights(&header, file).unwrap();
    let config = ModelConfig::from_json(&header.meta.config).unwrap();
    let graph = config.graph_over(header.meta.sentence.as_ref(), &|name| header.tensor(name).is_some());
    let pipeline = Pipeline::new(graph.clone(), config.max_positions(), header.meta.sentence.clone());
    let inputs = pipeline.inputs(&Input::ids(rows.to_vec())).unwrap().tensors;
    reference::run(&graph.only(names), &weights, &inputs).unwrap()
}

#[wasm_bindgen_test]
async fn outputs_that_are_asked_for_are_those_of_the_oracle() {
    let rows = vec![vec![2, 4, 5, 6, 3], vec![2, 7, 3]];
    for platform in [Platform::Wasm, Platform::Webgpu] {
        let (mut model, report) = match load(&tiny_bert(Bits::B8), &options(platform)).await {
            Ok(loaded) => loaded,
            Err(error) if error.code == ErrorCode::WebgpuUnavailable => {
                return console_log!("skipped: {}", error.message);
            }
            Err(error) => panic!("{error:?}"),
        };
        // The same model gives one set of outputs after the other, and its answer between them.
        for names in [&["pooler_output", "last_hidden_state"][..], &[], &["hidden_states.1"], &["pooler_output"]] {
            let asked = RunOptions { outputs: names.iter().map(ToString::to_string).collect(), ..ONCE };
            let ran = model.run(ids(rows.clone()), &asked, &Stop::new(None), |_, _, _| {}).await.unwrap();
            let names = if names.is_empty() { &["sentence_embedding"][..] } else { names };
            assert_eq!(ran.outputs.iter().map(|(name, _)| name).collect::<Vec<_>>(), names, "{platform}");
            for ((name, found), (_, expected)) in ran.outputs.iter().zip(oracle(&tiny_bert(Bits::B8), names, &rows)) {
                let error = compare(&expected, found);
                assert!(error <= 1e-4, "{name} on {platform} is off by {error:e}");
            }
        }
        let unknown = RunOptions { outputs: vec!["logits".to_owned()], ..ONCE };
        let error = model.run(ids(rows.clone()), &unknown, &Stop::new(None), |_, _, _| {}).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::BadInput);
        assert!(error.message.contains("`logits`") && error.message.contains("pooler_output"), "{}", error.message);
        if let Some(adapter) = &report.adapter {
            ran_on_webgpu(adapter);
        }
    }
}

/// The token with the highest score behind a row.
fn likeliest_behind(file: &[u8], row: &[u32]) -> u32 {
    let logits = oracle(file, &["logits"], &[row.to_vec()]).remove(0).1;
    let last = &logits.as_f32().unwrap()[(row.len() - 1) * VOCAB..];
    (0..VOCAB).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap() as u32
}

#[wasm_bindgen_test]
async fn a_llama_goes_on_with_its_likeliest_tokens() {
    let file = tiny_llama(Bits::B8);
    let generation = GenerationOptions { max_tokens: Some(4), ..GenerationOptions::default() };
    for platform in [Platform::Wasm, Platform::Webgpu] {
        let mut model = match load(&file, &options(platform)).await {
            Ok((model, _)) => model,
            Err(error) if error.code == ErrorCode::WebgpuUnavailable => {
                return console_log!("skipped: {}", error.message);
            }
            Err(error) => panic!("{error:?}"),
        };
        // A prompt of one part, and one that is run in two.
        for length in [3, 130] {
            let mut row: Vec<u32> = (0..length).map(|place| place * 5 % VOCAB as u32).collect();
            let parts = RefCell::new(Vec::new());
            let (stop, prompt) = (Stop::new(None), ids(vec![row.clone()]));
            let tell = |part: Part| parts.borrow_mut().extend(part.tokens);
            let ran = model.generate(&prompt, &generation, &stop, |_, _, _| {}, tell).await.unwrap();
            let generated = ran.report.generated.unwrap();
            assert_eq!((generated.prompt_tokens, generated.token_ms.len()), (row.len(), 3));
            assert_eq!(generated.finish_reason, FinishReason::MaxTokens);
            assert_eq!(generated.tokens, *parts.borrow());
            for token in generated.tokens {
                assert_eq!(token, likeliest_behind(&file, &row), "{platform}, behind {} tokens", row.len());
                row.push(token);
            }
        }
        // One that is stopped leaves the model as it was.
        let stop = Stop::new(None);
        let tell =
            |_| stop.because(RemoteError { code: ErrorCode::Cancelled, message: "enough".into(), hint: "".into() });
        let stopped = model.generate(&ids(vec![vec![1, 2]]), &generation, &stop, |_, _, _| {}, tell).await;
        assert_eq!(stopped.err().unwrap().code, ErrorCode::Cancelled);
        let two =
            model.generate(&ids(vec![vec![1], vec![2]]), &generation, &Stop::new(None), |_, _, _| {}, |_| {}).await;
        assert!(two.err().unwrap().message.contains("found 2"));
        let names = RunOptions { outputs: vec!["logits".into()], ..ONCE };
        model.run(ids(vec![vec![1, 2]]), &names, &Stop::new(None), |_, _, _| {}).await.unwrap();
    }
    let (mut bert, one, stop) = (on_cpu(Bits::B4).await, ids(vec![vec![1]]), Stop::new(None));
    let refused = bert.generate(&one, &generation, &stop, |_, _, _| {}, |_| {}).await.err().unwrap();
    assert_eq!(refused.code, ErrorCode::Unsupported);
}

#[wasm_bindgen_test]
async fn a_llama_scores_tokens_on_webgpu_and_on_the_cpu() {
    let (file, rows) = (tiny_llama(Bits::B4), vec![vec![2, 4, 5, 6, 3], vec![7, 1, 1, 0, 2]]);
    for platform in [Platform::Wasm, Platform::Webgpu] {
        let (mut model, report) = match load(&file, &options(platform)).await {
            Ok(loaded) => loaded,
            Err(error) if error.code == ErrorCode::WebgpuUnavailable => {
                return console_log!("skipped: {}", error.message);
            }
            Err(error) => panic!("{error:?}"),
        };
        let names = ["logits", "last_hidden_state"];
        let asked = RunOptions { outputs: names.map(str::to_owned).into(), ..ONCE };
        let ran = model.run(ids(rows.clone()), &asked, &Stop::new(None), |_, _, _| {}).await.unwrap();
        assert_eq!(ran.outputs[0].1.shape(), [2, 5, VOCAB]);
        for ((name, found), (_, expected)) in ran.outputs.iter().zip(oracle(&file, &names, &rows)) {
            let error = compare(&expected, found);
            assert!(error <= 1e-4, "{name} on {platform} is off by {error:e}");
        }
        let error = run(&mut model, ids(rows.clone())).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::BadInput);
        assert!(error.message.contains("name the outputs"), "{}", error.message);
        if let Some(adapter) = &report.adapter {
            ran_on_webgpu(adapter);
        }
    }
}

#[wasm_bindgen_test]
async fn bad_inputs_are_named() {
    let mut model = on_cpu(Bits::B4).await;
    let long = "cat ".repeat(MAX_LEN);
    let one = Tensor::u32([1, 1], vec![2]).unwrap();
    for (input, expected) in [
        (texts(&[]), "at least one text"),
        (texts(&["the cat", "  "]), "text 1 is empty"),
        (texts(&[&long]), "14 tokens"),
        (ids(vec![]), "at least one text"),
        (ids(vec![vec![2, VOCAB as u32]]), "below 8, found 8"),
        (ids(vec![vec![2; MAX_LEN + 1]]), "13 tokens"),
        (Input::Tensors { tensors: vec![("ids".to_owned(), one.clone())] }, "attention_mask"),
    ] {
        let error = run(&mut model, input).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::BadInput, "{error:?}");
        assert!(error.message.contains(expected), "{}", error.message);
    }
    let cut = Input::Text { texts: vec![long], truncate: true, prompt: PromptChoice::Default };
    let ran = run(&mut model, cut).await.unwrap();
    assert_eq!((ran.report.token_counts, ran.report.truncated), (vec![MAX_LEN], true));
    assert_eq!(ran.report.tokens_kept, [TokensKept { kept: MAX_LEN, of: 14 }]);
    let ids = run(&mut model, Input::Ids { ids: vec![vec![2; MAX_LEN + 1]], truncate: true }).await.unwrap();
    assert_eq!(ids.report.tokens_kept, [TokensKept { kept: MAX_LEN, of: MAX_LEN + 1 }]);
}

#[wasm_bindgen_test]
async fn a_package_without_a_tokenizer_takes_ids_alone() {
    let file = spoilt_package(|_| {});
    let (mut model, _) = load(&file, &options(Platform::Wasm)).await.unwrap();
    run(&mut model, ids(vec![vec![2, 3]])).await.unwrap();
    let error = run(&mut model, texts(&["cat"])).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::BadInput);
    assert!(error.message.contains("no tokenizer"), "{}", error.message);
}

fn one_layer() -> serde_json::Value {
    serde_json::json!({
        "model_type": "bert", "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 16
    })
}

/// A tiny BERT without a tokenizer, whose weights were tampered with before they were packed.
fn spoilt_package(spoil: impl FnOnce(&mut WeightMap)) -> Vec<u8> {
    let graph = ModelConfig::from_json(&one_layer()).unwrap().graph(None);
    let mut weights = random_weights(&graph, Bits::B8);
    spoil(&mut weights);
    package(&graph, &weights, one_layer(), None, &[])
}

#[wasm_bindgen_test]
async fn numbers_that_are_none_are_an_error_that_says_where() {
    let file = spoilt_package(|weights| {
        let bias = weights.values_mut().find_map(|weight| match weight {
            WeightData::Vector(values) => Some(values),
            WeightData::Matrix(_) => None,
        });
        bias.unwrap()[3] = f32::INFINITY;
    });
    for platform in [Platform::Wasm, Platform::Webgpu] {
        let mut model = match load(&file, &options(platform)).await {
            Ok((model, _)) => model,
            Err(error) if error.code == ErrorCode::WebgpuUnavailable => {
                console_log!("skipped: on {platform}, {}", error.message);
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        let error = run(&mut model, ids(vec![vec![2, 4, 3]])).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::NotFinite, "{platform}: {error:?}");
        assert!(error.message.contains('`') && !error.hint.is_empty(), "{error:?}");
    }
}

#[wasm_bindgen_test]
async fn a_package_of_another_shape_is_refused() {
    let graph = ModelConfig::from_json(&one_layer()).unwrap().graph(None);
    let weights = random_weights(&graph, Bits::B8);
    for (field, value, expected) in [
        ("vocab_size", 9.into(), "`vocab_size` is 9, but tensor `embeddings.word_embeddings.weight` has shape [8, 32]"),
        ("num_hidden_layers", 2.into(), "`num_hidden_layers` is 2, but there are tensors for 1"),
        // Counts that would fill the memory of the tab, or overflow in it.
        ("num_hidden_layers", 4_000_000_000_u64.into(), "from 1 to 1024, found 4000000000"),
        ("num_hidden_layers", 1000.into(), "`num_hidden_layers` is 1000, but there are tensors for 1"),
        ("hidden_size", 2_000_000_000.into(), "`hidden_size` is 2000000000, but tensor"),
        ("intermediate_size", 2_000_000_000.into(), "`intermediate_size` is 2000000000, but tensor"),
        ("model_type", "mamba".into(), "families are"),
        ("architectures", serde_json::json!(["BertForSequenceClassification"]), "a classifier of texts"),
    ] {
        let mut config = one_layer();
        config[field] = value;
        let file = package(&graph, &weights, config, None, &[]);
        let error = load(&file, &options(Platform::Wasm)).await.err().unwrap();
        assert_eq!(error.code, ErrorCode::BadPackage, "{error:?}");
        assert!(error.message.contains(expected), "{}", error.message);
    }
}

#[wasm_bindgen_test]
async fn what_took_the_place_of_a_package_is_named() {
    for (content, what) in [
        (&b"<!DOCTYPE html><title>Sign in</title>"[..], "this is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 9\n", "this is a Git LFS pointer"),
    ] {
        let error = load(content, &options(Platform::Wasm)).await.err().unwrap();
        assert!(error.message.contains(what), "{error:?}");
    }
}

#[wasm_bindgen_test]
async fn platforms_that_are_not_there_are_said_not_to_be() {
    let error = load(&tiny_bert(Bits::B4), &options(Platform::Auto)).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains("auto"), "{}", error.message);
    // Without a backend there is no WebNN; with one, 4 bits are refused unless they are asked for as an experiment.
    let error = load(&tiny_bert(Bits::B4), &options(Platform::Webnn)).await.err().unwrap();
    assert!(matches!(error.code, ErrorCode::WebnnUnavailable | ErrorCode::Unsupported), "{error:?}");
}

#[wasm_bindgen_test]
async fn loading_reports_progress_from_nothing_to_all() {
    let file = tiny_bert(Bits::B4);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&seen);
    let options = options(Platform::Wasm);
    let request = LoadRequest { url: &serve(&file), digest: None, options: &options };
    let report = move |stage, done, total| sink.borrow_mut().push((stage, done, total));
    LoadedModel::load(request, &Mutex::default(), &Stop::new(None), Rc::new(report)).await.unwrap();
    let (seen, total) = (seen.borrow(), file.len() as u64);
    assert_eq!(seen.first(), Some(&(Stage::Fetch, 0, total)));
    assert_eq!(seen.last(), Some(&(Stage::Fetch, total, total)));
    assert!(seen.is_sorted_by_key(|(_, done, _)| *done));
}

#[wasm_bindgen_test]
async fn runs_are_counted_and_reported() {
    let mut model = on_cpu(Bits::B4).await;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&seen);
    let options = RunOptions { warmup: Some(2), runs: 5, ..ONCE };
    let report = move |stage, done, total| sink.borrow_mut().push((stage, done, total));
    let ran = model.run(texts(&["cat"]), &options, &Stop::new(None), report).await.unwrap();
    assert_eq!(ran.report.run_ms.len(), 5);
    assert!(ran.report.first_ms > 0.0 && ran.report.gpu_ms.is_none() && ran.report.kernels.is_none());
    assert_eq!(seen.borrow().first(), Some(&(Stage::Run, 0, 6)), "the first run and 5");
    assert!(seen.borrow().contains(&(Stage::Warmup, 0, 2)), "{:?}", seen.borrow());
    assert_eq!(seen.borrow().last(), Some(&(Stage::Run, 6, 6)));
    // One that is asked for alone, and may be long, is told too.
    let sink = Rc::clone(&seen);
    sink.borrow_mut().clear();
    let report = move |stage, done, total| sink.borrow_mut().push((stage, done, total));
    model.run(texts(&["cat"]), &RunOptions { runs: 0, ..ONCE }, &Stop::new(None), report).await.unwrap();
    assert_eq!(*seen.borrow(), [(Stage::Run, 0, 1), (Stage::Run, 1, 1)]);
}

#[wasm_bindgen_test]
async fn a_run_is_stopped_by_its_deadline_and_by_a_cancel() {
    let mut model = on_cpu(Bits::B4).await;
    let endless = RunOptions { runs: u32::MAX, ..ONCE };
    let error = model.run(texts(&["cat"]), &endless, &Stop::new(Some(100)), |_, _, _| {}).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Deadline);
    let stop = Stop::new(None);
    let canceller = stop.clone();
    wasm_bindgen_futures::spawn_local(async move {
        sleep(50.0).await;
        canceller.because(crate::error::error(ErrorCode::Cancelled, "enough", ""));
    });
    let error = model.run(texts(&["cat"]), &endless, &stop, |_, _, _| {}).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Cancelled);
    // The model is as good as before.
    run(&mut model, texts(&["cat"])).await.unwrap();
}
