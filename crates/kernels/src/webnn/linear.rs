//! `activation(x · weightᵀ + bias) + residual`: one `gemm`, with its weight as the lowering gives it.

use webnibble_common::graph::{Activation, Op, WeightId};
use webnibble_common::package::{ActivationScale, LinearActivations};
use webnibble_common::quant::{Bits, Layout};

use super::formats::{chains, stored};
use super::recorder::{Recorder, Value};
use super::{DataType, Lowering, Operand, Operation, Source, WebNnError};

/// Records a linear operator; gives `[rows, n]`.
pub(super) fn record(recorder: &mut Recorder<'_>, op: &Op) -> Result<Operand, WebNnError> {
    let Op::Linear { x, weight, bias, activation, residual } = op else { unreachable!("called for a linear operator") };
    let x = recorder.value(*x)?;
    let product = match int8_ranges(recorder, *weight)? {
        Some((input, output)) => int8_chain(recorder, x, *weight, *bias, input, output)?,
        None => {
            let b = float_weight(recorder, *weight)?;
            let c = bias.map(|bias| recorder.vector(bias)).transpose()?;
            recorder.call(Operation::Gemm { a: x.operand, b, c, b_transpose: true })?
        }
    };
    let activated = activate(recorder, *activation, product)?;
    match residual {
        Some(residual) => {
            let residual = recorder.value(*residual)?;
            recorder.add(activated, residual.operand)
        }
        None => Ok(activated),
    }
}

/// The weight as floats, `[n, k]`.
fn float_weight(recorder: &mut Recorder<'_>, weight: WeightId) -> Result<Operand, WebNnError> {
    let layout = recorder.layout(weight)?;
    let (lowering, compute) = (recorder.target.lowering, recorder.compute());
    if lowering == Lowering::Dequantize && let Some(dtype) = codes_type(recorder, &layout) {
        recorder.count_linear(dtype.name());
        return dequantized(recorder, weight, &layout, dtype);
    }
    let half = lowering == Lowering::Float16 && layout.format.bits == Bits::B16;
    let dtype = if half { DataType::Float16 } else { compute };
    recorder.count_linear(dtype.name());
    let source = Source::Matrix { name: recorder.name(weight), first_row: 0 };
    let constant = recorder.constant(dtype, [layout.rows, layout.cols], source)?;
    recorder.cast(constant, compute)
}

/// The type that the matrix's codes have in the graph, if `dequantizeLinear` can tell its groups apart: they must divide
/// the columns.
fn codes_type(recorder: &Recorder<'_>, layout: &Layout) -> Option<DataType> {
    let divides = layout.groups_per_row <= 1 || layout.cols.is_multiple_of(layout.group_size);
    stored(layout.format, recorder.target.limits).filter(|_| divides)
}

/// Codes, scales and zero points, put together in the graph.
fn dequantized(
    recorder: &mut Recorder<'_>,
    weight: WeightId,
    layout: &Layout,
    dtype: DataType,
) -> Result<Operand, WebNnError> {
    let name = recorder.name(weight);
    let scales = match layout.groups_per_row {
        0 => [1, 1],
        groups => [layout.rows, groups],
    };
    let input = recorder.constant(dtype, [layout.rows, layout.cols], Source::Codes(name.clone()))?;
    let scale = recorder.constant(recorder.compute(), scales, Source::Scales(name.clone()))?;
    let zero_point = recorder.constant(dtype, scales, Source::Zeros(name))?;
    recorder.call(Operation::DequantizeLinear { input, scale, zero_point })
}

/// Ranges of input and output, where the operator is to be computed in int8 and can be.
fn int8_ranges(
    recorder: &Recorder<'_>,
    weight: WeightId,
) -> Result<Option<(ActivationScale, ActivationScale)>, WebNnError> {
    if recorder.target.lowering != Lowering::Int8 {
        return Ok(None);
    }
    let layout = recorder.layout(weight)?;
    let ranges = recorder.target.ranges.get(&recorder.name(weight));
    Ok(match ranges {
        Some(LinearActivations { input, output: Some(output) }) if chains(layout.format, recorder.target.limits) => {
            Some((*input, *output))
        }
        _ => None,
    })
}

