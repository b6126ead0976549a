//! Every op problem on the adapter of this browser, against the reference; and what happens when things go wrong.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::FutureExt;
use js_sys::Uint8Array;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};
use webnibble_common::graph::ValueId;
use webnibble_common::package::Part;
use webnibble_common::tensor::element_count;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_common::wire::{ErrorCode, RemoteError};
use webnibble_kernels::plan::{Chunking, DeviceCaps, Formats, PlanOptions, Tiling};
use webnibble_kernels::problems::{Problem, decoder_problems, problems};

use super::super::outcome::RunRequest;
use super::super::testing::{encoder_of_two_outputs, overflowing, scaled};
use super::awake::Awake;
use super::memory::Memory;
use super::{Gpu, Model};
use crate::sys::next_task;
use crate::tasks::within;
use crate::testing::ran_on_webgpu;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Largest error, relative to the reference's largest value, of kernels that keep tiles in f16.
const HALF_TOLERANCE: f64 = 1e-2;

thread_local! {
    /// One device for all tests that leave it whole: its pipelines are built once.
    static SHARED: RefCell<Option<Rc<Gpu>>> = const { RefCell::new(None) };
}

async fn gpu() -> Rc<Gpu> {
    if let Some(gpu) = SHARED.with_borrow(Option::clone) {
        return gpu;
    }
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    SHARED.set(Some(Rc::clone(&gpu)));
    gpu
}

/// The planes of every weight, as a package has them.
fn planes(weights: &WeightMap) -> Vec<(&str, Part, Vec<u8>)> {
    let mut planes = Vec::new();
    for (name, weight) in weights {
        match weight {
            WeightData::Matrix(matrix) => {
                planes.push((name.as_str(), Part::Packed, matrix.packed.clone()));
                planes.push((name.as_str(), Part::Scale, matrix.scale_plane()));
                planes.push((name.as_str(), Part::Zero, matrix.zero_plane()));
            }
            WeightData::Vector(values) => {
                let mut bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                bytes.resize(bytes.len().next_multiple_of(16), 0);
                planes.push((name.as_str(), Part::Packed, bytes));
            }
        }
    }
    planes.retain(|(_, _, bytes)| !bytes.is_empty());
    planes
}

async fn load(gpu: &Rc<Gpu>, problem: &Problem, options: PlanOptions) -> Model {
    try_load(gpu, problem, options, false).await.unwrap()
}

async fn try_load(
    gpu: &Rc<Gpu>,
    problem: &Problem,
    options: PlanOptions,
    precompile: bool,
) -> Result<Model, RemoteError> {
    let mut formats = Formats::new();
    for (name, weight) in &problem.weights {
        if let WeightData::Matrix(matrix) = weight {
            formats.insert(name.clone(), matrix.layout.format);
        }
    }
    let mut model = Model::with_formats(gpu, problem.graph.clone(), &formats, options, precompile)?;
    for (name, part, bytes) in planes(&problem.weights) {
        let view: Uint8Array = model.map_plane(name, part, bytes.len())?;
        view.copy_from(&bytes);
        model.seal_plane(name, part, &view)?;
    }
    model.finish_load().await?;
    Ok(model)
}

/// Runs a problem and gives its error.
async fn solve(gpu: &Rc<Gpu>, problem: &Problem, options: PlanOptions) -> Result<f64, String> {
    let mut model = load(gpu, problem, options).await;
    let found = model.run(&problem.inputs, false).await.map_err(|e| format!("{}: {}", problem.name, e.message))?;
    problem.check(&found.outputs)
}

/// Solves all of them and panics with a list of those that are wrong.
async fn solve_all(what: &str, problems: &[Problem], options: PlanOptions) {
    solve_all_on(&gpu().await, what, problems, options).await;
}

