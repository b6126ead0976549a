//! Every op problem on the WebNN of this browser, against the reference; buckets; and what happens when things go wrong.
//!
//! In a browser without a WebNN backend each test says so and does nothing; `scripts/wasm-test.sh --webnn` runs them in
//! one that has it.

use std::rc::Rc;

use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};
use webnibble_common::options::{ExecutionProvider, Platform};
use webnibble_common::quant::Bits;
use webnibble_common::tensor::Tensor;
use webnibble_common::weights::WeightData;
use webnibble_common::wire::{ErrorCode, LoadOptions};
use webnibble_kernels::plan::Formats;
use webnibble_kernels::problems::{Problem, decoder_problems, encoder_problems, int8_problems, problems};
use webnibble_kernels::webnn::{Candidate, Lowering, Ranges};

use super::super::outcome::RunRequest;
use super::super::testing::{encoder_of_two_outputs, overflowing, scaled};
use super::context::limits_json;
use super::memory::Fastest;
use super::{Context, Model, check_devices};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Largest error, relative to the reference's largest value, of graphs in half precision.
const HALF_TOLERANCE: f64 = 2e-2;

/// A context, or why there is none.
async fn context() -> Option<Rc<Context>> {
    match Context::open(None).await {
        Ok(context) => Some(Rc::new(context)),
        Err(error) => {
            console_log!("skipped: {}", error.message);
            None
        }
    }
}

/// Destroys the context, as a crashed GPU process would.
fn lose(context: &Context) {
    context.ml.destroy().unwrap();
}

fn formats(problem: &Problem) -> Formats {
    let matrices = problem.weights.iter().filter_map(|(name, weight)| match weight {
        WeightData::Matrix(matrix) => Some((name.clone(), matrix.layout.format)),
        WeightData::Vector(_) => None,
    });
    matrices.collect()
}

/// The problem's model with one lowering, whether or not a package would be run so.
fn model(context: &Rc<Context>, problem: &Problem, lowering: Lowering) -> Model {
    let candidates = vec![Candidate { lowering, exact: true }];
    let mut model = Model::with_candidates(context, problem.graph.clone(), formats(problem), Ranges::new(), candidates);
    model.weights = problem.weights.clone();
    model
}

async fn solve(context: &Rc<Context>, problem: &Problem, (lowering, parts): (Lowering, usize)) -> Result<f64, String> {
    let mut model = model(context, problem, lowering);
    model.ask_for_parts(parts);
    let found = model.run(&problem.inputs).await.map_err(|e| format!("{}: {}", problem.name, e.message))?;
    problem.check(&found.outputs)
}

/// Solves all of them and panics with a list of those that are wrong.
async fn solve_all(problems: &[Problem], lowering: Lowering) {
    solve_all_in(problems, lowering, 1).await;
}

/// The same, in parts that are computed side by side.
async fn solve_all_in(problems: &[Problem], lowering: Lowering, parts: usize) {
    let Some(context) = context().await else { return };
    let (mut failures, mut worst) = (Vec::new(), (0f64, ""));
    for problem in problems {
        match solve(&context, problem, (lowering, parts)).await {
            Ok(error) if error > worst.0 => worst = (error, &problem.name),
            Ok(_) => {}
            Err(message) => failures.push(message),
        }
    }
    console_log!(
        "{lowering}, at most {parts} parts: {} op problems, largest error {:e} in {}",
        problems.len(),
        worst.0,
        worst.1
    );
    assert!(failures.is_empty(), "{} of {} wrong:\n{}", failures.len(), problems.len(), failures.join("\n"));
    assert!(!problems.is_empty(), "nothing was solved");
    console_log!("ran on webnn: the device of the context's own choice");
}

fn encoder(name: &str) -> Problem {
    problems().into_iter().find(|problem| problem.name.starts_with(name)).expect("there is such an encoder")
}

#[wasm_bindgen_test]
async fn webnn_op_problems_dequantized_once() {
    solve_all(&encoder_problems(), Lowering::Float32).await;
}

#[wasm_bindgen_test]
async fn webnn_op_problems_in_parts_side_by_side() {
    solve_all_in(&encoder_problems(), Lowering::Float32, 2).await;
}

