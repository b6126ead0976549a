//! Conversations with small decoders, on every platform that has them: what they give is what all positions at once give.

use std::ops::Range;

use wasm_bindgen_test::{console_log, wasm_bindgen_test};
use webnibble_common::options::Platform;
use webnibble_common::package::{Header, Parsed};
use webnibble_common::wire::{ErrorCode, LoadOptions, RemoteError};
use webnibble_kernels::problems::{DECODER_POSITIONS, DecoderProblem, decoder_problems};

use super::outcome::RunRequest;
use super::testing::largest;
use super::{Devices, Model, Pending, States};
use crate::plane_sink::PlaneSink;
use crate::stop::Stop;
use crate::testing::{package, ran_on_webgpu};

const PLATFORMS: [Platform; 2] = [Platform::Webgpu, Platform::Wasm];

/// A decoder in a backend.
pub(super) struct Loaded {
    decoder: DecoderProblem,
    pub(super) model: Model,
}

impl Loaded {
    pub(super) async fn new(devices: &mut Devices, decoder: &DecoderProblem, platform: Platform) -> Self {
        let file = package(&decoder.graph, &decoder.whole.weights, serde_json::Value::Null, None, &[]);
        let Ok(Parsed::Header(header)) = Header::parse(&file) else { panic!("no header") };
        let options = LoadOptions::on(platform);
        let mut model = Model::new(devices, decoder.graph.clone(), &header, &options).await.unwrap();
        for plane in &header.planes {
            let view = model.begin_plane(plane).unwrap();
            view.copy_from(&file[plane.begin as usize..plane.end as usize]);
            model.finish_plane(plane, &view).unwrap();
        }
        model.finish_load().await.unwrap();
        Self { decoder: decoder.clone(), model }
    }

    pub(super) fn states(&self) -> States {
        self.model.new_states(self.decoder.batch).unwrap()
    }

    async fn submit(&mut self, states: &mut States, at: Range<usize>) -> Result<Pending, RemoteError> {
        let inputs = self.decoder.inputs(at);
        self.model.submit(&RunRequest::all_of(&inputs), Some(states), &Stop::new(None)).await
    }

    /// Runs the next positions of a conversation, which have to be these; the error of what comes.
    async fn run(&mut self, states: &mut States, at: Range<usize>) -> f64 {
        assert_eq!(states.past(), at.start);
        let pending = self.submit(states, at.clone()).await.unwrap();
        assert_eq!(states.past(), at.end);
        self.check(pending, at).await
    }

    async fn check(&self, pending: Pending, at: Range<usize>) -> f64 {
        let found = pending.read().await.unwrap();
        self.decoder.check(at, &found.outputs).unwrap()
    }
}