async fn solve_all_on(gpu: &Rc<Gpu>, what: &str, problems: &[Problem], options: PlanOptions) {
    let (mut failures, mut worst) = (Vec::new(), (0f64, ""));
    for problem in problems {
        match solve(gpu, problem, options).await {
            Ok(error) if error > worst.0 => worst = (error, &problem.name),
            Ok(_) => {}
            Err(message) => failures.push(message),
        }
    }
    console_log!("{what}: {} op problems, largest error {:e} in {}", problems.len(), worst.0, worst.1);
    assert!(failures.is_empty(), "{} of {} wrong:\n{}", failures.len(), problems.len(), failures.join("\n"));
    assert!(!problems.is_empty(), "nothing was solved");
    ran_on_webgpu(&gpu.adapter);
}

fn linear_problems() -> Vec<Problem> {
    problems().into_iter().filter(|p| p.graph.nodes.len() == 1 && p.graph.nodes[0].op.name() == "linear").collect()
}

/// A device that takes the kernels which hardware takes. A software adapter runs them too, and chooses others since it builds
/// these slowly.
async fn as_hardware() -> Rc<Gpu> {
    let mut gpu = Gpu::open(false).await.expect("this browser has WebGPU");
    gpu.caps.software = false;
    Rc::new(gpu)
}

/// A few of each format: a software adapter takes seconds to build a pipeline of large tiles.
fn some_linear_problems() -> Vec<Problem> {
    let linear = linear_problems();
    let step = if linear.len() > 60 { linear.len() / 8 } else { 1 };
    linear.into_iter().step_by(step).collect()
}

#[wasm_bindgen_test]
async fn op_problems_with_what_the_adapter_has() {
    solve_all("native kernels", &problems(), PlanOptions::default()).await;
}

#[wasm_bindgen_test]
async fn op_problems_with_portable_kernels() {
    solve_all("portable kernels", &problems(), PlanOptions { portable: true, ..PlanOptions::default() }).await;
}

#[wasm_bindgen_test]
async fn linear_problems_in_the_tiles_of_hardware() {
    solve_all_on(&as_hardware().await, "tiles", &linear_problems(), PlanOptions::default()).await;
}

/// Operators of few rows that are computed by one of them.
fn folding_problems() -> Vec<Problem> {
    let is_of =
        |problem: &Problem| problem.graph.nodes.iter().all(|n| ["norm", "linear", "gate"].contains(&n.op.name()));
    problems().into_iter().filter(|p| p.graph.nodes.len() > 1 && is_of(p)).collect()
}

#[wasm_bindgen_test]
async fn few_rows_compute_what_is_beside_them() {
    let folding = folding_problems();
    let options = PlanOptions { tiling: Tiling::Rows, ..PlanOptions::default() };
    solve_all("few rows", &folding, options).await;
    let some: Vec<_> = folding.iter().step_by(5).cloned().collect();
    solve_all("few rows, portable", &some, PlanOptions { portable: true, ..options }).await;
    let model = load(&gpu().await, &folding[0], options).await;
    let lone = |problem: &Problem| {
        let given: Vec<_> = problem.inputs.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape())).collect();
        let recording = model.lower(&problem.graph.bind(&given).unwrap()).unwrap();
        recording.dispatches.len()
    };
    assert_eq!(lone(&folding[0]), 1, "{}", folding[0].name);
}

#[wasm_bindgen_test]
async fn linear_problems_in_every_tiling() {
    let tilings = [
        Tiling::Fixed(64, 64, 16, 1),
        Tiling::Fixed(32, 32, 16, 4),
        Tiling::Fixed(16, 32, 16, 4),
        Tiling::Fixed(32, 64, 32, 2),
        Tiling::Rows,
        Tiling::Direct,
    ];
    for tiling in tilings {
        let options = PlanOptions { tiling, ..PlanOptions::default() };
        solve_all(&format!("{tiling:?}"), &some_linear_problems(), options).await;
    }
}