/// An encoder of one sequence, whose rows are divided, with a length that is padded.
#[wasm_bindgen_test]
async fn webnn_rows_of_a_sequence_are_computed_side_by_side() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    for (seq, lowering, parts) in [
        (61, Lowering::Float32, 2),
        (100, Lowering::Float32, 3),
        (48, Lowering::Float32, 3),
        (20, Lowering::Float32, 2),
        (61, Lowering::HalfCompute, 2),
    ] {
        let ids = Tensor::u32([1, seq], (0..seq as u32).map(|index| index * 7 % 101).collect()).unwrap();
        let mask = Tensor::u32([1, seq], (0..seq).map(|index| u32::from(index % 5 != 3)).collect()).unwrap();
        let inputs = vec![("input_ids".to_owned(), ids), ("attention_mask".to_owned(), mask)];
        let mut model = model(&context, &problem, lowering);
        model.ask_for_parts(parts);
        let found = model.run(&inputs).await.unwrap().outputs;
        let tolerance = if lowering == Lowering::HalfCompute { HALF_TOLERANCE } else { problem.tolerance };
        Problem { inputs, tolerance, ..problem.clone() }.check(&found).unwrap();
        assert_eq!(model.webnn().unwrap().parallel_parts, Some(parts), "{seq} tokens");
        assert_eq!(
            model.variants()["linear"],
            format!("{}: 8", if lowering == Lowering::HalfCompute { "float16" } else { "float32" })
        );
    }
}

#[wasm_bindgen_test]
async fn webnn_op_problems_in_the_memory_of_their_format() {
    solve_all(&encoder_problems(), Lowering::Dequantize).await;
}

#[wasm_bindgen_test]
async fn webnn_op_problems_with_half_precision_constants() {
    solve_all(&encoder_problems(), Lowering::Float16).await;
}

#[wasm_bindgen_test]
async fn webnn_linear_operators_in_int8() {
    let Some(context) = context().await else { return };
    let (mut failures, mut worst) = (Vec::new(), 0f64);
    for case in int8_problems() {
        let mut model = model(&context, &case.problem, Lowering::Int8);
        model.ranges = case.activations.linears.clone();
        let found = model.run(&case.problem.inputs).await.unwrap();
        assert_eq!(model.variants()["linear"], "int8 chain: 1");
        assert_eq!(model.activation_bits(), Bits::B8);
        match case.check(&found.outputs) {
            Ok(error) => worst = worst.max(error),
            Err(message) => failures.push(message),
        }
    }
    console_log!("int8: largest error {worst:e}");
    assert!(failures.is_empty(), "wrong:\n{}", failures.join("\n"));
}

/// Half precision is for whole models: single operators are given values far outside of its range.
#[wasm_bindgen_test]
async fn webnn_encoders_in_half_precision() {
    let mut encoders: Vec<Problem> =
        problems().into_iter().filter(|problem| problem.name.starts_with("encoder")).collect();
    encoders.iter_mut().for_each(|problem| problem.tolerance = HALF_TOLERANCE);
    solve_all(&encoders, Lowering::HalfCompute).await;
}

#[wasm_bindgen_test]
async fn webnn_lengths_share_the_graph_of_their_bucket() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    let mut model = model(&context, &problem, Lowering::Float32);
    let mut run = async |seq: usize, expected_graphs: usize| {
        let ids = Tensor::u32([2, seq], (0..2 * seq as u32).map(|index| index * 7 % 101).collect()).unwrap();
        let mask = Tensor::u32([2, seq], (0..2 * seq).map(|index| u32::from(index % 5 != 3)).collect()).unwrap();
        let inputs = vec![("input_ids".to_owned(), ids), ("attention_mask".to_owned(), mask)];
        let found = model.run(&inputs).await.unwrap().outputs;
        assert_eq!(model.built.len(), expected_graphs, "{seq} tokens");
        let given = Problem { inputs, ..problem.clone() };
        given.check(&found).unwrap();
        assert_eq!(found[0].1.shape()[..2], [2, seq]);
    };
    run(5, 1).await;
    run(16, 1).await;
    run(17, 2).await;
    run(32, 2).await;
    run(2, 2).await;
    // As many positions as there are, and not the next bucket's.
    run(129, 3).await;
    let error = model.run(&[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadInput);
    assert!(model.weights_bytes() > 0);
    assert_eq!(model.built.last().unwrap().bucket.bindings.symbol("seq"), Some(129));
}

