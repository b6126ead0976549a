//! `activation(x · weightᵀ + bias) + residual`: one `gemm`, with its weight as the lowering gives it.

use webnibble_common::graph::{Activation, Linear, WeightId};
use webnibble_common::quant::{ActivationScale, Bits, Layout, LinearActivations};

use crate::webnn::constants::{CodePart, Int8Part, Sign, Source};
use crate::webnn::error::WebNnError;
use crate::webnn::formats::{chains, stored};
use crate::webnn::lowering::Lowering;
use crate::webnn::operand::{DataType, Operand};
use crate::webnn::program::Operation;
use crate::webnn::recorder::{Recorder, Value};

/// Records a linear operator; gives `[rows, n]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Linear) -> Result<Operand, WebNnError> {
    let Linear { x, weight, bias, activation, residual } = *op;
    let x = recorder.value(x)?;
    let product = match int8_ranges(recorder, weight)? {
        Some(ranges) => Int8 { recorder, weight, bias, ranges }.record(x)?,
        None => {
            let b = float_weight(recorder, weight)?;
            let c = bias.map(|bias| recorder.vector(bias)).transpose()?;
            recorder.call(Operation::Gemm { a: x.operand, b, c, b_transpose: true })?
        }
    };
    let activated = activate(recorder, activation, product)?;
    match residual {
        Some(residual) => {
            let residual = recorder.value(residual)?;
            recorder.add(activated, residual.operand)
        }
        None => Ok(activated),
    }
}

/// The weight as floats, `[n, k]`.
fn float_weight(recorder: &mut Recorder<'_>, weight: WeightId) -> Result<Operand, WebNnError> {
    let layout = recorder.layout(weight)?;
    let (lowering, compute) = (recorder.target.lowering, recorder.compute());
    if lowering == Lowering::Dequantize
        && let Some(dtype) = codes_type(recorder, &layout)
    {
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
    let source = |part| Source::Codes { name: name.clone(), part, sign: Sign::Positive };
    let input = recorder.constant(dtype, [layout.rows, layout.cols], source(CodePart::Codes))?;
    let scale = recorder.constant(recorder.compute(), scales, source(CodePart::Scales))?;
    let zero_point = recorder.constant(dtype, scales, source(CodePart::Zeros))?;
    recorder.call(Operation::DequantizeLinear { input, scale, zero_point })
}

/// Ranges of input and output, where the operator is to be computed in int8 and can be.
fn int8_ranges<'a>(recorder: &Recorder<'a>, weight: WeightId) -> Result<Option<&'a LinearActivations>, WebNnError> {
    if recorder.target.lowering != Lowering::Int8 {
        return Ok(None);
    }
    let layout = recorder.layout(weight)?;
    let ranges = recorder.target.ranges.get(&recorder.name(weight));
    Ok(ranges.filter(|_| chains(layout.format, recorder.target.limits)))
}

/// The pattern that backends turn into one product of int8: input and output quantized and dequantized, int8 weights
/// with a scale a row, an int32 bias in steps of the products.
struct Int8<'r, 'a> {
    recorder: &'r mut Recorder<'a>,
    weight: WeightId,
    bias: Option<WeightId>,
    ranges: &'a LinearActivations,
}

impl Int8<'_, '_> {
    fn record(&mut self, x: Value) -> Result<Operand, WebNnError> {
        self.recorder.count_linear("int8 chain");
        let Layout { rows, cols, .. } = self.recorder.layout(self.weight)?;
        let ranges = self.ranges;
        let x = self.shifted(x.operand, &ranges.input, Int8Part::InputFactors, cols)?;
        let a = self.through_int8(x, &ranges.input)?;
        let b = {
            let input = self.constant(DataType::Int8, &[rows, cols], Int8Part::Codes)?;
            let scale = self.constant(DataType::Float32, &[rows, 1], Int8Part::Scales)?;
            let zeros = Source::Numbers(vec![0.0; rows]);
            let zero_point = self.recorder.constant(DataType::Int8, [rows, 1], zeros)?;
            self.recorder.call(Operation::DequantizeLinear { input, scale, zero_point })?
        };
        // Zeros where the operator has no bias: the pattern has one.
        let c = {
            let input = self.constant(DataType::Int32, &[rows], Int8Part::Bias)?;
            let scale = self.constant(DataType::Float32, &[rows], Int8Part::ProductScales)?;
            let zeros = Source::Numbers(vec![0.0; rows]);
            let zero_point = self.recorder.constant(DataType::Int32, [rows], zeros)?;
            self.recorder.call(Operation::DequantizeLinear { input, scale, zero_point })?
        };
        let product = self.recorder.call(Operation::Gemm { a, b, c: Some(c), b_transpose: true })?;
        let y = self.through_int8(product, &ranges.output)?;
        self.shifted(y, &ranges.output, Int8Part::OutputFactors, rows)
    }

    /// Multiplied by a power of two a channel, where any channel has one.
    fn shifted(
        &mut self,
        x: Operand,
        range: &ActivationScale,
        part: Int8Part,
        channels: usize,
    ) -> Result<Operand, WebNnError> {
        if range.shifts.is_empty() {
            return Ok(x);
        }
        let factors = self.constant(DataType::Float32, &[channels], part)?;
        self.recorder.mul(x, factors)
    }

    /// Rounded to int8 and back.
    fn through_int8(&mut self, x: Operand, range: &ActivationScale) -> Result<Operand, WebNnError> {
        let scale = Source::Numbers(vec![f64::from(range.scale)]);
        let scale = self.recorder.constant(DataType::Float32, [1, 1], scale)?;
        let zero_point = Source::Numbers(vec![f64::from(range.zero_point)]);
        let zero_point = self.recorder.constant(DataType::Int8, [1, 1], zero_point)?;
        let input = self.recorder.call(Operation::QuantizeLinear { input: x, scale, zero_point })?;
        self.recorder.call(Operation::DequantizeLinear { input, scale, zero_point })
    }

    fn constant(&mut self, dtype: DataType, shape: &[usize], part: Int8Part) -> Result<Operand, WebNnError> {
        let weight = self.recorder.name(self.weight);
        let bias = self.bias.map(|bias| self.recorder.name(bias));
        self.recorder.constant(dtype, shape, Source::Int8 { weight, bias, part })
    }
}

/// The function of that name; every formula as transformers' `ACT2FN` has it.
pub(crate) fn activate(
    recorder: &mut Recorder<'_>,
    activation: Activation,
    input: Operand,
) -> Result<Operand, WebNnError> {
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