#[wasm_bindgen_test]
async fn linear_problems_with_half_precision_tiles() {
    if !gpu().await.adapter.features.iter().any(|f| f == "shader-f16") {
        console_log!("skipped: this adapter has no shader-f16");
        return;
    }
    let options = PlanOptions { half_tiles: true, ..PlanOptions::default() };
    let mut problems = linear_problems();
    for problem in &mut problems {
        problem.tolerance = HALF_TOLERANCE;
    }
    solve_all("half-precision tiles", &problems, options).await;
}

#[wasm_bindgen_test]
async fn shapes_are_prepared_once_and_runs_repeat_to_the_bit() {
    let gpu = gpu().await;
    let problem = &linear_problems()[0];
    let mut model = load(&gpu, problem, PlanOptions::default()).await;
    let first = model.run(&problem.inputs, false).await.unwrap();
    let given: Vec<_> = problem.inputs.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape())).collect();
    let bindings = problem.graph.bind(&given).unwrap();
    assert_eq!(model.prepare(&bindings).await.unwrap(), 0.0);
    let second = model.run(&problem.inputs, false).await.unwrap();
    assert_eq!(first.outputs, second.outputs);
    assert_eq!(model.dispatches(), Some(1));
}

#[wasm_bindgen_test]
async fn profiling_times_every_dispatch() {
    let gpu = gpu().await;
    if !gpu.has_timestamps() {
        console_log!("skipped: this adapter has no timestamp-query");
        return;
    }
    let problem = problems().into_iter().max_by_key(|p| p.graph.nodes.len()).unwrap();
    let mut model = load(&gpu, &problem, PlanOptions::default()).await;
    let outcome = model.run(&problem.inputs, true).await.unwrap();
    let kernels = outcome.kernels.unwrap();
    assert_eq!(kernels.len(), problem.graph.nodes.len());
    assert!(kernels.iter().all(|k| k.ms >= 0.0 && k.bytes > 0), "{kernels:?}");
    assert!(outcome.gpu_ms.unwrap() >= 0.0);
}

#[wasm_bindgen_test]
async fn a_lost_device_is_an_error_and_not_a_hang() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let problem = &linear_problems()[0];
    let mut model = load(&gpu, problem, PlanOptions::default()).await;
    model.run(&problem.inputs, false).await.unwrap();
    gpu.lose();
    let error = model.run(&problem.inputs, false).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceLost, "{error:?}");
    assert!(!error.hint.is_empty());
    assert!(gpu.is_lost());
}

#[wasm_bindgen_test]
async fn a_run_that_nobody_waits_for_leaves_the_next_one_whole() {
    let gpu = gpu().await;
    let problem = &linear_problems()[0];
    let mut model = load(&gpu, problem, PlanOptions::default()).await;
    model.run(&problem.inputs, false).await.unwrap();
    // The shape is prepared, so that this submits the work and begins to read what it gives.
    assert!(model.run(&problem.inputs, false).now_or_never().is_none());
    let found = model.run(&problem.inputs, false).await.unwrap();
    problem.check(&found.outputs).unwrap();
}

#[wasm_bindgen_test]
async fn outputs_that_nobody_wants_are_not_read() {
    let problem = encoder_of_two_outputs(&encoder());
    let mut model = load(&gpu().await, &problem, PlanOptions::default()).await;
    let all = model.run(&problem.inputs, false).await.unwrap().outputs;
    problem.check(&all).unwrap();
    for (index, (name, _)) in all.iter().enumerate() {
        let wanted = [name.clone()];
        let request = RunRequest { wanted: Some(&wanted), ..RunRequest::all_of(&problem.inputs) };
        let found = model.submit(&request, None).await.unwrap().read().await.unwrap();
        assert_eq!(found.outputs, all[index..=index]);
    }
}

