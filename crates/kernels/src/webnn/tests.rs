//! Programs as data: what is in them, what their constants hold, and what contexts refuse. What they compute is tested
//! where they run, in a browser.

use std::collections::{BTreeMap, BTreeSet};

use webnibble_common::graph::{
    Activation, Attention, Bindings, Columns, Embedding, Graph, Linear, Normalization, Pool, Pooling, Role, ValueId,
};
use webnibble_common::quant::{
    ActivationScale, Bits, Format, Granularity, LinearActivations, QTensor, Quantizer, Scheme,
};
use webnibble_common::tensor::DType;
use webnibble_common::weights::{WeightData, WeightMap};

use super::*;
use crate::plan::Formats;
use crate::problems::{Problem, encoder_problems, problems};

const Q8: Format = Format { bits: Bits::B8, scheme: Scheme::Symmetric, granularity: Granularity::Channel };
const Q4: Format = Format { bits: Bits::B4, ..Q8 };

/// What Chromium's TFLite backend takes, as far as programs need it; without what `without` names.
fn limits(without: &[&str]) -> Limits {
    let floats = ["float32", "float16"];
    let all = ["float32", "float16", "int32", "uint32", "int8", "int4"];
    let operand = |types: &[&str]| {
        let types: Vec<_> = types.iter().filter(|name| !without.contains(name)).collect();
        serde_json::json!({ "dataTypes": types, "rankRange": { "min": 0, "max": 6 } })
    };
    let mut value = serde_json::json!({ "maxTensorByteLength": 2_147_483_647_u64 });
    for name in [
        "add",
        "sub",
        "mul",
        "div",
        "matmul",
        "gemm",
        "cast",
        "clamp",
        "gelu",
        "relu",
        "sigmoid",
        "tanh",
        "sqrt",
        "softmax",
        "layerNormalization",
        "reduceMax",
        "reduceMean",
        "reduceSum",
        "reduceL2",
        "reshape",
        "slice",
        "transpose",
    ] {
        if !without.contains(&name) {
            let types = if name == "cast" { &all[..5] } else { &floats[..] };
            value[name] = serde_json::json!({ "a": operand(types), "b": operand(types), "input": operand(types) });
        }
    }
    value["concat"] = serde_json::json!({ "inputs": operand(&floats) });
    value["gather"] = serde_json::json!({ "input": operand(&all[..5]), "indices": operand(&["int32", "uint32"]) });
    let (codes, scale) = (operand(&["int32", "int8", "int4"]), operand(&floats));
    value["dequantizeLinear"] = serde_json::json!({ "input": codes, "scale": scale, "zeroPoint": codes });
    value["quantizeLinear"] =
        serde_json::json!({ "input": scale, "scale": scale, "zeroPoint": operand(&["int32", "int8"]) });
    value["input"] = operand(&all);
    value["constant"] = operand(&all);
    Limits::from_json(&value.to_string()).unwrap()
}

fn target<'a>(limits: &'a Limits, lowering: Lowering, ranges: &'a Ranges) -> Target<'a> {
    Target { limits, lowering, ranges }
}

/// `y = gelu(x · wᵀ + b)`, 7 columns to 5.
fn linear() -> Graph {
    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["batch".into(), "seq".into(), 7.into()]);
    let weight = graph.weight("w", [5, 7], Role::Linear, &[]);
    let bias = Some(graph.weight("b", [5], Role::Vector, &[]));
    let y = graph.push("y", Linear { x, weight, bias, activation: Activation::Gelu, residual: None });
    graph.output(y);
    graph
}

fn lowered(graph: &Graph, format: Format, lowering: Lowering, ranges: &Ranges) -> Program {
    let limits = limits(&[]);
    let formats = Formats::from([("w".to_owned(), format)]);
    let bindings = Bindings::new([("batch", 2), ("seq", 3)]);
    lower(graph, &formats, &bindings, &target(&limits, lowering, ranges)).unwrap()
}

fn names(program: &Program) -> Vec<&'static str> {
    program.calls.iter().map(|call| call.operation.name()).collect()
}

