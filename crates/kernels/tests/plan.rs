//! Every kernel that the op problems need, on adapters of several kinds, checked without a GPU.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::{BTreeMap, BTreeSet};

use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::quant::Format;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_kernels::LinearParams;
use webnibble_kernels::plan::{
    Binding, BufferKind, Chunking, DeviceCaps, Formats, PlanError, PlanOptions, Recording, WeightPlan, kernels, lower,
};
use webnibble_kernels::problems::{DecoderProblem, Problem, decoder_problems, problems};
use webnibble_kernels::shaders::Kernel;

/// Storage buffers that every adapter binds in one stage.
const STORAGE_BINDINGS: usize = 8;

const SOFTWARE: DeviceCaps = DeviceCaps { software: true, subgroups: true, ..DeviceCaps::CORE };
const LARGE_GPU: DeviceCaps = DeviceCaps {
    f16: true,
    subgroups: true,
    workgroup_storage_bytes: 48 << 10,
    invocations: 1024,
    storage_binding_bytes: 2 << 30,
    buffer_bytes: 2 << 30,
    subgroup_size: Some(32),
    ..DeviceCaps::CORE
};

fn formats(weights: &WeightMap) -> Formats {
    let format = |w: &WeightData| match w {
        WeightData::Matrix(matrix) => Some(matrix.layout.format),
        WeightData::Vector(_) => None,
    };
    weights.iter().filter_map(|(name, w)| Some((name.clone(), format(w)?))).collect()
}

fn bindings(problem: &Problem) -> Bindings {
    let given: Vec<_> = problem.inputs.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape())).collect();
    problem.graph.bind(&given).unwrap()
}

fn record(problem: &Problem, caps: &DeviceCaps, options: &PlanOptions) -> Recording {
    try_record(problem, caps, options).unwrap()
}

/// Decoders with caches, at one position and at many.
fn decoders() -> Vec<Problem> {
    let at = |decoder: &DecoderProblem, count| {
        let inputs = decoder.inputs(0..count);
        Problem { graph: decoder.graph.clone(), inputs, ..decoder.whole.clone() }
    };
    decoder_problems().unwrap().iter().flat_map(|decoder| [at(decoder, 1), at(decoder, 200)]).collect()
}

fn try_record(problem: &Problem, caps: &DeviceCaps, options: &PlanOptions) -> Result<Recording, PlanError> {
    let plan = WeightPlan::new(&problem.graph, &formats(&problem.weights), caps, options)?;
    lower(&problem.graph, &plan, &bindings(problem), caps, options)
}

/// Parses and validates a kernel; its invocations and bytes of workgroup memory.
fn validate(kernel: &Kernel) -> Result<(usize, usize), String> {
    let text = kernel.source()?.replace("enable subgroups;", "");
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| format!("{kernel}: {}", e.emit_to_string(&text)))?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .validate(&module)
        .map_err(|e| format!("{kernel}: {}", e.emit_to_string(&text)))?;
    let invocations = module.entry_points[0].workgroup_size.iter().product::<u32>() as usize;
    let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
    let bytes = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()) as usize).sum();
    Ok((invocations, bytes))
}

#[test]
fn kernels_validate_and_keep_the_adapters_limits() {
    let mut failures = Vec::new();
    let mut checked = BTreeSet::new();
    let with_storage = |workgroup_storage_bytes| (DeviceCaps { workgroup_storage_bytes, ..LARGE_GPU }, true);
    let adapters = [(DeviceCaps::CORE, false), (SOFTWARE, false), (LARGE_GPU, false), (LARGE_GPU, true)];
    for (caps, half_tiles) in adapters.into_iter().chain([with_storage(32 << 10), with_storage(16 << 10)]) {
        for problem in problems().into_iter().chain(decoders()) {
            for dispatch in record(&problem, &caps, &PlanOptions { half_tiles, ..PlanOptions::default() }).dispatches {
                if !checked.insert((dispatch.kernel.clone(), caps.workgroup_storage_bytes)) {
                    continue;
                }
                match validate(&dispatch.kernel) {
                    Err(error) => failures.push(error),
                    Ok((invocations, bytes)) => {
                        if invocations > caps.invocations || bytes > caps.workgroup_storage_bytes {
                            failures.push(format!("{}: {invocations} invocations, {bytes} bytes", dispatch.kernel));
                        }
                    }
                }
            }
        }
    }
    assert!(checked.len() > 100, "only {} kernels were checked", checked.len());
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), checked.len(), failures.join("\n"));
}