#[wasm_bindgen_test]
async fn webnn_conversations_are_refused() {
    let Some(context) = context().await else { return };
    // The one whose attention comes first: rotary positions are refused too.
    let decoder = &decoder_problems().unwrap()[2];
    let problem = Problem { graph: decoder.graph.clone(), inputs: decoder.inputs(0..2), ..decoder.whole.clone() };
    let mut model = model(&context, &problem, Lowering::Float32);
    let error = model.run(&problem.inputs).await.unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        (ErrorCode::Unsupported, "attention with a cache does not run on WebNN yet")
    );
    let error = super::super::Model::WebNn(model).new_states(1).err().expect("there are none");
    assert_eq!(error.code, ErrorCode::Unsupported);
}

#[wasm_bindgen_test]
async fn webnn_outputs_that_nobody_wants_are_not_read() {
    let Some(context) = context().await else { return };
    let problem = encoder_of_two_outputs(&encoder("encoder f32"));
    for parts in [1, 2] {
        let mut model = model(&context, &problem, Lowering::Float32);
        model.ask_for_parts(parts);
        let all = model.run(&problem.inputs).await.unwrap().outputs;
        problem.check(&all).unwrap();
        for (index, (name, _)) in all.iter().enumerate() {
            let wanted = [name.clone()];
            let request = RunRequest { wanted: Some(&wanted), ..RunRequest::all_of(&problem.inputs) };
            let found = model.submit(&request).await.unwrap().read().await.unwrap();
            assert_eq!(found.outputs, all[index..=index], "in {parts} parts");
        }
    }
}

#[wasm_bindgen_test]
async fn webnn_what_is_no_number_is_found_whether_it_is_read_or_not() {
    let Some(context) = context().await else { return };
    let (problem, inputs) = overflowing();
    let mut model = model(&context, &problem, Lowering::Float32);
    let output = problem.graph.value_of(problem.graph.outputs[0]).name.clone();
    for wanted in [None, Some(&[][..])] {
        let request = RunRequest { wanted, ..RunRequest::all_of(&inputs) };
        let error = model.submit(&request).await.unwrap().read().await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFinite, "{error:?}");
        assert!(error.message.contains(&format!("output `{output}` should be finite numbers, found")), "{error:?}");
        let request = RunRequest { inputs: &problem.inputs, ..request };
        model.submit(&request).await.unwrap().read().await.unwrap();
    }
}

#[wasm_bindgen_test]
async fn webnn_several_inferences_are_in_flight() {
    let Some(context) = context().await else { return };
    let problem = problems().into_iter().find(|problem| problem.name.starts_with("linear f32")).unwrap();
    let mut model = model(&context, &problem, Lowering::Float32);
    let halved = scaled(&problem, 0.5);
    let expected = model.run(&halved).await.unwrap().outputs;
    let first = model.submit(&RunRequest::all_of(&problem.inputs)).await.unwrap();
    let second = model.submit(&RunRequest::all_of(&halved)).await.unwrap();
    drop(model.submit(&RunRequest::all_of(&problem.inputs)).await.unwrap());
    assert_eq!(second.read().await.unwrap().outputs, expected);
    problem.check(&first.read().await.unwrap().outputs).unwrap();
}

#[wasm_bindgen_test]
async fn webnn_bytes_are_those_of_the_formats() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder q8-sym-channel");
    let mut bytes = Vec::new();
    for lowering in [Lowering::Float32, Lowering::Dequantize] {
        let mut model = model(&context, &problem, lowering);
        model.run(&problem.inputs).await.unwrap();
        bytes.push(model.weights_bytes());
        let info = model.webnn().unwrap();
        assert_eq!(info.lowering, lowering.name());
        assert!(info.operators["gemm"] == 8 && info.operators["softmax"] == 2, "{:?}", info.operators);
        let stored = if lowering == Lowering::Dequantize { "int8: 8" } else { "float32: 8" };
        assert_eq!(model.variants()["linear"], stored);
    }
    assert!(bytes[1] * 2 < bytes[0], "{bytes:?}");
}