fn ranges() -> Ranges {
    let scale = |scale, zero_point| ActivationScale { scale, zero_point, shifts: BTreeMap::new() };
    Ranges::from([("w".to_owned(), LinearActivations { input: scale(0.5, 3), output: scale(0.25, -7) })])
}

fn weights(matrix: QTensor) -> WeightMap {
    let bias = WeightData::Vector(vec![1.0, 2.0, 3.0, 4.0, 5.0]);
    WeightMap::from([("w".to_owned(), WeightData::Matrix(matrix)), ("b".to_owned(), bias)])
}

fn matrix(format: Format) -> QTensor {
    let values: Vec<f32> = (0..35).map(|index| (index as f32 * 0.7).sin()).collect();
    Quantizer::for_format(format).quantize(&values, &[5, 7]).unwrap()
}

#[test]
fn a_linear_operator_is_one_gemm() {
    let program = lowered(&linear(), Q8, Lowering::Float32, &Ranges::new());
    assert_eq!(names(&program), ["gemm", "gelu"]);
    assert_eq!((&program.inputs[0].shape[..], &program.inputs[0].value_shape[..]), (&[6, 7][..], &[2, 3, 7][..]));
    assert_eq!((&program.outputs[0].shape[..], &program.outputs[0].value_shape[..]), (&[6, 5][..], &[2, 3, 5][..]));
    assert_eq!(program.constant_bytes(), 4 * 35 + 4 * 5);
    assert_eq!(program.linears, BTreeMap::from([("float32", 1)]));
    let Arguments { given, options } = program.calls[0].operation.arguments();
    let names =
        |arguments: &[(&'static str, Argument<'_>)]| arguments.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!((names(&given), names(&options)), (vec!["a", "b"], vec!["c", "bTranspose"]));
    assert_eq!(options[1].1, Argument::Flag(&true));
}

#[test]
fn what_has_no_value_is_no_argument() {
    let clamp = Operation::Clamp { input: Operand(0), min: None, max: Some(6.0) };
    assert_eq!(clamp.arguments().options, [("maxValue", Argument::Number(&6.0))]);
    let gemm = Operation::Gemm { a: Operand(1), b: Operand(2), c: None, b_transpose: false };
    assert_eq!(gemm.arguments().options, [("bTranspose", Argument::Flag(&false))]);
    assert_eq!(gemm.operands(), [("a", Operand(1)), ("b", Operand(2))]);
    assert!(Operation::Gelu { input: Operand(0) }.arguments().options.is_empty());
}

#[test]
fn constants_take_the_bytes_of_their_format() {
    let bytes = |format, lowering| lowered(&linear(), format, lowering, &Ranges::new()).constant_bytes();
    assert_eq!(bytes(Format::F16, Lowering::Float16), 2 * 35 + 4 * 5);
    assert_eq!(bytes(Format::F16, Lowering::HalfCompute), 2 * 35 + 2 * 5);
    // Codes, scales and zero points, bias.
    assert_eq!(bytes(Q8, Lowering::Dequantize), 35 + (4 + 1) * 5 + 4 * 5);
    assert_eq!(bytes(Q4, Lowering::Dequantize), 18 + (4 * 5 + 3) + 4 * 5);
    // Nothing smaller than 4 bits: dequantized once.
    assert_eq!(bytes(Format { bits: Bits::B2, ..Q8 }, Lowering::Dequantize), 4 * 35 + 4 * 5);
}

#[test]
fn the_int8_chain_is_the_pattern_that_fuses() {
    let program = lowered(&linear(), Q8, Lowering::Int8, &ranges());
    assert_eq!(
        names(&program),
        [
            "quantizeLinear",
            "dequantizeLinear",
            "dequantizeLinear",
            "dequantizeLinear",
            "gemm",
            "quantizeLinear",
            "dequantizeLinear",
            "gelu"
        ]
    );
    assert_eq!(program.linears, BTreeMap::from([("int8 chain", 1)]));
    // Without ranges, or with a scale a group, the operator stays in floats.
    assert_eq!(names(&lowered(&linear(), Q8, Lowering::Int8, &Ranges::new())), ["gemm", "gelu"]);
    let grouped = Format { granularity: Granularity::Group(16), ..Q8 };
    assert_eq!(names(&lowered(&linear(), grouped, Lowering::Int8, &ranges())), ["gemm", "gelu"]);
}