#[wasm_bindgen_test]
async fn what_is_no_number_is_found_on_the_device_as_it_is_by_reading() {
    let (problem, inputs) = overflowing();
    let mut model = load(&gpu().await, &problem, PlanOptions::default()).await;
    let read = model.run(&inputs, false).await.unwrap_err();
    assert_eq!(read.code, ErrorCode::NotFinite, "{read:?}");
    assert!(read.message.contains("should be finite numbers, found "), "{read:?}");
    let request = RunRequest { wanted: Some(&[]), ..RunRequest::all_of(&inputs) };
    let unread = model.submit(&request, None).await.unwrap().read().await.unwrap_err();
    assert_eq!((read.code, read.message), (unread.code, unread.message));
    // What an inference found is not the next one's.
    let request = RunRequest { inputs: &problem.inputs, ..request };
    assert!(model.submit(&request, None).await.unwrap().read().await.unwrap().outputs.is_empty());
}

#[wasm_bindgen_test]
async fn several_inferences_are_in_flight_and_those_dropped_give_back_what_they_held() {
    let problem = &linear_problems()[0];
    let mut model = load(&gpu().await, problem, PlanOptions::default()).await;
    let halved = scaled(problem, 0.5);
    let expected = model.run(&halved, false).await.unwrap().outputs;
    let first = model.submit(&RunRequest::all_of(&problem.inputs), None).await.unwrap();
    let second = model.submit(&RunRequest::all_of(&halved), None).await.unwrap();
    let dropped = model.submit(&RunRequest::all_of(&problem.inputs), None).await.unwrap();
    assert_eq!(model.prepared[0].recorded.spare_readbacks(), 0);
    drop(dropped);
    assert_eq!(second.read().await.unwrap().outputs, expected);
    problem.check(&first.read().await.unwrap().outputs).unwrap();
    assert_eq!(model.prepared[0].recorded.spare_readbacks(), 3);
    problem.check(&model.run(&problem.inputs, false).await.unwrap().outputs).unwrap();
    assert_eq!(model.prepared[0].recorded.spare_readbacks(), 3);
}

/// A software adapter takes pokes as well, though none are sent to it.
#[wasm_bindgen_test]
async fn pokes_change_nothing_and_are_all_taken() {
    let gpu = gpu().await;
    let problem = encoder();
    let mut model = load(&gpu, &problem, PlanOptions::default()).await;
    let awake = Awake::new(&gpu.device).unwrap();
    let found = awake.during(model.run(&problem.inputs, false), || false).await.unwrap();
    problem.check(&found.outputs).unwrap();
    let all_taken = async {
        while awake.outstanding() > 0 {
            next_task().await;
        }
    };
    assert!(within(10_000.0, all_taken).await.is_some(), "{} pokes were never taken", awake.outstanding());
}

/// Makes the browser refuse buffers of one label, as it does when memory runs out: nothing is thrown, the buffer is of no
/// use.
const REFUSE_BUFFERS: &str = r"
    const real = GPUDevice.prototype.createBuffer;
    GPUDevice.prototype.createBuffer = function (descriptor) {
        const refused = descriptor.label === 'refused';
        return real.call(this, refused ? { ...descriptor, usage: 0, mappedAtCreation: false } : descriptor);
    };
    globalThis.mend = () => { GPUDevice.prototype.createBuffer = real; };
";

#[wasm_bindgen_test]
async fn a_failed_allocation_is_told_to_its_own_model() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let problem = &linear_problems()[0];
    let loading = Memory::new(&gpu);
    js_sys::eval(REFUSE_BUFFERS).unwrap();
    let refused = loading.weight_buffer("refused", 16).unwrap();
    js_sys::eval("globalThis.mend()").unwrap();
    // Another model on the same device loads and runs meanwhile.
    let mut other = load(&gpu, problem, PlanOptions::default()).await;
    let found = other.run(&problem.inputs, false).await.unwrap();
    problem.check(&found.outputs).unwrap();
    let failed = loading.check().await.unwrap_err();
    drop(refused);
    assert_eq!(failed.code, ErrorCode::Validation);
    assert!(failed.message.contains("refused"), "{failed:?}");
}