#[test]
fn dispatches_bind_few_buffers_and_never_read_what_they_write() {
    for problem in problems().into_iter().chain(decoders()) {
        let recording = record(&problem, &DeviceCaps::CORE, &PlanOptions::default());
        for dispatch in &recording.dispatches {
            let storage: Vec<_> = dispatch.bindings.iter().filter(|b| b.buffer.is_some()).collect();
            assert!(storage.len() <= STORAGE_BINDINGS, "{}: {} buffers", problem.name, storage.len());
            // The output is the binding with the highest number.
            let output = storage.iter().max_by_key(|b| b.number).unwrap();
            let others = storage.iter().filter(|b| b.number != output.number);
            assert!(others.clone().all(|b| b.buffer != output.buffer), "{}: {dispatch:?}", problem.name);
            for binding in &dispatch.bindings {
                assert_eq!(binding.offset % 256, 0, "{}", problem.name);
                let end = binding.offset + binding.bytes;
                let size = binding.buffer.map_or(recording.uniforms.len(), |id| recording.buffers[id.0].bytes);
                assert!(end <= size, "{}: {binding:?} of {size}", problem.name);
            }
        }
    }
}

#[test]
fn portable_plans_use_no_feature() {
    for problem in problems() {
        let options = PlanOptions { portable: true, half_tiles: true, ..PlanOptions::default() };
        for dispatch in record(&problem, &LARGE_GPU, &options).dispatches {
            assert!(!dispatch.kernel.flags.iter().any(|f| ["F16", "SUBGROUPS"].contains(f)), "{}", dispatch.kernel);
        }
    }
}

#[test]
fn one_recording_serves_every_step_of_a_conversation() {
    for problem in decoders() {
        let recording = record(&problem, &DeviceCaps::CORE, &PlanOptions::default());
        let states: Vec<_> =
            recording.buffers.iter().filter(|buffer| matches!(buffer.kind, BufferKind::State(_))).collect();
        let kinds: Vec<_> = states.iter().map(|buffer| buffer.kind).collect();
        assert_eq!(kinds, [0, 1, 2, 3].map(BufferKind::State), "{}", problem.name);
        let [batch, positions, _] = problem.inputs[0].1.shape() else { panic!("rows of a sequence") };
        for (state, buffer) in problem.graph.states.iter().zip(&states) {
            let elements: usize = state.shape.iter().map(|dim| Bindings::default().extent(dim).unwrap()).product();
            // A block, however many there will be.
            assert_eq!((&buffer.label, buffer.bytes), (&state.name, batch * 128 * elements * 4));
        }
        assert_eq!(recording.buffers.iter().filter(|buffer| buffer.kind == BufferKind::Step).count(), 1);
        let touching: Vec<_> = recording.dispatches.iter().filter(|d| recording.is_of_conversation(d)).collect();
        let with_states: Vec<_> = touching.iter().filter(|dispatch| dispatch.kernel.file != "rotary").collect();
        let files: Vec<_> = with_states.iter().map(|dispatch| dispatch.kernel.file).collect();
        // One query of heads that the kernel for it has.
        let is_step = files.contains(&"attention_step");
        assert_eq!(is_step, *positions == 1 && !problem.name.contains("x 6"), "{}", problem.name);
        let expected = if is_step { ["attention_step", "attention_join"] } else { ["attention_cache", "attention"] };
        assert_eq!(files, expected.repeat(2), "{}", problem.name);
        let is_turned = recording.dispatches.iter().any(|dispatch| dispatch.kernel.file == "rotary");
        assert!(!(is_step && is_turned), "attention turns one query itself");
        // Nothing depends on how many positions there were before, and all is sized by those of the run.
        let writes = with_states[0].workgroups;
        assert_eq!(writes[2], *batch as u32);
        assert!(is_step || writes[1] == *positions as u32);
        let own: usize = recording.buffers.iter().map(|buffer| buffer.bytes).sum();
        assert!(recording.activation_bytes() < own + recording.uniforms.len());
    }
}

fn encoder() -> Problem {
    problems().into_iter().max_by_key(|p| p.graph.nodes.len()).unwrap()
}

#[test]
fn an_encoder_layer_takes_at_most_eight_dispatches_and_buffers_are_reused() {
    let problem = encoder();
    let recording = record(&problem, &DeviceCaps::CORE, &PlanOptions::default());
    let layers = problem.graph.nodes.iter().filter(|n| n.op.name() == "attention").count();
    assert!(layers > 1);
    assert!(recording.dispatches.len() <= 8 * layers + 2, "{} dispatches", recording.dispatches.len());
    let scratch = recording.buffers.iter().filter(|b| b.kind == BufferKind::Scratch).count();
    assert!(scratch <= 4, "{scratch} scratch buffers for {layers} layers");
}

