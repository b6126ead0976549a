//! BERT.

use webnibble_common::graph::Role;
use webnibble_common::package::SentenceConfig;
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightMap;
use webnibble_kernels::cpu;
use webnibble_kernels::exec::ExecError;
use webnibble_kernels::problems::compare;
use webnibble_models::input::text::TextTokenizer;

use crate::checkpoint::{Checkpoint, config, mini_lm, read_io};
use crate::{EXECUTORS, TOLERANCE};

fn golden() -> std::path::PathBuf {
    crate::golden("bert")
}

fn check_golden(checkpoint: &Checkpoint) {
    let graph = config(&golden()).graph_over(None, &|name| checkpoint.has(name));
    let (inputs, expected) = read_io(&golden().join("io.safetensors"));
    let weights = checkpoint.weights(&graph, |_| Format::F32);
    for (name, run) in EXECUTORS {
        let outputs = run(&graph, &weights, &inputs).unwrap();
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        let hidden = ["hidden_states.0", "hidden_states.1", "hidden_states.2"];
        assert_eq!(names, [&["last_hidden_state", "pooler_output"][..], &hidden].concat());
        for (output, found) in &outputs[..2] {
            let error = compare(&expected[output], found);
            assert!(error <= TOLERANCE, "{output} by {name} is off by {error:e}");
        }
        // Alone each is what it is beside the others.
        for (output, found) in &outputs {
            let alone = run(&graph.only(&[output]), &weights, &inputs).unwrap();
            assert_eq!(alone, [(output.clone(), found.clone())], "{name}");
        }
    }
}

#[test]
fn the_golden_is_met() {
    check_golden(&Checkpoint::read(&golden().join("model.safetensors")));
}

#[test]
fn the_golden_is_met_under_the_names_of_older_checkpoints() {
    let rename = |name: &str| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        format!("bert.{name}")
    };
    let checkpoint = Checkpoint::read(&golden().join("model.safetensors")).renamed(rename);
    assert!(checkpoint.names().any(|name| name == "bert.encoder.layer.2.output.LayerNorm.gamma"));
    check_golden(&checkpoint);
}

#[test]
fn a_step_at_a_time_gives_the_same() {
    let graph = config(&golden()).graph(None);
    let (inputs, _) = read_io(&golden().join("io.safetensors"));
    let weights = Checkpoint::read(&golden().join("model.safetensors")).weights(&graph, |_| Format::F32);
    let mut executor = cpu::Executor::new(&graph, &weights, &inputs).unwrap();
    let mut steps = 1;
    while executor.step().unwrap() {
        steps += 1;
    }
    assert_eq!(steps, graph.nodes.len());
    assert_eq!(executor.outputs().unwrap(), cpu::run(&graph, &weights, &inputs).unwrap());
}

#[test]
fn bad_input_is_named() {
    let graph = config(&golden()).graph(None);
    let mut weights = Checkpoint::read(&golden().join("model.safetensors")).weights(&graph, |_| Format::F32);
    let inputs = |seq: usize, id: u32| {
        ["input_ids", "attention_mask", "token_type_ids"]
            .map(|name| (name, Tensor::u32([1, seq], vec![if name == "input_ids" { id } else { 1 }; seq]).unwrap()))
    };
    let error = |weights: &WeightMap, inputs: &[(&str, Tensor)]| cpu::run(&graph, weights, inputs).unwrap_err();
    for (inputs, expected) in [
        (inputs(2, 256), "input `input_ids` should be below 256, found 256 at index 0"),
        (inputs(65, 5), "sequences should have at most 64 positions, found 65: shorten the text, or truncate it"),
        (inputs(0, 5), "input `input_ids` should have at least one element, found shape [1, 0]"),
    ] {
        let error = error(&weights, &inputs);
        assert_eq!(error.to_string(), expected);
        assert!(error.is_bad_input());
    }
    weights.remove("encoder.layer.1.output.dense.weight");
    let missing = error(&weights, &inputs(2, 5));
    let expected = "weight `encoder.layer.1.output.dense.weight` should be a matrix [64, 128], found nothing";
    assert_eq!((missing.to_string().as_str(), missing.is_bad_input()), (expected, false));
}

#[test]
fn the_first_operator_that_overflows_is_named() {
    use webnibble_common::weights::WeightData;
    let graph = config(&golden()).graph(None);
    let (inputs, _) = read_io(&golden().join("io.safetensors"));
    let mut weights = Checkpoint::read(&golden().join("model.safetensors")).weights(&graph, |_| Format::F32);
    let Some(WeightData::Vector(bias)) = weights.get_mut("encoder.layer.1.intermediate.dense.bias") else { panic!() };
    bias[7] = f32::INFINITY;
    for (name, run) in EXECUTORS {
        let error = run(&graph, &weights, &inputs).unwrap_err();
        let ExecError::NonFinite { maker, value, index, .. } = &error else { panic!("{name}: {error}") };
        assert_eq!((*maker, value.as_str(), *index), ("linear", "layer.1.intermediate", 7), "{name}");
    }
}

#[test]
fn mini_lm_is_the_same_on_both_executors_at_every_width() {
    let folder = match mini_lm() {
        Ok(folder) => folder,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let sentence = SentenceConfig::new(webnibble_common::graph::Pooling::Mean, true, Some(256));
    let graph = config(&folder).graph(Some(&sentence));
    let tokenizer =
        TextTokenizer::from_bytes(&std::fs::read(folder.join("tokenizer.json")).unwrap(), 256, 30522).unwrap();
    let texts = ["A man is playing a guitar on the street.", "Someone plays an instrument.", "Stocks fell."];
    let inputs = tokenizer.encode_batch(&texts, "", false).unwrap().inputs(&graph).unwrap();
    let checkpoint = Checkpoint::read(&folder.join("model.safetensors"));
    for bits in [Bits::B32, Bits::B16, Bits::B8, Bits::B4, Bits::B2] {
        let linear = Format { bits, scheme: Scheme::Symmetric, granularity: Granularity::Group(128) };
        let embedding = if bits == Bits::B32 { Format::F32 } else { Format::F16 };
        let weights = checkpoint.weights(&graph, |role| if role == Role::Embedding { embedding } else { linear });
        let [expected, found] = EXECUTORS.map(|(_, run)| run(&graph, &weights, &inputs).unwrap().remove(0).1);
        let rows =
            |tensor: &Tensor| -> Vec<Vec<f32>> { tensor.as_f32().unwrap().chunks(384).map(<[f32]>::to_vec).collect() };
        let (expected, found) = (rows(&expected), rows(&found));
        for (row, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let cosine = dot(expected, found);
            assert!(cosine >= 0.99999, "{bits} bits, text {row}: cosine {cosine}");
            assert!((dot(found, found) - 1.0).abs() < 1e-5);
        }
        if bits == Bits::B32 {
            // The first two sentences mean nearly the same, the third does not.
            let (alike, unlike) = (dot(&found[0], &found[1]), dot(&found[0], &found[2]));
            assert!(alike > 0.5 && unlike < 0.2, "similar {alike}, different {unlike}");
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
