//! Activations in int8: how they are stored, and a linear operator made ready for them.

use std::collections::BTreeMap;

use super::{Bits, Format, QTensor, QuantError, Scheme};

/// How an activation is stored in int8, codes from −128 to 127:
/// `value = 2^shifts[channel] · scale · (code − zero_point)`.
///
/// One scale serves the whole tensor, which is what int8 kernels take. Transformers have a few channels that are tens of
/// times larger than all others; a shift keeps such a channel from taking the others' resolution.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ActivationScale {
    /// Step between codes.
    pub scale: f32,
    /// Code of zero.
    pub zero_point: i8,
    /// Channels (of the last dimension) that are divided by a power of two before they are rounded, and its exponent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shifts: BTreeMap<usize, u8>,
}

/// Activations of one linear operator.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LinearActivations {
    /// Its input, `[…, K]`.
    pub input: ActivationScale,
    /// `x · weightᵀ + bias`, `[…, N]`, before activation and residual.
    pub output: ActivationScale,
}

/// Exponents end here: a power of two beyond it is no outlier but a mistake.
pub const MAX_SHIFT: u8 = 24;

impl ActivationScale {
    /// A scale whose codes span `least…most`, which is widened to hold 0 (a code of its own, so that zero is exact).
    /// A range of nothing but zeros gets a step of 1.
    pub fn of_range(least: f32, most: f32) -> Self {
        let (least, most) = (least.min(0.0), most.max(0.0));
        let scale = (most - least) / 255.0;
        let scale = if scale.is_normal() { scale } else { 1.0 };
        let zero_point = (-128.0 - least / scale).round_ties_even().clamp(-128.0, 127.0) as i8;
        Self { scale, zero_point, shifts: BTreeMap::new() }
    }

    /// The code of a value whose channel's shift is taken off already: rounded half to even, clamped.
    pub fn encode(&self, value: f32) -> i8 {
        ((value / self.scale).round_ties_even() + f32::from(self.zero_point)).clamp(-128.0, 127.0) as i8
    }

    /// The value of a code, without its channel's shift.
    pub fn decode(&self, code: i8) -> f32 {
        self.scale * f32::from(i16::from(code) - i16::from(self.zero_point))
    }

    /// `2^(sign · shift)` of every channel; `None` where no channel is shifted.
    fn factors(&self, channels: usize, sign: i32) -> Option<Vec<f32>> {
        if self.shifts.is_empty() {
            return None;
        }
        let mut factors = vec![1.0; channels];
        for (channel, shift) in &self.shifts {
            factors[*channel] = 2.0_f32.powi(sign * i32::from(*shift));
        }
        Some(factors)
    }

    fn check(&self, which: &'static str, channels: usize) -> Result<(), QuantError> {
        if !self.scale.is_normal() || self.scale < 0.0 {
            let expected = "a positive scale".to_owned();
            return Err(QuantError::Activation { which, expected, found: self.scale.to_string() });
        }
        let wrong = self.shifts.iter().find(|(channel, shift)| **channel >= channels || **shift > MAX_SHIFT);
        match wrong {
            None => Ok(()),
            Some((channel, shift)) => Err(QuantError::Activation {
                which,
                expected: format!("shifts up to {MAX_SHIFT} of channels below {channels}"),
                found: format!("shift {shift} of channel {channel}"),
            }),
        }
    }
}

/// A linear operator whose products are of int8 by int8, summed in int32:
///
/// ```text
/// x · input_factors → codes of `input` → · codesᵀ + bias → codes of `output` → values · output_factors
/// ```
///
/// Shifts are folded into the weights: a column is multiplied by what its input channel was divided by, a row's scale
/// and bias divided by what its output channel is multiplied by.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Linear {
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// Weights, `[rows, cols]`, from −127 to 127: some int8 kernels have no room for −128.
    pub codes: Vec<i8>,
    /// Step of each row's weights, positive.
    pub scales: Vec<f32>,
    /// `[rows]`, in steps of `input.scale · scales[row]`. Zeros where the operator has no bias.
    pub bias: Vec<i32>,
    /// Scale and zero point of the input, once it is multiplied by `input_factors`.
    pub input: ActivationScale,
    /// Scale and zero point of the output, before it is multiplied by `output_factors`.
    pub output: ActivationScale,
    /// `[cols]`: the input is multiplied by these first. `None` where all are 1.
    pub input_factors: Option<Vec<f32>>,
    /// `[rows]`: the output is multiplied by these last. `None` where all are 1.
    pub output_factors: Option<Vec<f32>>,
}