#[test]
fn shifted_channels_are_multiplied_before_and_after() {
    let mut ranges = ranges();
    let of_w = ranges.get_mut("w").unwrap();
    of_w.input.shifts = BTreeMap::from([(2, 3)]);
    of_w.output.shifts = BTreeMap::from([(1, 4)]);
    let program = lowered(&linear(), Q8, Lowering::Int8, &ranges);
    let names = names(&program);
    assert_eq!((names[0], names[names.len() - 2]), ("mul", "mul"));
    let weights = weights(matrix(Q8));
    let mut maker = ConstantMaker::new(&weights, &ranges);
    let mut factors = |part| {
        let is_part = |c: &&Constant| matches!(&c.source, Source::Int8 { part: found, .. } if *found == part);
        maker.bytes(program.constants.iter().find(is_part).unwrap()).unwrap()
    };
    let mut expected = vec![1.0; 7];
    expected[2] = 0.125;
    assert_eq!(factors(Int8Part::InputFactors), Bytes::F32(expected));
    assert_eq!(factors(Int8Part::OutputFactors), Bytes::F32(vec![1.0, 16.0, 1.0, 1.0, 1.0]));
}

/// The values that codes, scales and zero points of a program stand for, in the format's groups.
fn undone(format: Format) -> (Vec<f32>, Vec<f32>) {
    let program = lowered(&linear(), format, Lowering::Dequantize, &Ranges::new());
    let matrix = matrix(format);
    let expected = matrix.dequantize();
    let (weights, ranges) = (weights(matrix), Ranges::new());
    let mut maker = ConstantMaker::new(&weights, &ranges);
    let mut part = |part| {
        let is_part = |c: &&Constant| matches!(&c.source, Source::Codes { part: found, .. } if *found == part);
        let constant = program.constants.iter().find(is_part).unwrap();
        let bytes = maker.bytes(constant).unwrap();
        assert_eq!(bytes.as_bytes().len() as u64, constant.size_bytes(), "{constant:?}");
        match bytes {
            Bytes::F32(values) => values,
            Bytes::I8(values) if constant.dtype == DataType::Int4 => {
                values.iter().flat_map(|pair| [(pair << 4) >> 4, pair >> 4]).map(f32::from).collect()
            }
            Bytes::I8(values) => values.into_iter().map(f32::from).collect(),
            other => panic!("{other:?}"),
        }
    };
    let (codes, scales, zeros) = (part(CodePart::Codes), part(CodePart::Scales), part(CodePart::Zeros));
    assert!(scales.iter().all(|scale| *scale > 0.0), "{scales:?}");
    let group = |index: usize| if scales.len() == 1 { 0 } else { index / 7 };
    let value = |index: usize| scales[group(index)] * (codes[index] - zeros[group(index)]);
    ((0..35).map(value).collect(), expected)
}

#[test]
fn codes_stand_for_the_stored_values_with_positive_scales() {
    for bits in [Bits::B8, Bits::B4] {
        for scheme in [Scheme::Symmetric, Scheme::Asymmetric] {
            for granularity in [Granularity::Tensor, Granularity::Channel] {
                let format = Format { bits, scheme, granularity };
                let (found, expected) = undone(format);
                assert_eq!(found, expected, "{format}");
            }
        }
    }
}

#[test]
fn every_problem_is_lowered_in_every_lowering() {
    let limits = limits(&[]);
    for Problem { name, graph, weights, inputs, .. } in encoder_problems() {
        let given: Vec<_> = inputs.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.shape())).collect();
        let bindings = graph.bind(&given).unwrap();
        let matrices = weights.iter().filter_map(|(name, weight)| match weight {
            WeightData::Matrix(matrix) => Some((name.clone(), matrix.layout.format)),
            WeightData::Vector(_) => None,
        });
        let formats: Formats = matrices.collect();
        for lowering in Lowering::ALL {
            let ranges = Ranges::new();
            let program = lower(&graph, &formats, &bindings, &target(&limits, lowering, &ranges));
            let program = program.unwrap_or_else(|error| panic!("{name}, {lowering}: {error}"));
            for (id, port) in graph.outputs.iter().zip(&program.outputs) {
                assert_eq!(port.value_shape, graph.shape(*id, &bindings).unwrap(), "{name}");
                let count = |shape: &[usize]| shape.iter().product::<usize>();
                assert_eq!(count(&port.shape), count(&port.value_shape), "{name}");
            }
            let mut maker = ConstantMaker::new(&weights, &ranges);
            for constant in &program.constants {
                let bytes = maker.bytes(constant).unwrap();
                assert_eq!(bytes.as_bytes().len() as u64, constant.size_bytes(), "{name}, {lowering}: {constant:?}");
            }
        }
    }
}

