//! LLaMA.

use serde_json::{Value, json};
use webnibble_common::graph::{Bindings, Graph, Role};
use webnibble_common::program::{DECODE, ENCODE};
use webnibble_common::quant::Format;
use webnibble_common::state::StateSet;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;
use webnibble_kernels::cpu::Executor;
use webnibble_kernels::exec::{ExecError, Outputs};
use webnibble_kernels::problems::compare;
use webnibble_kernels::reference;
use webnibble_models::ModelConfig;
use webnibble_models::llama::{LOGITS, NEXT_LOGITS};

use crate::checkpoint::{Checkpoint, config, read_io};
use crate::{EXECUTORS, TOLERANCE};

fn checkpoint() -> Checkpoint {
    Checkpoint::read(&crate::golden("llama").join("model.safetensors"))
}

/// The golden's tokens, the scores behind each of them, and the tokens with those that follow.
fn io() -> (Tensor, Tensor, Vec<u32>) {
    let (mut inputs, outputs) = read_io(&crate::golden("llama").join("io.safetensors"));
    (inputs.remove(0).1, outputs["logits"].clone(), outputs["greedy"].as_u32().unwrap().to_vec())
}

fn input(ids: &[u32]) -> [(String, Tensor); 1] {
    [("input_ids".to_owned(), Tensor::u32([1, ids.len()], ids.to_vec()).unwrap())]
}

#[test]
fn the_golden_is_met() {
    let graph = config(&crate::golden("llama")).graph(None);
    let (ids, logits, _) = io();
    let weights = checkpoint().weights(&graph, |_| Format::F32);
    for (name, run) in EXECUTORS {
        let outputs = run(&graph, &weights, &[("input_ids".to_owned(), ids.clone())]).unwrap();
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        let hidden = ["hidden_states.0", "hidden_states.1", "hidden_states.2"];
        assert_eq!(names, [&["logits", "last_hidden_state"][..], &hidden].concat());
        let error = compare(&logits, &outputs[0].1);
        assert!(error <= TOLERANCE, "logits by {name} are off by {error:e}");
    }
}

type Step = fn(&Graph, &WeightMap, &mut StateSet, &[(String, Tensor)]) -> Result<Outputs, ExecError>;

fn fast(
    graph: &Graph,
    weights: &WeightMap,
    states: &mut StateSet,
    inputs: &[(String, Tensor)],
) -> Result<Outputs, ExecError> {
    Executor::new(graph, weights, inputs)?.with_states(states)?.outputs()
}

const STEPS: [(&str, Step); 2] = [("reference", reference::run_with_states), ("cpu", fast)];

/// Scores behind some positions, `[1, count, vocab]`.
fn rows(logits: &Tensor, first: usize, count: usize) -> Tensor {
    let vocab = logits.shape()[2];
    let values = &logits.as_f32().unwrap()[first * vocab..][..count * vocab];
    Tensor::f32([1, count, vocab], values.to_vec()).unwrap()
}

fn best(scores: &[f32]) -> u32 {
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0 as u32
}

#[test]
fn a_conversation_gives_what_the_whole_pass_gives() {
    let program = config(&crate::golden("llama")).program(None);
    program.validate().unwrap();
    let graph = program.named(DECODE).unwrap();
    assert_eq!(graph.weights, program.named(ENCODE).unwrap().weights);
    let (ids, logits, _) = io();
    let weights = checkpoint().weights(graph, |_| Format::F32);
    for (name, step) in STEPS {
        let mut states = StateSet::new(&graph.states, 1, &Bindings::default()).unwrap();
        for at in [0..5, 5..6, 6..7, 7..15, 15..16] {
            let given = input(&ids.as_u32().unwrap()[at.clone()]);
            let outputs = step(graph, &weights, &mut states, &given).unwrap();
            let named = |name: &str| &outputs.iter().find(|(output, _)| output == name).unwrap().1;
            let error = compare(&rows(&logits, at.start, at.len()), named(LOGITS));
            assert!(error <= TOLERANCE, "{name} at {at:?} is off by {error:e}");
            let last = rows(named(LOGITS), at.len() - 1, 1);
            let next = named(NEXT_LOGITS);
            let last = Tensor::f32(next.shape(), last.as_f32().unwrap().to_vec()).unwrap();
            let error = compare(&last, next);
            assert!(error <= TOLERANCE, "{name} behind {at:?} is off by {error:e}");
        }
    }
}

#[test]
fn the_likeliest_tokens_are_those_of_the_golden() {
    let program = config(&crate::golden("llama")).program(None);
    let graph = program.named(DECODE).unwrap().answer();
    let (ids, _, greedy) = io();
    let prompt = ids.as_u32().unwrap();
    let weights = checkpoint().weights(&graph, |_| Format::F32);
    for (name, step) in STEPS {
        let mut states = StateSet::new(&graph.states, 1, &Bindings::default()).unwrap();
        let (mut said, mut next) = (prompt.to_vec(), prompt.to_vec());
        while said.len() < greedy.len() {
            let scores = step(&graph, &weights, &mut states, &input(&next)).unwrap().remove(0).1;
            next = vec![best(scores.as_f32().unwrap())];
            said.extend(&next);
        }
        assert_eq!(said, greedy, "{name}");
    }
}

/// The golden's config with other fields.
fn changed(fields: &Value) -> ModelConfig {
    let text = std::fs::read_to_string(crate::golden("llama").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ModelConfig::from_json(&config).unwrap()
}

#[test]
fn a_tied_head_is_the_token_table() {
    let tied = changed(&json!({"tie_word_embeddings": true})).graph(None);
    let whole = checkpoint();
    let renamed = |name: &str| if name == "model.embed_tokens.weight" { "lm_head.weight" } else { name }.to_owned();
    let (ids, ..) = io();
    let inputs = input(ids.as_u32().unwrap());
    for format in [Format::F32, Format::F16] {
        let weights = checkpoint().without("lm_head.weight").weights(&tied, |_| format);
        assert_eq!(weights.len(), tied.weights.len());
        // A head of its own with the same values.
        let graph = changed(&json!({})).graph(None);
        assert_eq!(graph.weights.len(), tied.weights.len() + 1);
        let mut apart = whole.weights(&graph, |_| format);
        let table = checkpoint().without("lm_head.weight").renamed(renamed).weights(&head(), |_| format);
        apart.extend(table);
        for (name, run) in EXECUTORS {
            let [found, expected] =
                [(&tied, &weights), (&graph, &apart)].map(|(graph, weights)| run(graph, weights, &inputs).unwrap());
            assert_eq!(found, expected, "{name}");
        }
    }
}

/// The head alone.
fn head() -> Graph {
    let mut graph = Graph::default();
    graph.weight("lm_head.weight", [256, 64], Role::Linear, &["lm_head.weight"]);
    graph
}

#[test]
fn executors_agree_at_every_width() {
    let (ids, ..) = io();
    let inputs = input(ids.as_u32().unwrap());
    crate::agree_at_every_width("llama", &inputs);
}