impl Int8Linear {
    /// Makes an operator of its weights, which have 8 bits, symmetric, one scale a channel or tensor.
    ///
    /// # Errors
    /// For weights in another format, a bias of another length, scales that are not positive, and shifts of channels
    /// that are not there.
    pub fn new(activations: &LinearActivations, weight: &QTensor, bias: Option<&[f32]>) -> Result<Self, QuantError> {
        let (rows, cols) = (weight.layout.rows, weight.layout.cols);
        check_format(weight.layout.format, weight.layout.groups_per_row)?;
        activations.input.check("input", cols)?;
        activations.output.check("output", rows)?;
        if let Some(found) = bias.map(<[f32]>::len).filter(|found| *found != rows) {
            return Err(QuantError::Length { shape: vec![rows], expected: rows, found });
        }
        let columns = activations.input.factors(cols, 1);
        let output_factors = activations.output.factors(rows, 1);
        let mut linear = Self {
            rows,
            cols,
            codes: Vec::with_capacity(rows * cols),
            scales: Vec::with_capacity(rows),
            bias: Vec::with_capacity(rows),
            input: activations.input.clone(),
            output: activations.output.clone(),
            input_factors: activations.input.factors(cols, -1),
            output_factors,
        };
        for row in 0..rows {
            let scale = match &columns {
                None => linear.push_stored(weight, row),
                Some(columns) => linear.push_scaled(weight, row, columns),
            };
            let factor = linear.output_factors.as_ref().map_or(1.0, |factors| factors[row]);
            let scale = scale / factor;
            linear.scales.push(scale);
            let bias = bias.map_or(0.0, |bias| bias[row]) / factor;
            linear.bias.push(steps(bias, linear.input.scale * scale));
        }
        Ok(linear)
    }

    /// Takes a row's codes as they are; its scale.
    fn push_stored(&mut self, weight: &QTensor, row: usize) -> f32 {
        let scale = weight.scale(row, 0);
        let sign = if scale < 0.0 { -1 } else { 1 };
        let code = |col| (sign * (i16::from(weight.code(row, col)) - 128)).clamp(-127, 127) as i8;
        self.codes.extend((0..self.cols).map(code));
        positive(scale.abs())
    }

    /// Takes a row whose columns are multiplied by powers of two, and rounds it anew; its scale.
    fn push_scaled(&mut self, weight: &QTensor, row: usize, columns: &[f32]) -> f32 {
        let mut values = vec![0.0; self.cols];
        weight.dequantize_row_into(row, &mut values);
        values.iter_mut().zip(columns).for_each(|(value, factor)| *value *= factor);
        let largest = values.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
        let scale = positive(largest / 127.0);
        let code = |value: &f32| (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        self.codes.extend(values.iter().map(code));
        scale
    }

    /// The code of an element of the input.
    pub fn input_code(&self, col: usize, value: f32) -> i8 {
        let factor = self.input_factors.as_ref().map_or(1.0, |factors| factors[col]);
        self.input.encode(value * factor)
    }

    /// The output, before activation and residual, of a sum of products of `codes[row]` with steps of the input
    /// (`code − zero_point`): requantized in f32, as int8 kernels do it.
    pub fn output_value(&self, row: usize, sum: i32) -> f32 {
        let sum = sum.saturating_add(self.bias[row]) as f32;
        let code = (sum * self.multiplier(row)).round_ties_even() + f32::from(self.output.zero_point);
        let factor = self.output_factors.as_ref().map_or(1.0, |factors| factors[row]);
        self.output.decode(code.clamp(-128.0, 127.0) as i8) * factor
    }

    /// `input.scale · scales[row] / output.scale`: what a sum of products is multiplied by to be an output's code.
    fn multiplier(&self, row: usize) -> f32 {
        self.input.scale * self.scales[row] / self.output.scale
    }
}

/// Rows of zeros have a scale of 0, which no kernel takes.
fn positive(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { f32::from(half::f16::MIN_POSITIVE) }
}

/// A bias in steps, as far as int32 goes.
fn steps(bias: f32, step: f32) -> i32 {
    // Saturates; in f64, where the quotient of two f32 has digits enough for any i32.
    (f64::from(bias) / f64::from(step)).round_ties_even() as i32
}

fn check_format(format: Format, groups_per_row: usize) -> Result<(), QuantError> {
    if format.bits == Bits::B8 && format.scheme == Scheme::Symmetric && groups_per_row <= 1 {
        return Ok(());
    }
    Err(QuantError::Activation {
        which: "weight",
        expected: "8 bits, symmetric, one scale a channel or tensor".to_owned(),
        found: format.to_string(),
    })
}

#[cfg(test)]
#[path = "activations_tests.rs"]
mod tests;