/// The pattern that backends turn into one product of int8: input and output quantized and dequantized, int8 weights
/// with a scale a row, an int32 bias in steps of the products.
fn int8_chain(
    recorder: &mut Recorder<'_>,
    x: Value,
    weight: WeightId,
    bias: Option<WeightId>,
    input: ActivationScale,
    output: ActivationScale,
) -> Result<Operand, WebNnError> {
    recorder.count_linear("int8 chain");
    let layout = recorder.layout(weight)?;
    let a = through_int8(recorder, x.operand, input)?;
    let b = dequantized(recorder, weight, &layout, DataType::Int8)?;
    let c = quantized_bias(recorder, weight, bias, layout.rows, input.scale)?;
    let product = recorder.call(Operation::Gemm { a, b, c: Some(c), b_transpose: true })?;
    through_int8(recorder, product, output)
}

/// Rounded to int8 and back.
fn through_int8(recorder: &mut Recorder<'_>, x: Operand, range: ActivationScale) -> Result<Operand, WebNnError> {
    let scale = recorder.constant(DataType::Float32, [1, 1], Source::Numbers(vec![f64::from(range.scale)]))?;
    let zero = Source::Numbers(vec![f64::from(range.zero_point)]);
    let zero_point = recorder.constant(DataType::Int8, [1, 1], zero)?;
    let input = recorder.call(Operation::QuantizeLinear { input: x, scale, zero_point })?;
    recorder.call(Operation::DequantizeLinear { input, scale, zero_point })
}

/// The bias as int32, `[n]`; zeros where there is none, because the pattern has one.
fn quantized_bias(
    recorder: &mut Recorder<'_>,
    weight: WeightId,
    bias: Option<WeightId>,
    rows: usize,
    input_scale: f32,
) -> Result<Operand, WebNnError> {
    let weight = recorder.name(weight);
    let bias = bias.map(|bias| recorder.name(bias));
    let steps = Source::QuantizedBias { bias, weight: weight.clone(), input: input_scale };
    let input = recorder.constant(DataType::Int32, [rows], steps)?;
    let scales = Source::ProductScales { weight, input: input_scale };
    let scale = recorder.constant(DataType::Float32, [rows], scales)?;
    let zero_point = recorder.constant(DataType::Int32, [rows], Source::Numbers(vec![0.0; rows]))?;
    recorder.call(Operation::DequantizeLinear { input, scale, zero_point })
}

/// The function of that name; every formula as transformers' `ACT2FN` has it.
fn activate(recorder: &mut Recorder<'_>, activation: Activation, input: Operand) -> Result<Operand, WebNnError> {
    match activation {
        Activation::Identity => Ok(input),
        Activation::Relu => recorder.call(Operation::Relu { input }),
        Activation::Gelu => recorder.call(Operation::Gelu { input }),
        Activation::Tanh => recorder.call(Operation::Tanh { input }),
        Activation::Silu => {
            let gate = recorder.call(Operation::Sigmoid { input })?;
            recorder.mul(input, gate)
        }
        Activation::GeluTanh => gelu_tanh(recorder, input),
    }
}

/// `0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`.
fn gelu_tanh(recorder: &mut Recorder<'_>, x: Operand) -> Result<Operand, WebNnError> {
    let slope = (2.0 / std::f64::consts::PI).sqrt();
    let square = recorder.mul(x, x)?;
    let cubic = recorder.number(0.044715 * slope, 2)?;
    let scaled = recorder.mul(square, cubic)?;
    let linear = recorder.number(slope, 2)?;
    let factor = recorder.add(scaled, linear)?;
    let inner = recorder.mul(x, factor)?;
    let tanh = recorder.call(Operation::Tanh { input: inner })?;
    let one = recorder.number(1.0, 2)?;
    let above = recorder.add(tanh, one)?;
    let half = recorder.number(0.5, 2)?;
    let half_x = recorder.mul(x, half)?;
    recorder.mul(half_x, above)
}
