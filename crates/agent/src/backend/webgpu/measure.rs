//! Times kernels and tilings on the adapter of this browser, on a BERT-base shape with random weights.
//!
//! Built only with the feature `measure`; `docs/gpu.md` says how it is run. Nothing is asserted but that it ran.

use std::collections::BTreeMap;

use serde_json::json;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::graph::{Graph, Role};
use webnibble_common::package::Part;
use webnibble_common::quant::{Bits, Format, Granularity, Layout, Scheme};
use webnibble_common::tensor::Tensor;
use webnibble_kernels::plan::{Formats, PlanOptions, Tiling};
use webnibble_models::ModelConfig;

use super::{Gpu, Model};
use crate::sys::now_ms;

const TOKENS: usize = 128;
const WARMUP: usize = 10;
const RUNS: usize = 50;
const PROFILED: usize = 10;

fn bert_base() -> Graph {
    let config = json!({ "model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
        "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12 });
    ModelConfig::from_json(&config).expect("the configuration is BERT-base's").graph(None)
}

fn formats(graph: &Graph, bits: Bits) -> Formats {
    let quantized = Format { bits, scheme: Scheme::Symmetric, granularity: Granularity::Group(128) };
    let matrices = graph.weights.iter().filter(|w| w.role != Role::Vector);
    matrices.map(|w| (w.name.clone(), if w.role == Role::Embedding { Format::F16 } else { quantized })).collect()
}

/// xorshift32 (Marsaglia, 2003): random enough for weights whose values do not matter.
fn random_words(seed: &mut u32, count: usize) -> Vec<u32> {
    let next = |_| {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 17;
        *seed ^= *seed << 5;
        *seed
    };
    (0..count).map(next).collect()
}

/// `count` half-precision values around 0.02, as scales and embeddings have them.
fn random_halves(seed: &mut u32, count: usize) -> Vec<u8> {
    let words = random_words(seed, count);
    words.iter().flat_map(|w| half::f16::from_f32(0.01 + 0.02 * (w >> 8) as f32 / 16_777_216.0).to_le_bytes()).collect()
}

async fn fill(model: &mut Model, graph: &Graph, formats: &Formats) {
    let mut seed = 1;
    for weight in &graph.weights {
        let mut put = |part, bytes: Vec<u8>| {
            let view = model.map_plane(&weight.name, part, bytes.len()).expect("the plane is in the plan");
            view.copy_from(&bytes);
            model.seal_plane(&weight.name, part, &view).expect("the plane is in the plan");
        };
        match formats.get(&weight.name) {
            Some(format) => {
                let layout = Layout::new(*format, weight.shape[0], weight.shape[1]);
                match format.bits.is_integer() {
                    true => {
                        let words = random_words(&mut seed, layout.packed_bytes() / 4);
                        put(Part::Packed, words.iter().flat_map(|w| w.to_le_bytes()).collect());
                        put(Part::Scale, random_halves(&mut seed, layout.scale_bytes() / 2));
                    }
                    false => put(Part::Packed, random_halves(&mut seed, layout.packed_bytes() / 2)),
                }
            }
            None => {
                let one = if weight.name.ends_with("weight") { 1f32 } else { 0.0 };
                let bytes = (weight.shape[0] * 4).next_multiple_of(16);
                put(Part::Packed, one.to_le_bytes().into_iter().cycle().take(bytes).collect());
            }
        }
    }
    model.finish_load().await.expect("the weights fit the adapter");
}

fn inputs() -> Vec<(String, Tensor)> {
    let tensor = |data: Vec<u32>| Tensor::u32([1, TOKENS], data).expect("the shape holds the tokens");
    vec![
        ("input_ids".to_owned(), tensor((0..TOKENS as u32).map(|i| 100 + (i * 7919) % 29000).collect())),
        ("attention_mask".to_owned(), tensor(vec![1; TOKENS])),
        ("token_type_ids".to_owned(), tensor(vec![0; TOKENS])),
    ]
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() as f64 * q) as usize).min(sorted.len() - 1)]
}

async fn time(model: &mut Model, what: &str) {
    let inputs = inputs();
    let start = now_ms();
    model.run(&inputs, false).await.expect("the first run");
    let first = now_ms() - start;
    for _ in 0..WARMUP {
        model.run(&inputs, false).await.expect("a warm-up run");
    }
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = now_ms();
        model.run(&inputs, false).await.expect("a measured run");
        times.push(now_ms() - start);
    }
    times.sort_by(f64::total_cmp);
    console_log!(
        "{what}: p50 {:.2} ms, p10 {:.2}, p90 {:.2}, min {:.2}, first {first:.0}, dispatches {:?}; {}",
        quantile(&times, 0.5),
        quantile(&times, 0.1),
        quantile(&times, 0.9),
        times[0],
        model.dispatches(),
        profile(model).await
    );
}

/// Mean GPU time of the kernels of a layer, by operator.
async fn profile(model: &mut Model) -> String {
    let mut by_operator: BTreeMap<String, f64> = BTreeMap::new();
    let mut total = 0.0;
    for _ in 0..PROFILED {
        let outcome = model.run(&inputs(), true).await.expect("a profiled run");
        total += outcome.gpu_ms.unwrap_or(f64::NAN);
        for kernel in outcome.kernels.unwrap_or_default() {
            let operator =
                kernel.operator.split('.').filter(|p| p.parse::<u32>().is_err()).collect::<Vec<_>>().join(".");
            *by_operator.entry(operator).or_default() += kernel.ms;
        }
    }
    let per_run = |ms: f64| ms / PROFILED as f64;
    let rows: Vec<String> =
        by_operator.iter().map(|(op, ms)| format!("{} {:.0} us", op, per_run(*ms) * 1000.0)).collect();
    format!("gpu {:.2} ms [{}]", per_run(total), rows.join(", "))
}

#[wasm_bindgen_test]
async fn bert_base_by_tiling_and_bits() {
    let gpu = std::rc::Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    console_log!("{:?}", gpu.adapter);
    let graph = bert_base();
    for bits in [Bits::B4, Bits::B8, Bits::B16, Bits::B2] {
        let formats = formats(&graph, bits);
        let mut model = Model::with_formats(&gpu, graph.clone(), &formats, PlanOptions::default(), false)
            .expect("BERT-base fits the adapter");
        fill(&mut model, &graph, &formats).await;
        let tilings: &[Tiling] = match bits {
            Bits::B4 => &[
                Tiling::Auto,
                Tiling::Fixed(32, 32, 16, 4),
                Tiling::Fixed(32, 32, 32, 4),
                Tiling::Fixed(32, 32, 16, 8),
                Tiling::Fixed(32, 32, 32, 2),
                Tiling::Fixed(32, 64, 32, 2),
                Tiling::Fixed(64, 32, 32, 2),
                Tiling::Fixed(64, 64, 16, 1),
                Tiling::Fixed(16, 32, 32, 8),
                Tiling::Fixed(16, 64, 32, 4),
            ],
            _ => &[Tiling::Auto],
        };
        for half_tiles in [false, true] {
            if half_tiles && !gpu.caps.f16 {
                continue;
            }
            for tiling in tilings {
                model.options = PlanOptions { tiling: *tiling, half_tiles, ..PlanOptions::default() };
                model.prepared.clear();
                time(&mut model, &format!("bert-base {bits} bits, {tiling:?}, half_tiles {half_tiles}")).await;
            }
        }
    }
}