#[wasm_bindgen_test]
async fn a_buffer_over_the_limit_is_an_error_with_its_size() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let bytes = gpu.adapter.limits["maxStorageBufferBindingSize"] * 64;
    let memory = Memory::new(&gpu);
    let error = match memory.weight_buffer("too large", bytes) {
        Err(error) => error,
        Ok(_) => memory.check().await.unwrap_err(),
    };
    assert!(matches!(error.code, ErrorCode::OutOfMemory | ErrorCode::Validation), "{error:?}");
    assert!(error.message.contains(&format!("{bytes} bytes for too large")), "{error:?}");
}

#[wasm_bindgen_test]
async fn a_plane_of_the_wrong_size_is_refused() {
    let gpu = gpu().await;
    let problem = &linear_problems()[0];
    let mut model = load(&gpu, problem, PlanOptions::default()).await;
    let name = problem.graph.weights[0].name.clone();
    let error = model.map_plane(&name, Part::Packed, 3).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadPackage);
    let error = model.map_plane("nothing", Part::Packed, 16).unwrap_err();
    assert!(error.message.contains("nothing"));
}

/// Bytes of the largest value between a problem's operators.
fn largest_value_bytes(problem: &Problem) -> usize {
    let given: Vec<_> = problem.inputs.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape())).collect();
    let bindings = problem.graph.bind(&given).unwrap();
    let bytes = |index| element_count(&problem.graph.shape(ValueId(index), &bindings).unwrap()) * 4;
    (0..problem.graph.values.len()).map(bytes).max().unwrap_or(0)
}

/// Solves problems that are cut into parts by `options`; the number of those that were.
async fn solve_in_parts(gpu: &Rc<Gpu>, problems: &[Problem], options: PlanOptions) -> usize {
    let (mut cut, mut failures) = (0, Vec::new());
    for problem in problems {
        let mut model = load(gpu, problem, options).await;
        let given: Vec<_> = problem.inputs.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape())).collect();
        let recording = model.lower(&problem.graph.bind(&given).unwrap()).unwrap();
        if recording.dispatches.len() == problem.graph.nodes.len() {
            continue;
        }
        cut += 1;
        match model.run(&problem.inputs, false).await {
            Err(error) => failures.push(format!("{}: {}", problem.name, error.message)),
            Ok(found) => failures.extend(problem.check(&found.outputs).err()),
        }
    }
    assert!(failures.is_empty(), "{} of {cut} wrong:\n{}", failures.len(), failures.join("\n"));
    cut
}

#[wasm_bindgen_test]
async fn op_problems_in_parts() {
    let mut gpu = Gpu::open(false).await.expect("this browser has WebGPU");
    // The values of problems that are tried fit such a buffer, and some weights do not.
    gpu.caps.buffer_bytes = 1 << 20;
    let gpu = Rc::new(gpu);
    let fits = |problem: &Problem| largest_value_bytes(problem) <= gpu.caps.buffer_bytes;
    let some: Vec<_> = problems().into_iter().filter(fits).step_by(2).collect();
    for (binding_bytes, multiply_adds, least) in [(40 << 10, usize::MAX, 20), (1 << 20, 1 << 18, 10)] {
        let chunking = Some(Chunking { binding_bytes, multiply_adds });
        let cut = solve_in_parts(&gpu, &some, PlanOptions { chunking, ..PlanOptions::default() }).await;
        console_log!("{cut} of {} op problems in parts", some.len());
        assert!(cut >= least, "only {cut} in parts");
    }
}

