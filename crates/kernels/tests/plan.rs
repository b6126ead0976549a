//! Every kernel that the op problems need, on adapters of several kinds, checked without a GPU.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;

use webnibble_common::graph::{Bindings, Graph};
use webnibble_common::quant::Format;
use webnibble_common::weights::{WeightData, WeightMap};
use webnibble_kernels::plan::{BufferKind, DeviceCaps, Formats, PlanError, PlanOptions, Recording, WeightPlan, lower};
use webnibble_kernels::problems::{Problem, problems};
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
    let plan = WeightPlan::new(&problem.graph, &formats(&problem.weights), caps.storage_binding_bytes).unwrap();
    lower(&problem.graph, &plan, &bindings(problem), caps, options).unwrap()
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
    for (caps, half_tiles) in [(DeviceCaps::CORE, false), (SOFTWARE, false), (LARGE_GPU, false), (LARGE_GPU, true)] {
        for problem in problems() {
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
    for problem in problems() {
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
    let error = WeightPlan::new(&problem.graph, &formats, 1024).unwrap_err();
    assert!(matches!(error, PlanError::BindingTooLarge { limit: 1024, .. }), "{error}");
    let error = WeightPlan::new(&problem.graph, &Formats::new(), 1 << 30).unwrap_err();
    assert!(matches!(error, PlanError::MissingWeight(_)), "{error}");

    let plan = WeightPlan::new(&problem.graph, &formats, 1 << 30).unwrap();
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
    let plan = WeightPlan::new(&graph, &formats, 1 << 20).unwrap();
    assert_eq!(plan.total_bytes(), 0);
    let recording = lower(&graph, &plan, &Bindings::default(), &DeviceCaps::CORE, &PlanOptions::default()).unwrap();
    assert_eq!(recording, Recording::default());
}
