//! Tokens that the device chooses are those that the processor chooses by the same scores.

use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::graph::Graph;
use webnibble_common::options::{GenerationOptions, Platform};
use webnibble_common::wire::ErrorCode;
use webnibble_kernels::problems::{DecoderProblem, decoder_problems};
use webnibble_models::Pipeline;
use webnibble_models::generate::{Generation, GenerationConfig};

use super::Devices;
use super::conversations::Loaded;
use super::outcome::RunRequest;
use super::testing::largest;
use crate::stop::Stop;
use crate::testing::ran_on_webgpu;

/// More than a workgroup has threads, and no multiple of anything.
const TOKENS: usize = 3001;

const POSITIONS: usize = 12;

fn decoder() -> DecoderProblem {
    decoder_problems().unwrap()[0].scoring(TOKENS)
}

/// Each way to choose alone, and all together.
fn ways() -> Vec<GenerationOptions> {
    let none = GenerationOptions::default;
    let drawing = || GenerationOptions { temperature: Some(0.8), seed: Some(7 << 32 | 3), ..none() };
    vec![
        none(),
        GenerationOptions { repetition_penalty: Some(1.7), ..none() },
        drawing(),
        GenerationOptions { temperature: Some(1e-30), ..drawing() },
        GenerationOptions { repetition_penalty: Some(1.3), ..drawing() },
        GenerationOptions { top_k: Some(1), ..drawing() },
        GenerationOptions { top_k: Some(40), ..drawing() },
        GenerationOptions { top_p: Some(0.3), ..drawing() },
        GenerationOptions { top_p: Some(0.95), temperature: Some(3.0), ..drawing() },
        GenerationOptions { min_p: Some(0.4), ..drawing() },
        GenerationOptions {
            top_k: Some(200),
            top_p: Some(0.7),
            min_p: Some(0.05),
            repetition_penalty: Some(1.2),
            ..drawing()
        },
    ]
}

#[wasm_bindgen_test]
async fn the_device_chooses_what_the_processor_chooses() {
    let mut devices = Devices::default();
    let decoder = decoder();
    let mut loaded = Loaded::new(&mut devices, &decoder, Platform::Webgpu).await;
    let (pipeline, prompt) = (Pipeline::new(Graph::default(), 1000, None), [0, 5, 31, 32, 3000, 3001]);
    for way in ways() {
        let mut generation = Generation::new(&GenerationConfig::default(), &way, &prompt, &pipeline).unwrap();
        let mut states = loaded.states();
        assert!(states.begin_text(generation.sampling(), &prompt, TOKENS).await.unwrap());
        let mut chosen = Vec::new();
        for at in 0..POSITIONS {
            let inputs = decoder.inputs(at..at + 1);
            let request = RunRequest { choose: true, ..RunRequest::all_of(&inputs) };
            let pending = loaded.model.submit(&request, Some(&mut states), &Stop::new(None)).await.unwrap();
            let found = pending.read().await.unwrap();
            let expected = generation.choose(found.outputs[0].1.as_f32().unwrap()).unwrap();
            assert_eq!(found.token, Some(expected), "{way:?}, token {at}, behind {chosen:?}");
            chosen.push(expected);
        }
        console_log!("{chosen:?}");
    }
    ran_on_webgpu(&devices.gpu(false).await.unwrap().adapter);
}

#[wasm_bindgen_test]
async fn scores_that_are_not_finite_choose_nothing() {
    let mut devices = Devices::default();
    let decoder = decoder();
    let mut loaded = Loaded::new(&mut devices, &decoder, Platform::Webgpu).await;
    let pipeline = Pipeline::new(Graph::default(), 1000, None);
    for way in ways().into_iter().take(3) {
        let generation = Generation::new(&GenerationConfig::default(), &way, &[0], &pipeline).unwrap();
        let mut states = loaded.states();
        assert!(states.begin_text(generation.sampling(), &[0], TOKENS).await.unwrap());
        let inputs = largest(&decoder.inputs(0..1));
        let request = RunRequest { choose: true, wanted: Some(&[]), ..RunRequest::all_of(&inputs) };
        let pending = loaded.model.submit(&request, Some(&mut states), &Stop::new(None)).await.unwrap();
        let refused = pending.read().await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFinite, "{refused}");
    }
}