#[test]
fn what_does_not_fit_is_named_with_its_size() {
    let problem = encoder();
    let formats = formats(&problem.weights);
    let none = Formats::new();
    let weights = |formats, caps, options| WeightPlan::new(&problem.graph, formats, caps, options);
    let (core, whole) = (DeviceCaps::CORE, PlanOptions { chunking: None, ..PlanOptions::default() });
    let small = DeviceCaps { storage_binding_bytes: 1024, ..core };
    let error = weights(&formats, &small, &whole).unwrap_err();
    assert!(matches!(error, PlanError::BindingTooLarge { limit: 1024, .. }), "{error}");
    let small = DeviceCaps { buffer_bytes: 1024, ..core };
    let error = weights(&formats, &small, &whole).unwrap_err();
    assert!(matches!(error, PlanError::BufferTooLarge { limit: 1024, .. }), "{error}");
    let error = weights(&none, &core, &whole).unwrap_err();
    assert!(matches!(error, PlanError::MissingWeight(_)), "{error}");

    let plan = weights(&formats, &core, &PlanOptions::default()).unwrap();
    let few = DeviceCaps { workgroups_per_dimension: 1, ..DeviceCaps::CORE };
    let error = lower(&problem.graph, &plan, &bindings(&problem), &few, &PlanOptions::default()).unwrap_err();
    assert!(matches!(error, PlanError::TooManyWorkgroups { limit: 1, .. }), "{error}");
    let empty = Bindings::new([("batch", 0), ("seq", 4)]);
    let error = lower(&problem.graph, &plan, &empty, &DeviceCaps::CORE, &PlanOptions::default()).unwrap_err();
    assert!(matches!(error, PlanError::Empty(_)), "{error}");
}

#[test]
fn an_empty_graph_has_no_dispatches() {
    let graph = Graph::default();
    let formats = Formats::from([("unused".to_owned(), Format::F16)]);
    let plan = WeightPlan::new(&graph, &formats, &DeviceCaps::CORE, &PlanOptions::default()).unwrap();
    assert_eq!(plan.total_bytes(), 0);
    let recording = lower(&graph, &plan, &Bindings::default(), &DeviceCaps::CORE, &PlanOptions::default()).unwrap();
    assert_eq!(recording, Recording::default());
}

/// Limits that a problem does not keep by itself: less than its largest binding, buffers just large enough for values.
fn tight(problem: &Problem) -> DeviceCaps {
    let recording = record(problem, &DeviceCaps::CORE, &PlanOptions::default());
    let largest = recording.dispatches.iter().flat_map(|d| &d.bindings).map(|b| b.bytes).max().unwrap();
    let values = recording.buffers.iter().filter(|b| !matches!(b.kind, BufferKind::Weights(_)));
    let storage_binding_bytes = largest * 3 / 5 / 256 * 256;
    let buffer_bytes = values.map(|b| b.bytes).max().unwrap().max(storage_binding_bytes);
    DeviceCaps { storage_binding_bytes, buffer_bytes, ..DeviceCaps::CORE }
}

#[test]
fn chunked_operations_bind_nothing_over_the_limit() {
    let (mut cut, mut refused, mut split) = (BTreeMap::<_, usize>::new(), 0, 0);
    for problem in problems() {
        let caps = tight(&problem);
        let recording = match try_record(&problem, &caps, &PlanOptions::default()) {
            Ok(recording) => recording,
            // So few rows or items that no part of them begins aligned.
            Err(PlanError::BindingTooLarge { .. } | PlanError::BufferTooLarge { .. }) => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("{}: {error}", problem.name),
        };
        for dispatch in &recording.dispatches {
            for binding in &dispatch.bindings {
                let size = binding.buffer.map_or(recording.uniforms.len(), |id| recording.buffers[id.0].bytes);
                assert!(binding.bytes <= caps.storage_binding_bytes, "{}: {dispatch:?}", problem.name);
                assert!(binding.offset % 256 == 0 && binding.offset + binding.bytes <= size, "{}", problem.name);
            }
        }
        assert!(recording.buffers.iter().all(|buffer| buffer.bytes <= caps.buffer_bytes), "{}", problem.name);
        assert!(recording.dispatches.len() > problem.graph.nodes.len(), "{} is not cut", problem.name);
        *cut.entry(problem.name.split(' ').next().unwrap().to_owned()).or_default() += 1;
        let whole = record(&problem, &DeviceCaps::CORE, &PlanOptions::default());
        split += usize::from(recording.buffers.len() > whole.buffers.len());
    }
    println!("cut: {cut:?}, {split} of them with a weight in several buffers; {refused} cannot be");
    let kinds: Vec<_> = cut.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["attention", "class_token", "embedding", "gate", "linear", "norm", "patches", "pool", "rotary"]);
    assert!(split > 0);
}