#[wasm_bindgen_test]
async fn webnn_lowerings_are_chosen_by_measuring_once() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder q8-sym-channel");
    let both = [Lowering::Float32, Lowering::Dequantize];
    let candidates: Vec<_> = both.iter().map(|lowering| Candidate { lowering: *lowering, exact: true }).collect();
    for known in [false, true] {
        assert_eq!(!context.fastest.borrow().is_empty(), known);
        let (graph, formats) = (problem.graph.clone(), formats(&problem));
        let mut model = Model::with_candidates(&context, graph, formats, Ranges::new(), candidates.clone());
        model.weights = problem.weights.clone();
        model.finish_load().await.unwrap();
        assert_eq!((model.candidates.len(), model.built.len()), (1, 1));
        let fastest: Vec<_> = context.fastest.borrow().values().copied().collect();
        assert_eq!(fastest, [Fastest { lowering: model.candidates[0].lowering, parts: model.parts }]);
        let found = model.run(&problem.inputs).await.unwrap();
        problem.check(&found.outputs).unwrap();
    }
    // What is known does not stand against what is asked for.
    let asked = vec![Candidate { lowering: Lowering::HalfCompute, exact: false }];
    let mut model = Model::with_candidates(&context, problem.graph.clone(), formats(&problem), Ranges::new(), asked);
    model.weights = problem.weights.clone();
    model.finish_load().await.unwrap();
    assert_eq!(model.webnn().unwrap().lowering, "float16-compute");
    assert_eq!(context.fastest.borrow().len(), 2, "nor does what was asked for stand for what is the fastest");
}

#[wasm_bindgen_test]
async fn webnn_what_was_the_fastest_is_remembered_by_the_next_page() {
    if context().await.is_none() {
        return;
    }
    let problem = encoder("encoder q8-sym-channel");
    let lowerings = [Lowering::Float32, Lowering::HalfCompute];
    let candidates: Vec<_> = lowerings.map(|lowering| Candidate { lowering, exact: true }).to_vec();
    // Another context is what another page would have, or this one after the browser's service died.
    let load = async |asked: Option<u32>| {
        let context = Rc::new(Context::open(None).await.unwrap());
        let (graph, formats) = (problem.graph.clone(), formats(&problem));
        let mut model = Model::with_candidates(&context, graph, formats, Ranges::new(), candidates.clone());
        model.weights = problem.weights.clone();
        asked.into_iter().for_each(|parts| model.ask_for_parts(parts as usize));
        let built = model.finish_load().await.unwrap();
        (model, built.choosing_ms.is_some())
    };
    // What was forced is kept for nobody.
    assert_eq!(load(Some(1)).await.0.webnn().unwrap().choice.as_deref(), Some("measured"));
    let (first, measured) = load(None).await;
    assert_eq!((first.webnn().unwrap().choice.as_deref(), measured), (Some("measured"), true));
    let (second, measured) = load(None).await;
    let (was, is) = (first.webnn().unwrap(), second.webnn().unwrap());
    assert_eq!((is.choice.as_deref(), measured), (Some("remembered"), false));
    assert_eq!((is.lowering, is.parallel_parts), (was.lowering, was.parallel_parts));
}

#[wasm_bindgen_test]
async fn webnn_what_is_remembered_and_does_not_build_is_measured_anew() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    let lowerings = [Lowering::Float32, Lowering::Dequantize];
    let candidates: Vec<_> = lowerings.map(|lowering| Candidate { lowering, exact: true }).to_vec();
    let mut model =
        Model::with_candidates(&context, problem.graph.clone(), formats(&problem), Ranges::new(), candidates);
    // Without weights no graph can be built, whatever is remembered; with them it is measured.
    let fastest = Fastest { lowering: Lowering::Dequantize, parts: 2 };
    context.fastest.borrow_mut().insert(model.speed_key(), fastest);
    assert!(model.finish_load().await.is_err());
    assert_eq!((model.candidates.len(), model.parts), (2, 1), "what failed is no choice any more");
    model.weights = problem.weights.clone();
    context.fastest.borrow_mut().clear();
    model.finish_load().await.unwrap();
    assert_eq!(model.webnn().unwrap().choice.as_deref(), Some("measured"));
}

#[wasm_bindgen_test]
async fn webnn_a_lost_context_is_an_error_and_not_a_hang() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    let mut model = model(&context, &problem, Lowering::Float32);
    model.run(&problem.inputs).await.unwrap();
    lose(&context);
    let error = model.run(&problem.inputs).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceLost, "{error:?}");
    assert!(context.is_lost());
    let mut devices = crate::backend::Devices::default();
    let first = devices.webnn(None).await.unwrap();
    lose(&first);
    let mut model = self::model(&first, &problem, Lowering::Float32);
    assert_eq!(model.run(&problem.inputs).await.unwrap_err().code, ErrorCode::DeviceLost);
    let second = devices.webnn(None).await.unwrap();
    assert!(!Rc::ptr_eq(&first, &second));
    self::model(&second, &problem, Lowering::Float32).run(&problem.inputs).await.unwrap();
}

