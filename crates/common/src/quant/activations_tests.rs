use super::*;
use crate::quant::{Granularity, Quantizer};

fn scale(scale: f32, zero_point: i8, shifts: &[(usize, u8)]) -> ActivationScale {
    ActivationScale { scale, zero_point, shifts: shifts.iter().copied().collect() }
}

fn weight(values: &[f32], shape: [usize; 2]) -> QTensor {
    Quantizer::new(Bits::B8).per_channel().quantize(values, &shape).unwrap()
}

/// What the int8 weights stand for, with the shifts taken out again.
fn unfolded(linear: &Int8Linear) -> Vec<f32> {
    let factor = |factors: &Option<Vec<f32>>, index: usize| factors.as_ref().map_or(1.0, |factors| factors[index]);
    let value = |index: usize| {
        let (row, col) = (index / linear.cols, index % linear.cols);
        let outer = factor(&linear.output_factors, row) * factor(&linear.input_factors, col);
        f32::from(linear.codes[index]) * linear.scales[row] * outer
    };
    (0..linear.codes.len()).map(value).collect()
}

#[test]
fn a_range_has_a_code_for_zero_and_for_both_ends() {
    let range = ActivationScale::of_range(-1.0, 1.55);
    assert!((range.scale - 0.01).abs() < 1e-8);
    assert_eq!((range.zero_point, range.encode(-1.0), range.encode(1.55)), (-28, -128, 127));
    assert_eq!(range.decode(range.zero_point), 0.0);
    assert_eq!(ActivationScale::of_range(0.5, 2.55), ActivationScale::of_range(0.0, 2.55));
    assert_eq!(ActivationScale::of_range(-3.0, -1.0).zero_point, 127);
    assert_eq!(ActivationScale::of_range(0.0, 0.0).scale, 1.0);
}

#[test]
fn codes_are_rounded_half_to_even_and_clamped() {
    let half = scale(0.5, 3, &[]);
    let codes = [0.25, 0.75, -0.25, -0.75, 1e9, -1e9].map(|value| half.encode(value));
    assert_eq!(codes, [3, 5, 3, 1, 127, -128]);
    assert_eq!(half.decode(5), 1.0);
}

#[test]
fn stored_codes_are_kept_and_never_minus_128() {
    // The larger extreme is stored as -128, whichever its sign: so scales may be negative.
    let values = [1.0, -0.5, 0.25, -1.0, 0.5, 0.25];
    let stored = weight(&values, [2, 3]);
    let activations = LinearActivations { input: scale(0.1, 0, &[]), output: scale(0.1, 0, &[]) };
    let linear = Int8Linear::new(&activations, &stored, Some(&[0.3, -0.3])).unwrap();
    assert!(linear.scales.iter().all(|scale| *scale > 0.0));
    assert!(linear.codes.iter().all(|code| *code >= -127));
    for (found, expected) in unfolded(&linear).iter().zip(stored.dequantize()) {
        assert!((found - expected).abs() <= linear.scales[0] * 1.0001, "{found}, {expected}");
    }
    let bias = f64::from(linear.bias[0]) * f64::from(0.1 * linear.scales[0]);
    assert!((bias - 0.3).abs() < 1e-3, "{bias}");
    assert_eq!(linear.bias[0], -linear.bias[1]);
    assert_eq!((&linear.input_factors, &linear.output_factors), (&None, &None));
}

#[test]
fn shifts_are_folded_into_weights_and_bias() {
    let values: Vec<f32> = (0..12).map(|index| (index as f32 * 1.7).sin()).collect();
    let stored = weight(&values, [3, 4]);
    let activations = LinearActivations { input: scale(0.1, 5, &[(2, 3)]), output: scale(0.2, 0, &[(1, 4)]) };
    let linear = Int8Linear::new(&activations, &stored, Some(&[1.0; 3])).unwrap();
    assert_eq!(linear.input_factors.as_deref(), Some(&[1.0, 1.0, 0.125, 1.0][..]));
    assert_eq!(linear.output_factors.as_deref(), Some(&[1.0, 16.0, 1.0][..]));
    for (index, (found, expected)) in unfolded(&linear).iter().zip(stored.dequantize()).enumerate() {
        // Half a step of the folded row, less where the column was multiplied.
        let (row, col) = (index / 4, index % 4);
        let step = linear.scales[row] * activations.output.factors(3, 1).unwrap()[row];
        let allowed = 0.501 * step * linear.input_factors.as_ref().unwrap()[col];
        assert!((found - expected).abs() <= allowed, "{index}: {found}, {expected}");
    }
    let bias = |row: usize| linear.bias[row] as f32 * 0.1 * linear.scales[row];
    assert!((bias(0) - 1.0).abs() < 0.01 && (bias(1) * 16.0 - 1.0).abs() < 0.01);
}

#[test]
fn rows_of_zeros_have_a_scale() {
    let activations = LinearActivations { input: scale(0.1, 0, &[]), output: scale(0.1, 0, &[]) };
    let linear = Int8Linear::new(&activations, &weight(&[0.0; 4], [2, 2]), Some(&[1e30, 0.0])).unwrap();
    assert!(linear.scales.iter().all(|scale| *scale > 0.0));
    assert_eq!((linear.codes, linear.bias), (vec![0; 4], vec![i32::MAX, 0]));
}

#[test]
fn what_is_no_int8_operator_is_an_error() {
    let fine = || LinearActivations { input: scale(0.1, 0, &[]), output: scale(0.1, 0, &[]) };
    let message =
        |activations: LinearActivations, weight: &QTensor| Int8Linear::new(&activations, weight, None).unwrap_err();
    let matrix = weight(&[1.0; 4], [2, 2]);
    let four = Quantizer::new(Bits::B4).per_channel().quantize(&[1.0; 4], &[2, 2]).unwrap();
    assert_eq!(
        message(fine(), &four).to_string(),
        "int8 weight should be 8 bits, symmetric, one scale a channel or tensor, found q4-sym-channel"
    );
    let grouped = Quantizer::new(Bits::B8).granularity(Granularity::Group(16)).quantize(&[1.0; 64], &[2, 32]).unwrap();
    assert!(matches!(message(fine(), &grouped), QuantError::Activation { which: "weight", .. }));
    for wrong in [scale(0.0, 0, &[]), scale(f32::NAN, 0, &[]), scale(-1.0, 0, &[]), scale(1.0, 0, &[(2, 1)])] {
        let error = message(LinearActivations { input: wrong.clone(), ..fine() }, &matrix);
        assert!(matches!(error, QuantError::Activation { which: "input", .. }), "{wrong:?}: {error}");
    }
    let beyond = LinearActivations { output: scale(1.0, 0, &[(0, 25)]), ..fine() };
    assert!(matches!(message(beyond, &matrix), QuantError::Activation { which: "output", .. }));
    assert!(matches!(
        Int8Linear::new(&fine(), &matrix, Some(&[1.0])),
        Err(QuantError::Length { expected: 2, found: 1, .. })
    ));
}

#[test]
fn scales_without_shifts_are_short_in_json() {
    let text = serde_json::to_string(&scale(0.5, -3, &[])).unwrap();
    assert_eq!(text, r#"{"scale":0.5,"zero_point":-3}"#);
    let shifted = scale(0.5, -3, &[(7, 2)]);
    let text = serde_json::to_string(&shifted).unwrap();
    assert_eq!(text, r#"{"scale":0.5,"zero_point":-3,"shifts":{"7":2}}"#);
    assert_eq!(serde_json::from_str::<ActivationScale>(&text).unwrap(), shifted);
}