#[test]
fn parts_of_a_product_make_every_output_once() {
    let chunkings = [
        Chunking { binding_bytes: 32 << 10, ..Chunking::BY_ADAPTER },
        Chunking { multiply_adds: 1 << 20, ..Chunking::BY_ADAPTER },
        Chunking { multiply_adds: 1 << 16, ..Chunking::BY_ADAPTER },
    ];
    let linear = problems().into_iter().filter(|p| p.graph.nodes.len() == 1 && p.graph.nodes[0].op.name() == "linear");
    for problem in linear {
        let whole = record(&problem, &DeviceCaps::CORE, &PlanOptions::default());
        let [m, n, k] = extents(&whole, 0);
        for chunking in chunkings {
            let options = PlanOptions { chunking: Some(chunking), ..PlanOptions::default() };
            let recording = record(&problem, &DeviceCaps::CORE, &options);
            let mut made = vec![false; m * n];
            for (index, dispatch) in recording.dispatches.iter().enumerate() {
                let [rows, columns, depth] = extents(&recording, index);
                // As many as alignment takes may be over the budget.
                let least = rows <= 64 && columns <= 1024;
                assert!(rows * columns * depth <= chunking.multiply_adds || least, "{}: {dispatch:?}", problem.name);
                let first = dispatch.bindings.last().unwrap().offset / 4;
                assert_eq!((depth, dispatch.bindings.last().unwrap().number), (k, 8));
                for at in (0..rows).flat_map(|row| (0..columns).map(move |column| first + row * n + column)) {
                    assert!(!std::mem::replace(&mut made[at], true), "{}: {at} is made twice", problem.name);
                }
            }
            assert!(made.iter().all(|made| *made), "{}: {chunking:?}", problem.name);
        }
    }
}

/// Rows, columns and depth of a linear dispatch, from its uniforms.
fn extents(recording: &Recording, dispatch: usize) -> [usize; 3] {
    let Binding { offset, bytes, .. } = recording.dispatches[dispatch].bindings[0];
    let params: LinearParams = bytemuck::pod_read_unaligned(&recording.uniforms[offset..offset + bytes]);
    [params.m, params.n, params.k].map(|extent| extent as usize)
}

#[test]
fn a_careful_plan_is_the_same_for_models_of_usual_size() {
    let problem = encoder();
    let careful = PlanOptions { chunking: Some(Chunking::CAREFUL), ..PlanOptions::default() };
    let caps = DeviceCaps::CORE;
    assert_eq!(record(&problem, &caps, &careful), record(&problem, &caps, &PlanOptions::default()));
}

#[test]
fn the_workgroup_size_reaches_every_kernel_that_takes_one() {
    for asked in [16, 256] {
        let options = PlanOptions { workgroup_size: Some(asked), ..PlanOptions::default() };
        let mut files = BTreeSet::new();
        let on = |caps: &DeviceCaps| -> Vec<_> {
            problems().iter().flat_map(|problem| record(problem, caps, &options).dispatches).collect()
        };
        for dispatch in on(&SOFTWARE).into_iter().chain(on(&DeviceCaps::CORE)) {
            let size = dispatch.kernel.constants.iter().find(|(name, _)| *name == "WG").map(|(_, size)| *size);
            // The threads of these go with their tiles.
            if !["attention", "linear_tiles"].contains(&dispatch.kernel.file) {
                assert_eq!(size, Some(asked), "{}", dispatch.kernel);
                assert_eq!(validate(&dispatch.kernel).unwrap().0, asked as usize);
                files.insert(dispatch.kernel.file);
            }
        }
        assert_eq!(files.into_iter().collect::<Vec<_>>(), TAKE_A_SIZE);
    }
    let options = PlanOptions { workgroup_size: Some(512), ..PlanOptions::default() };
    let error = try_record(&encoder(), &DeviceCaps::CORE, &options).unwrap_err();
    assert_eq!(error, PlanError::WorkgroupTooLarge { asked: 512, limit: 256 });
}

/// Kernels whose work does not depend on how many threads share it.
const TAKE_A_SIZE: [&str; 9] =
    ["class_token", "embedding", "gate", "linear_direct", "linear_rows", "norm", "patches", "pool", "rotary"];

#[test]
fn kernels_built_ahead_are_those_that_any_shape_takes() {
    let problem = encoder();
    let options = PlanOptions::default();
    for caps in [DeviceCaps::CORE, SOFTWARE, LARGE_GPU] {
        let plan = WeightPlan::new(&problem.graph, &formats(&problem.weights), &caps, &options).unwrap();
        let ahead = kernels(&problem.graph, &plan, &caps, &options);
        for (batch, seq) in (1..40).flat_map(|batch| (1..=129).step_by(8).map(move |seq| (batch, seq))) {
            let bindings = Bindings::new([("batch", batch), ("seq", seq)]);
            for dispatch in lower(&problem.graph, &plan, &bindings, &caps, &options).unwrap().dispatches {
                assert!(ahead.contains(&dispatch.kernel), "{batch} × {seq}: {}", dispatch.kernel);
            }
        }
    }
}