#[wasm_bindgen_test]
async fn webnn_another_device_than_the_one_asked_for_is_an_error() {
    let Ok(context) = Context::open(Some(ExecutionProvider::Npu)).await else {
        console_log!("skipped: this browser has no context for an npu, which is an error already");
        return;
    };
    let reported = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let npu = Some(ExecutionProvider::Npu);
    let code = |names: &[&str]| check_devices(npu, reported(names).as_deref()).err().map(|error| error.code);
    assert_eq!(code(&["cpu"]), Some(ErrorCode::Unsupported));
    assert_eq!(code(&["npu", "cpu"]), None);
    assert!(check_devices(Some(ExecutionProvider::Cpu), None).is_ok(), "a browser that says nothing is believed");
    let problem = encoder("encoder f32");
    let mut model = model(&Rc::new(context), &problem, Lowering::Float32);
    match model.run(&problem.inputs).await {
        Ok(_) => assert!(model.webnn().unwrap().reported_devices.is_none_or(|names| names.contains(&"npu".to_owned()))),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Unsupported, "{error:?}");
            assert!(error.message.contains("npu") && error.message.contains("cpu"), "{}", error.message);
        }
    }
}

#[wasm_bindgen_test]
async fn webnn_a_device_that_is_only_preferred_gives_way() {
    let Ok(context) = Context::open(Some(ExecutionProvider::Npu)).await else {
        console_log!("skipped: this browser has no context for an npu");
        return;
    };
    let problem = encoder("encoder f32");
    let mut model = model(&Rc::new(context), &problem, Lowering::Float32);
    model.asked.prefer_device = true;
    model.run(&problem.inputs).await.unwrap();
    let reported = model.webnn().unwrap().reported_devices;
    let elsewhere = reported.is_some_and(|names| !names.contains(&"npu".to_owned()));
    let told: Vec<_> = model.adjustments().into_iter().map(|one| (one.option, one.value)).collect();
    let expected = ("execution_provider".to_owned(), serde_json::Value::Null);
    assert_eq!(told, if elsewhere { vec![expected] } else { Vec::new() });
}

#[wasm_bindgen_test]
async fn webnn_int8_and_parts_that_were_asked_for_and_not_computed_are_told() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    let mut model = model(&context, &problem, Lowering::Float32);
    model.asked.settings.activation_bits = Bits::B8;
    model.asked.settings.threads = Some(3);
    model.run(&problem.inputs).await.unwrap();
    let told = model.adjustments();
    let options: Vec<_> = told.iter().map(|one| (one.option.as_str(), one.value.clone())).collect();
    assert_eq!(options, [("activation_bits", 32.into()), ("threads", 1.into())]);
    assert!(told[0].reason.contains("not calibrated"), "{}", told[0].reason);
}

#[wasm_bindgen_test]
async fn webnn_building_and_choosing_are_timed_apart() {
    let Some(context) = context().await else { return };
    let problem = encoder("encoder f32");
    let mut one = model(&context, &problem, Lowering::Float32);
    one.ask_for_parts(1);
    let built = one.finish_load().await.unwrap();
    assert!(built.compile_ms.unwrap() > 0.0 && built.choosing_ms.is_none(), "{built:?}");
    let both = [Lowering::Float32, Lowering::HalfCompute].map(|lowering| Candidate { lowering, exact: false });
    let mut two = model(&context, &problem, Lowering::Float32);
    two.candidates = both.to_vec();
    two.ask_for_parts(1);
    let built = two.finish_load().await.unwrap();
    assert!(built.compile_ms.unwrap() > 0.0 && built.choosing_ms.unwrap() > 0.0, "{built:?}");
}

#[wasm_bindgen_test]
async fn webnn_an_operator_that_the_context_refuses_is_named() {
    let Some(context) = context().await else { return };
    let mut limits = limits_json(&context.ml).unwrap();
    limits = limits.replace("\"gelu\"", "\"hidden\"");
    let mut context = Rc::into_inner(context).unwrap();
    context.limits = webnibble_kernels::webnn::Limits::from_json(&limits).unwrap();
    let problem = encoder("encoder f32");
    let error = model(&Rc::new(context), &problem, Lowering::Float32).run(&problem.inputs).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains("gelu"), "{}", error.message);
}

#[wasm_bindgen_test]
async fn webnn_a_browser_without_it_says_so() {
    match Context::open(LoadOptions::on(Platform::Webnn).settings.execution_provider).await {
        Ok(_) => console_log!("skipped: this browser has WebNN"),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::WebnnUnavailable, "{error:?}");
            assert!(error.hint.contains("WebMachineLearningNeuralNetwork"));
        }
    }
}