/// Blocks of positions, and recordings that are bound, of a conversation on a GPU.
fn on_gpu(states: &States) -> Option<(usize, usize)> {
    match states {
        States::WebGpu(states) => Some((states.blocks(), states.bound())),
        States::Cpu(_) => None,
    }
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_position_by_position_as_all_at_once() {
    let mut devices = Devices::default();
    for platform in PLATFORMS {
        for decoder in &decoder_problems().unwrap() {
            let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
            let mut states = loaded.states();
            let mut worst = 0f64;
            // Over the end of a block by single positions, and by several.
            for at in [0..7, 7..8, 8..126, 126..127, 127..128, 128..129, 129..131, 131..140] {
                worst = worst.max(loaded.run(&mut states, at).await);
            }
            assert_eq!(loaded.model.adjustments(), [], "nothing was cut");
            console_log!("{} on {platform}: largest error {worst:e}", decoder.whole.name);
            if let Some(blocks) = on_gpu(&states) {
                // Of the shapes since it grew: of one position, two and nine.
                assert_eq!(blocks, (2, 3));
            }
        }
    }
    ran_on_webgpu(&devices.gpu(false).await.unwrap().adapter);
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_growth_leaves_everything_where_it_was() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[0];
    for platform in PLATFORMS {
        let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
        let mut states = loaded.states();
        let mut blocks = vec![on_gpu(&states)];
        for at in [0..100, 100..200, 200..256, 256..257, 257..258, 258..DECODER_POSITIONS] {
            loaded.run(&mut states, at).await;
            blocks.push(on_gpu(&states));
        }
        let blocks: Vec<_> = blocks.into_iter().flatten().map(|(blocks, _)| blocks).collect();
        assert!(platform == Platform::Wasm || blocks == [0, 1, 2, 2, 3, 3, 3], "{blocks:?}");
    }
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_conversations_do_not_know_of_one_another() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[2];
    for platform in PLATFORMS {
        let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
        let [mut first, mut second] = [loaded.states(), loaded.states()];
        loaded.run(&mut first, 0..127).await;
        loaded.run(&mut second, 0..3).await;
        for step in 0..4 {
            // Both over one recording, in flight at the same time; the first grows meanwhile.
            let (of_first, of_second) = (127 + step..128 + step, 3 + step..4 + step);
            let one = loaded.submit(&mut first, of_first.clone()).await.unwrap();
            let other = loaded.submit(&mut second, of_second.clone()).await.unwrap();
            loaded.check(other, of_second).await;
            loaded.check(one, of_first).await;
        }
    }
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_positions_that_are_dropped_are_written_anew() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[0];
    for platform in PLATFORMS {
        let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
        let mut states = loaded.states();
        loaded.run(&mut states, 0..127).await;
        // What was said in vain, into the next block.
        loaded.submit(&mut states, 0..40).await.unwrap().read().await.unwrap();
        states.set_past(127);
        loaded.run(&mut states, 127..128).await;
        loaded.run(&mut states, 128..129).await;
        states.set_past(90);
        loaded.run(&mut states, 90..91).await;
        states.set_past(200);
        assert_eq!(states.past(), 91, "positions that do not count are not made to");
    }
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_what_is_no_number_is_dropped_with_its_positions() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[0];
    for platform in PLATFORMS {
        let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
        let mut states = loaded.states();
        loaded.run(&mut states, 0..20).await;
        let inputs = largest(&decoder.inputs(20..28));
        let begun = loaded.model.submit(&RunRequest::all_of(&inputs), Some(&mut states), &Stop::new(None)).await;
        let ended = match begun {
            Ok(pending) => pending.read().await.map(drop),
            // The CPU has computed it by now.
            Err(failed) => Err(failed),
        };
        match ended {
            Err(failed) => assert_eq!(failed.code, ErrorCode::NotFinite, "{failed:?}"),
            // WGSL lets adapters take every float for finite, and attention may lose what is none: the states have it all the same.
            Ok(()) => assert_ne!(platform, Platform::Wasm, "sums of the largest float overflow"),
        }
        states.set_past(20);
        loaded.run(&mut states, 20..21).await;
        loaded.run(&mut states, 21..23).await;
    }
}

#[wasm_bindgen_test]
async fn webgpu_and_cpu_what_a_conversation_cannot_take_leaves_it_as_it_was() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[1];
    for platform in PLATFORMS {
        let mut loaded = Loaded::new(&mut devices, decoder, platform).await;
        let mut states = loaded.states();
        loaded.run(&mut states, 0..139).await;
        let refused = async |loaded: &mut Loaded, states: &mut States| {
            let error = loaded.submit(states, 0..2).await.err().expect("it is refused");
            assert_eq!(error.code, ErrorCode::BadInput, "{error:?}");
            error.message
        };
        let full = refused(&mut loaded, &mut states).await;
        assert!(full.contains("has room for 140 positions, found 141"), "{full}");
        let mut one = loaded.model.new_states(1).unwrap();
        let other = refused(&mut loaded, &mut one).await;
        assert!(other.starts_with("the states are of a batch of 1, found 2"), "{other}");
        assert_eq!(states.past(), 139);
        loaded.run(&mut states, 139..140).await;

        let inputs = loaded.decoder.inputs(0..1);
        let none = loaded.model.submit(&RunRequest::all_of(&inputs), None, &Stop::new(None)).await;
        assert_eq!(none.err().expect("it is in no conversation").code, ErrorCode::BadInput);
    }
}

#[wasm_bindgen_test]
async fn webgpu_states_are_those_of_their_model_and_freed_with_their_conversation() {
    let mut devices = Devices::default();
    let decoder = &decoder_problems().unwrap()[0];
    let mut loaded = Loaded::new(&mut devices, decoder, Platform::Webgpu).await;
    let before = loaded.model.gpu_peak_bytes().unwrap();
    let [mut kept, mut dropped] = [loaded.states(), loaded.states()];
    loaded.run(&mut kept, 0..8).await;
    loaded.run(&mut dropped, 0..8).await;
    // Two layers of keys and values, a block of two heads of 16 columns each.
    let block = 2 * 2 * 128 * 2 * 16 * 4;
    assert!(loaded.model.gpu_peak_bytes().unwrap() > before + 2 * block);
    let held = |loaded: &Loaded| match &loaded.model {
        Model::WebGpu(model) => model.state_bytes(),
        _ => panic!("it was asked for on a GPU"),
    };
    assert_eq!(held(&loaded), 2 * block);
    drop(dropped);
    assert_eq!(held(&loaded), block);
    loaded.run(&mut kept, 8..9).await;

    let mut other = Loaded::new(&mut devices, decoder, Platform::Webgpu).await;
    let mut cpu = Loaded::new(&mut devices, decoder, Platform::Wasm).await;
    for elsewhere in [&mut other, &mut cpu] {
        let error = elsewhere.submit(&mut kept, 9..10).await.err().expect("they are another model's");
        assert_eq!(error.code, ErrorCode::BadInput, "{error:?}");
    }
    loaded.run(&mut kept, 9..10).await;
}