/// Formats and shapes of a problem.
fn of_problem(problem: &Problem) -> (Formats, Bindings) {
    let given: Vec<_> = problem.inputs.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.shape())).collect();
    let matrices = problem.weights.iter().filter_map(|(name, weight)| match weight {
        WeightData::Matrix(matrix) => Some((name.clone(), matrix.layout.format)),
        WeightData::Vector(_) => None,
    });
    (matrices.collect(), problem.graph.bind(&given).unwrap())
}

/// Checks that what a schedule's programs read was written before, and that the parts of each value at its ends are all of
/// it, once each.
fn check_schedule(schedule: &Schedule, name: &str) {
    let mut there: BTreeSet<&str> = schedule.inputs.iter().map(|port| port.name.as_str()).collect();
    for program in &schedule.programs {
        for port in &program.inputs {
            assert!(there.contains(&*port.name), "{name}: nothing has written `{}`", port.name);
        }
        for port in &program.outputs {
            assert!(there.insert(&port.name), "{name}: `{}` is written twice", port.name);
        }
    }
    let mut parts: BTreeMap<&str, Vec<(usize, usize, usize)>> = BTreeMap::new();
    for port in schedule.inputs.iter().chain(&schedule.outputs) {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        parts.entry(&port.value).or_default().push((port.offset, count(&port.shape), count(&port.value_shape)));
    }
    for (value, mut parts) in parts {
        parts.sort_unstable();
        let end = parts.iter().fold(0, |end, (offset, count, _)| {
            assert_eq!(*offset, end, "{name}: a part of `{value}`");
            end + count
        });
        assert_eq!(end, parts[0].2, "{name}: parts of `{value}`");
    }
}

#[test]
fn what_decoders_alone_have_is_refused() {
    let (limits, ranges) = (limits(&[]), Ranges::new());
    let encoders: BTreeSet<String> = encoder_problems().into_iter().map(|problem| problem.name).collect();
    let mut refused = BTreeSet::new();
    for problem in problems().into_iter().filter(|problem| !encoders.contains(&problem.name)) {
        let (formats, bindings) = of_problem(&problem);
        for parts in [1, 2] {
            let target = target(&limits, Lowering::Float32, &ranges);
            match lower_parts(&problem.graph, &formats, &bindings, &target, parts) {
                Err(error @ WebNnError::Unsupported { .. }) => refused.insert(error.to_string()),
                other => panic!("{}: {other:?}", problem.name),
            };
        }
    }
    let expected = [
        "attention that is causal does not run on WebNN yet",
        "attention with grouped heads does not run on WebNN yet",
        "rotary embedding of positions does not run on WebNN yet",
    ];
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn every_problem_is_lowered_in_parts() {
    let limits = limits(&[]);
    let ranges = Ranges::new();
    for problem in encoder_problems() {
        let (formats, bindings) = of_problem(&problem);
        let target = target(&limits, Lowering::Float32, &ranges);
        for parts in [1, 2, 3] {
            let schedule = lower_parts(&problem.graph, &formats, &bindings, &target, parts).unwrap();
            assert!((1..=parts).contains(&schedule.parts), "{}", problem.name);
            check_schedule(&schedule, &problem.name);
            let whole = lower(&problem.graph, &formats, &bindings, &target).unwrap();
            assert_eq!(schedule.linears(), whole.linears, "{}", problem.name);
        }
    }
}

fn parts_of(graph: &Graph, [batch, seq]: [usize; 2], parts: usize) -> Schedule {
    let (limits, ranges) = (limits(&[]), Ranges::new());
    let formats = ["w", "table", "positions"].map(|name| (name.to_owned(), Format::F32));
    let bindings = Bindings::new([("batch", batch), ("seq", seq)]);
    let target = target(&limits, Lowering::Float32, &ranges);
    lower_parts(graph, &formats.into(), &bindings, &target, parts).unwrap()
}

#[test]
fn rows_meet_where_every_row_is_needed() {
    let schedule = parts_of(&sequence(true, Pooling::Mean), [1, 40], 2);
    // Embedding, then attention, of each part; then pooling, once.
    assert_eq!(
        schedule.programs.iter().map(|one| one.part).collect::<Vec<_>>(),
        [Some(0), Some(1), Some(0), Some(1), None]
    );
    let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&schedule.inputs), ["ids[0]", "ids[1]", "mask"]);
    assert_eq!(names(&schedule.programs[2].inputs), ["x[0]", "mask", "x[1]"]);
    assert_eq!(names(&schedule.programs[4].inputs), ["mask", "y[0]", "y[1]"]);
    assert_eq!(names(&schedule.outputs), ["z"]);
    assert_eq!(schedule.inputs.iter().map(|port| port.offset).collect::<Vec<_>>(), [0, 20, 0]);
    let positions = |program: &Program| {
        let first_row = |constant: &Constant| match &constant.source {
            Source::Matrix { name, first_row } if name == "positions" => Some(*first_row),
            _ => None,
        };
        program.constants.iter().find_map(first_row)
    };
    assert_eq!([0, 1].map(|part| positions(&schedule.programs[part])), [Some(2), Some(22)]);
    check_schedule(&schedule, "sequence");
}