#[wasm_bindgen_test]
async fn conversations_in_parts() {
    let decoder = &decoder_problems().unwrap()[2];
    let problem = Problem { graph: decoder.graph.clone(), ..decoder.whole.clone() };
    // Four positions of one item, whose queries, keys and values lie side by side.
    let chunking = Some(Chunking { binding_bytes: 4 * 48 * 4, ..Chunking::BY_ADAPTER });
    let mut model = load(&gpu().await, &problem, PlanOptions { chunking, ..PlanOptions::default() }).await;
    let mut states = model.new_states(decoder.batch).unwrap();
    for at in [0..4, 4..8, 8..12] {
        let inputs = decoder.inputs(at.clone());
        let pending = model.submit(&RunRequest::all_of(&inputs), Some(&mut states)).await.unwrap();
        decoder.check(at, &pending.read().await.unwrap().outputs).unwrap();
    }
    let recording = &model.prepared[0].recorded.recording;
    let files: Vec<_> = recording.dispatches.iter().map(|dispatch| dispatch.kernel.file).collect();
    let of = |file: &str| files.iter().filter(|found| **found == file).count();
    assert_eq!((of("attention_cache"), of("attention")), (4, 4), "{files:?}");
}

#[wasm_bindgen_test]
async fn op_problems_with_a_workgroup_size() {
    let some: Vec<_> = problems().into_iter().step_by(17).collect();
    for size in [16, 256] {
        let options = PlanOptions { workgroup_size: Some(size), ..PlanOptions::default() };
        solve_all(&format!("workgroups of {size}"), &some, options).await;
    }
    let limit = gpu().await.caps.invocations as u32;
    let options = PlanOptions { workgroup_size: Some(limit * 2), ..PlanOptions::default() };
    let error = try_load(&gpu().await, &some[0], options, false).await.err().expect("no adapter has so many");
    assert_eq!(error.code, ErrorCode::BadOption);
    assert!(error.message.contains(&limit.to_string()), "{error:?}");
}

#[wasm_bindgen_test]
async fn a_core_device_has_no_features_and_the_limits_of_every_adapter() {
    let gpu = Rc::new(Gpu::open(true).await.expect("this browser has WebGPU"));
    // The name of core WebGPU itself, where a browser lists it.
    let features: Vec<_> = gpu.abilities.features.iter().filter(|f| *f != "core-features-and-limits").collect();
    assert!(features.is_empty(), "{features:?}");
    let expected = DeviceCaps { software: gpu.caps.software, ..DeviceCaps::CORE };
    assert_eq!(gpu.caps, expected);
    let problem = encoder();
    assert!(solve(&gpu, &problem, PlanOptions { portable: true, ..PlanOptions::default() }).await.is_ok());
}

/// The largest problem: a whole encoder.
fn encoder() -> Problem {
    problems().into_iter().max_by_key(|p| p.graph.nodes.len()).unwrap()
}

#[wasm_bindgen_test]
async fn a_precompiled_model_builds_nothing_at_its_first_inference() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let problem = encoder();
    let mut model = try_load(&gpu, &problem, PlanOptions::default(), true).await.unwrap();
    let built = gpu.pipeline_count();
    assert!(built > 0);
    let found = model.run(&problem.inputs, false).await.unwrap();
    problem.check(&found.outputs).unwrap();
    assert_eq!(gpu.pipeline_count(), built);

    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let mut model = load(&gpu, &problem, PlanOptions::default()).await;
    assert_eq!(gpu.pipeline_count(), 0);
    model.run(&problem.inputs, false).await.unwrap();
    assert!(gpu.pipeline_count() > 0);
}

#[wasm_bindgen_test]
async fn a_precompiled_decoder_builds_nothing_at_its_first_step_and_its_warming_up_is_in_no_conversation() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    let decoder = &decoder_problems().unwrap()[0];
    let problem = Problem { graph: decoder.graph.clone(), ..decoder.whole.clone() };
    let mut model = try_load(&gpu, &problem, PlanOptions::default(), true).await.unwrap();
    let built = gpu.pipeline_count();
    assert_eq!(model.state_bytes(), 0);
    let mut states = model.new_states(decoder.batch).unwrap();
    for at in [0..3, 3..4] {
        let inputs = decoder.inputs(at.clone());
        let pending = model.submit(&RunRequest::all_of(&inputs), Some(&mut states)).await.unwrap();
        decoder.check(at, &pending.read().await.unwrap().outputs).unwrap();
    }
    assert_eq!(gpu.pipeline_count(), built);
}