#[test]
fn a_batch_is_divided_by_its_items_and_few_rows_are_not() {
    let graph = sequence(true, Pooling::Cls);
    let batch = parts_of(&graph, [3, 8], 2);
    assert_eq!((batch.parts, batch.programs.len()), (2, 2));
    assert_eq!(batch.outputs.iter().map(|port| port.offset).collect::<Vec<_>>(), [0, 8]);
    check_schedule(&batch, "batch");
    assert_eq!(parts_of(&graph, [1, 31], 2).parts, 1);
    assert_eq!(parts_of(&graph, [1, 48], 4).parts, 3);
    assert_eq!(parts_of(&graph, [1, 48], 1).parts, 1);
}

#[test]
fn what_a_context_refuses_is_named() {
    let lowered_on = |limits: &Limits| {
        let formats = Formats::from([("w".to_owned(), Q8)]);
        let bindings = Bindings::new([("batch", 2), ("seq", 3)]);
        let ranges = Ranges::new();
        lower(&linear(), &formats, &bindings, &target(limits, Lowering::Float32, &ranges)).unwrap_err().to_string()
    };
    assert_eq!(
        lowered_on(&limits(&["gelu"])),
        "WebNN's `gelu` should take input as float32 of rank 2, and this context does not"
    );
    let mut small = limits(&[]);
    small.max_tensor_bytes = Some(64);
    assert_eq!(lowered_on(&small), "`x` takes 168 bytes, and WebNN's tensors have at most 64 here");
}

#[test]
fn formats_are_taken_by_what_webnn_has() {
    let graph = linear();
    let ask = |format, without: &[&str], request| {
        let formats = Formats::from([("w".to_owned(), format)]);
        let found = candidates(&graph, &formats, &ranges(), &limits(without), request);
        found.map(|found| found.into_iter().map(|candidate| candidate.lowering).collect::<Vec<_>>())
    };
    let plain = Request::default();
    let experimental = Request { experimental: true, ..plain };
    let int8 = Request { int8_activations: true, ..plain };
    assert_eq!(ask(Q8, &[], plain).unwrap(), [Lowering::Float32, Lowering::Dequantize]);
    assert_eq!(ask(Format::F32, &[], plain).unwrap(), [Lowering::Float32]);
    assert_eq!(ask(Format::F16, &[], plain).unwrap(), [Lowering::Float32, Lowering::Float16, Lowering::HalfCompute]);
    assert_eq!(ask(Format::F16, &["float16"], plain).unwrap(), [Lowering::Float32]);
    assert_eq!(ask(Q8, &[], int8).unwrap(), [Lowering::Int8]);
    assert_eq!(ask(Format::F32, &[], int8).unwrap(), [Lowering::Float32]);
    assert_eq!(ask(Q4, &[], experimental).unwrap(), [Lowering::Dequantize]);
    let reason = |found: Result<_, WebNnError>| found.map(|_: Vec<Lowering>| ()).unwrap_err().to_string();
    assert!(reason(ask(Q4, &[], plain)).ends_with("int4 is only used under --experimental-precision"));
    assert!(reason(ask(Q4, &["int4"], experimental)).ends_with("dequantizeLinear does not take int4"));
    assert!(reason(ask(Format { bits: Bits::B2, ..Q8 }, &[], experimental)).ends_with("it has no 2-bit type"));
    let forced = |lowering| Request { lowering: Some(lowering), ..plain };
    assert_eq!(ask(Q8, &[], forced(Lowering::HalfCompute)).unwrap(), [Lowering::HalfCompute]);
    let error = reason(ask(Format::F32, &[], forced(Lowering::Dequantize)));
    assert!(error.contains("float32") && error.ends_with("found `dequantize`"), "{error}");
    let error = "fast".parse::<Lowering>().unwrap_err().to_string();
    assert_eq!(error, "lowering should be float32, float16, float16-compute, dequantize, int8, found `fast`");
}

/// Embedding of ids, attention and pooling over `seq`, with or without a mask.
fn sequence(masked: bool, pooling: Pooling) -> Graph {
    let mut graph = Graph::default();
    let tokens = || ["batch".into(), "seq".into()];
    let ids = graph.input("ids", DType::U32, tokens());
    let mask: Option<ValueId> = masked.then(|| graph.input("mask", DType::U32, tokens()));
    let table = graph.weight("table", [9, 8], Role::Embedding, &[]);
    let positions = Some(graph.weight("positions", [50, 8], Role::Embedding, &[]));
    let [weight, bias] = ["n.w", "n.b"].map(|name| graph.weight(name, [8], Role::Vector, &[]));
    let norm = Normalization::layer(weight, bias, 1e-5);
    let x = graph.push(
        "x",
        Embedding { ids, token_types: None, table, positions, position_offset: 2, types: None, norm: Some(norm) },
    );
    let q = Columns { value: x, start: 0 };
    let y = graph.push("y", Attention { mask, ..Attention::new([q; 3], 2, 4) });
    let z = graph.push("z", Pool { x: y, mask, pooling, normalize: false });
    graph.output(z);
    graph
}

#[test]
fn buckets_pad_only_what_masks_hide() {
    let extents = |graph: &Graph, seq| {
        let bucket = bucket_of(graph, &Bindings::new([("batch", 3), ("seq", seq)]));
        ["batch", "seq"].map(|name| bucket.bindings.extent(&name.into()).unwrap())
    };
    let masked = sequence(true, Pooling::Mean);
    assert_eq!(longest(&masked, "seq"), Some(48));
    assert_eq!([1, 16, 17, 32].map(|seq| extents(&masked, seq)), [[3, 16], [3, 16], [3, 32], [3, 32]]);
    // No more positions than there are; a longer text is an error of its own.
    assert_eq!([33, 48, 49].map(|seq| extents(&masked, seq)), [[3, 48], [3, 48], [3, 49]]);
    assert_eq!(extents(&sequence(false, Pooling::Cls), 17), [3, 17]);
    let mut free = linear();
    assert_eq!(extents(&free, 17), [3, 32]);
    let pooled = Pool { x: free.outputs[0], mask: None, pooling: Pooling::Max, normalize: false };
    let pooled = free.push("pooled", pooled);
    free.output(pooled);
    assert_eq!(extents(&free, 17), [3, 17]);
}

#[test]
fn rows_are_padded_and_cut_back() {
    let mut wide = [9; 6];
    copy_rows(&[1, 2, 3, 4], 2, &mut wide, 3);
    assert_eq!(wide, [1, 2, 9, 3, 4, 9]);
    let mut narrow = [0; 2];
    copy_rows(&wide, 3, &mut narrow, 1);
    assert_eq!(narrow, [1, 3]);
}