/// Makes the browser refuse kernels with an optional feature, as a driver does that claims one and cannot build it.
/// Every browser has subgroups or f16 here, if its adapter does.
const REFUSE_FEATURES: &str = r"
    const real = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
        const code = /^enable /m.test(descriptor.code) ? 'this is no kernel' : descriptor.code;
        return real.call(this, { ...descriptor, code });
    };
    globalThis.mend = () => { GPUDevice.prototype.createShaderModule = real; };
";

#[wasm_bindgen_test]
async fn a_kernel_that_does_not_build_is_replaced_by_a_portable_one() {
    let gpu = Rc::new(Gpu::open(false).await.expect("this browser has WebGPU"));
    if !gpu.caps.subgroups && !gpu.caps.f16 {
        console_log!("skipped: this adapter has no feature whose kernels could fail");
        return;
    }
    let problem = encoder();
    let options = PlanOptions { half_tiles: true, tiling: Tiling::Fixed(32, 32, 16, 1), ..PlanOptions::default() };
    js_sys::eval(REFUSE_FEATURES).unwrap();
    for precompile in [false, true] {
        let mut model = try_load(&gpu, &problem, options, precompile).await.unwrap();
        let found = model.run(&problem.inputs, false).await.unwrap();
        problem.check(&found.outputs).unwrap();
        let [adjustment] = &model.adjustments()[..] else { panic!("{:?}", model.adjustments()) };
        assert_eq!((adjustment.option.as_str(), &adjustment.value), ("portable_kernels", &true.into()));
        assert_eq!(adjustment.code, Some(ErrorCode::Validation));
        assert!(adjustment.reason.contains("failed to build"), "{adjustment:?}");
        assert!(model.variants().values().all(|v| !v.contains("SUBGROUPS") && !v.contains("F16")));
    }
    // Whoever does not want them gets the failure.
    let mut model = load(&gpu, &problem, options).await;
    model.retry_portable = false;
    let error = model.run(&problem.inputs, false).await.unwrap_err();
    js_sys::eval("globalThis.mend()").unwrap();
    assert_eq!(error.code, ErrorCode::Validation);
}

/// Makes the browser refuse its first adapters, as Chromium does for a moment after it started; `asked` says how often
/// it was asked, and ends it.
const REFUSE_FIRST: &str = r"
    const real = GPU.prototype.requestAdapter;
    let asked = 0;
    GPU.prototype.requestAdapter = function (options) {
        asked += 1;
        return asked <= 2 ? Promise.resolve(null) : real.call(this, options);
    };
    globalThis.asked = () => { GPU.prototype.requestAdapter = real; return asked; };
";

#[wasm_bindgen_test]
async fn an_adapter_that_comes_late_is_waited_for() {
    js_sys::eval(REFUSE_FIRST).unwrap();
    let opened = Gpu::open(false).await;
    let asked = js_sys::eval("globalThis.asked()").unwrap();
    assert!(opened.is_ok(), "{:?}", opened.err());
    assert_eq!(asked.as_f64(), Some(3.0));
}

#[wasm_bindgen_test]
async fn a_browser_that_never_gives_an_adapter_has_no_webgpu() {
    js_sys::eval("globalThis.real = GPU.prototype.requestAdapter; GPU.prototype.requestAdapter = async () => null;")
        .unwrap();
    let opened = Gpu::open(false).await;
    js_sys::eval("GPU.prototype.requestAdapter = globalThis.real;").unwrap();
    let problem = opened.err().expect("there is no adapter");
    assert_eq!(problem.code, ErrorCode::WebgpuUnavailable, "{problem:?}");
}
