//! What holds for every format.

use proptest::prelude::*;

use super::*;

const INTEGERS: [Bits; 3] = [Bits::B2, Bits::B4, Bits::B8];
const SCHEMES: [Scheme; 2] = [Scheme::Symmetric, Scheme::Asymmetric];
const GRANULARITIES: [Granularity; 4] =
    [Granularity::Tensor, Granularity::Channel, Granularity::Group(16), Granularity::Group(32)];

fn any_format() -> impl Strategy<Value = Format> {
    let bits = prop::sample::select(INTEGERS.to_vec());
    let scheme = prop::sample::select(SCHEMES.to_vec());
    let granularity = prop::sample::select(GRANULARITIES.to_vec());
    (bits, scheme, granularity).prop_map(|(bits, scheme, granularity)| Format { bits, scheme, granularity })
}

/// Matrices of odd sizes, of normal-looking, extreme and tiny weights.
fn any_matrix() -> impl Strategy<Value = (Vec<f32>, [usize; 2])> {
    let weight = prop_oneof![
        8 => -1.0f32..1.0,
        1 => -60000.0f32..60000.0,
        1 => Just(0.0),
        1 => -1e-7f32..1e-7,
        1 => Just(f32::MIN_POSITIVE / 4.0),
    ];
    (1usize..5, 1usize..70)
        .prop_flat_map(move |(rows, cols)| (prop::collection::vec(weight.clone(), rows * cols), Just([rows, cols])))
}

fn squared_error(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

proptest! {
    #[test]
    fn quantizing_twice_changes_nothing((data, shape) in any_matrix(), format in any_format()) {
        let once = Quantizer::for_format(format).quantize(&data, &shape).unwrap();
        let values = once.dequantize();
        let twice = Quantizer::for_format(format).quantize(&values, &shape).unwrap();
        prop_assert_eq!(twice.dequantize(), values);
    }

    #[test]
    fn min_max_errs_by_half_a_step((data, shape) in any_matrix(), format in any_format()) {
        let q = Quantizer::for_format(format).fit(Fit::MinMax).quantize(&data, &shape).unwrap();
        let values = q.dequantize();
        // A rounded zero point may cost another half step at one end, a rounded scale a step in 2¹¹ for each step.
        let steps = if format.scheme == Scheme::Asymmetric { 1.0 } else { 0.5 };
        for (index, (a, b)) in data.iter().zip(&values).enumerate() {
            let scale = q.scale(index / shape[1], index % shape[1]).abs();
            let subnormal = 6e-8 * f32::from(format.bits.largest_code());
            let rounding = scale * f32::from(format.bits.largest_code()) / 2048.0 + subnormal;
            prop_assert!((a - b).abs() <= steps * scale * 1.0001 + rounding, "{a} became {b}, scale {scale}");
        }
    }

    #[test]
    fn fitting_never_errs_more_than_min_max((data, shape) in any_matrix(), format in any_format()) {
        let fitted = Quantizer::for_format(format).quantize(&data, &shape).unwrap();
        let min_max = Quantizer::for_format(format).fit(Fit::MinMax).quantize(&data, &shape).unwrap();
        let (fitted, min_max) = (fitted.dequantize(), min_max.dequantize());
        prop_assert!(squared_error(&data, &fitted) <= squared_error(&data, &min_max) * (1.0 + 1e-5) + 1e-20);
    }

    #[test]
    fn a_zero_point_never_errs_more((data, shape) in any_matrix(), format in any_format()) {
        let quantizer = Quantizer::for_format(format);
        let symmetric = quantizer.clone().scheme(Scheme::Symmetric).quantize(&data, &shape).unwrap().dequantize();
        let asymmetric = quantizer.scheme(Scheme::Asymmetric).quantize(&data, &shape).unwrap().dequantize();
        prop_assert!(squared_error(&data, &asymmetric) <= squared_error(&data, &symmetric) * (1.0 + 1e-5) + 1e-20);
    }

    #[test]
    fn planes_round_trip((data, shape) in any_matrix(), format in any_format()) {
        let q = Quantizer::for_format(format).quantize(&data, &shape).unwrap();
        let (scale, zero) = (q.scale_plane(), q.zero_plane());
        prop_assert_eq!((scale.len() % 16, zero.len() % 16, q.layout.row_bytes() % 16), (0, 0, 0));
        prop_assert_eq!(q.packed.len() + scale.len() + zero.len(), q.bytes());
        prop_assert_eq!(QTensor::from_planes(q.layout, q.packed.clone(), &scale, &zero).unwrap(), q);
    }

    #[test]
    fn every_value_is_scale_times_code_from_zero((data, shape) in any_matrix(), format in any_format()) {
        let q = Quantizer::for_format(format).quantize(&data, &shape).unwrap();
        for (index, value) in q.dequantize().into_iter().enumerate() {
            let (row, col) = (index / shape[1], index % shape[1]);
            let expected = q.scale(row, col) * (f32::from(q.code(row, col)) - f32::from(q.zero(row, col)));
            prop_assert_eq!(value, expected);
        }
        for row in 0..shape[0] {
            for col in shape[1]..q.layout.cols_padded {
                prop_assert_eq!(q.code(row, col), q.zero(row, shape[1] - 1), "padding holds the zero code");
            }
        }
    }

    #[test]
    fn floats_are_only_rounded((data, shape) in any_matrix()) {
        let exact = Quantizer::new(Bits::B32).quantize(&data, &shape).unwrap();
        prop_assert_eq!(exact.dequantize(), data.clone());
        let rounded: Vec<f32> = data.iter().map(|v| half::f16::from_f32(*v).to_f32()).collect();
        prop_assert_eq!(Quantizer::new(Bits::B16).quantize(&data, &shape).unwrap().dequantize(), rounded);
    }
}

/// Numbers in (−1, 1) that are much alike to normal ones; xorshift, so that no test depends on a library's stream.
fn pseudo_normal(count: usize, mut seed: u64) -> Vec<f32> {
    let mut uniform = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (uniform() + uniform() + uniform() + uniform()) / 2.0).collect()
}

/// The least squared error that any scale gives for steps `lo…hi`, by trying every assignment of steps that some scale
/// makes: those change only at `|v| / (k + ½)`.
fn least_error(values: &[f32], lo: f64, hi: f64) -> f64 {
    let mut turns: Vec<f64> = Vec::new();
    for v in values.iter().map(|v| f64::from(*v)) {
        let longest = if v > 0.0 { hi } else { -lo } as usize;
        turns.extend((0..longest).map(|k| v.abs() / (k as f64 + 0.5)));
    }
    turns.sort_by(f64::total_cmp);
    let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    let between = turns.windows(2).map(|w| (w[0] + w[1]) / 2.0);
    between.fold(squares, |least, scale| {
        let q = values.iter().map(|v| (f64::from(*v) / scale).round().clamp(lo, hi));
        let (vq, qq) = values.iter().zip(q).fold((0.0, 0.0), |(vq, qq), (v, q)| (vq + f64::from(*v) * q, qq + q * q));
        least.min(squares - vq * vq / qq)
    })
}

#[test]
fn the_fit_finds_the_least_error() {
    for bits in [Bits::B2, Bits::B4] {
        let (half, largest) = (f64::from(bits.symmetric_zero()), f64::from(bits.largest_code()));
        let (mut found, mut least) = ([0.0; 2], [0.0; 2]);
        for seed in 1..25 {
            let mut row = pseudo_normal(64, seed * 7919);
            row[5] *= 4.0;
            for (index, scheme) in SCHEMES.into_iter().enumerate() {
                let q = Quantizer::new(bits).scheme(scheme).quantize(&row, &[1, 64]).unwrap();
                found[index] += squared_error(&row, &q.dequantize());
            }
            least[0] += least_error(&row, -half, half - 1.0).min(least_error(&row, 1.0 - half, half));
            let any_zero = (0..=bits.largest_code()).map(|z| least_error(&row, -f64::from(z), largest - f64::from(z)));
            least[1] += any_zero.fold(f64::INFINITY, f64::min);
        }
        for (found, least) in found.into_iter().zip(least) {
            assert!(found >= least * 0.999, "{bits} bits: no scale can do better than {least}, found {found}");
            assert!(found <= least * 1.01, "{bits} bits: {least} can be had, found {found}");
        }
    }
}

#[test]
fn fitting_beats_min_max_by_far_at_two_bits() {
    let data = pseudo_normal(64 * 128, 42);
    let rmse = |fit| {
        let q = Quantizer::new(Bits::B2).fit(fit).quantize(&data, &[64, 128]).unwrap();
        ErrorStats::of(&data, &q).rmse
    };
    assert!(rmse(Fit::SquaredError) < 0.65 * rmse(Fit::MinMax));
}

#[test]
fn threads_do_not_change_the_result() {
    // Large enough for several threads; each row alone is not.
    let data = pseudo_normal(515 * 300, 3);
    let quantizer = Quantizer::new(Bits::B4).scheme(Scheme::Asymmetric).group_size(32);
    let whole = quantizer.quantize(&data, &[515, 300]).unwrap();
    for row in [0, 128, 257, 258, 514] {
        let alone = quantizer.quantize(&data[row * 300..][..300], &[1, 300]).unwrap();
        let mut values = vec![0.0; 300];
        whole.dequantize_row_into(row, &mut values);
        assert_eq!(values, alone.dequantize());
    }
}

#[test]
fn bad_tensors_are_errors_that_say_what_is_wrong() {
    let message = |q: Quantizer, data: &[f32], shape: &[usize]| q.quantize(data, shape).unwrap_err().to_string();
    let q = || Quantizer::new(Bits::B4);
    let matrix = "a tensor to quantize should be a matrix [rows, cols] of at least 1 by 1, found shape ";
    assert_eq!(message(q(), &[1.0], &[1]), format!("{matrix}[1]"));
    assert_eq!(message(q(), &[], &[0, 4]), format!("{matrix}[0, 4]"));
    assert_eq!(message(q(), &[], &[]), format!("{matrix}[]"));
    assert_eq!(message(q(), &[1.0], &[usize::MAX, 2]), format!("{matrix}[{}, 2]", usize::MAX));
    assert_eq!(message(q(), &[1.0; 5], &[2, 3]), "shape [2, 3] holds 6 weights, found 5");
    for size in [0, 8, 40] {
        assert_eq!(
            message(q().group_size(size), &[1.0], &[1, 1]),
            format!(
                "a group size should be a multiple of 16, at least 16, found {size}; for one scale a row use per channel"
            )
        );
    }
    assert_eq!(
        message(q(), &[0.0, 0.0, 0.0, f32::NAN], &[2, 2]),
        "weight 3 (row 1, column 1) is NaN: weights must be finite"
    );
    assert!(matches!(
        q().quantize(&[f32::NEG_INFINITY], &[1, 1]),
        Err(QuantError::NotFinite { index: 0, value: f32::NEG_INFINITY, .. })
    ));
}

#[test]
fn weights_beyond_f16_scales_are_an_error_up_to_there_they_are_not() {
    for (bits, limit) in [(Bits::B2, 2.0), (Bits::B4, 8.0), (Bits::B8, 128.0), (Bits::B16, 1.0)] {
        let limit = 65504.0 * limit;
        assert_eq!(Quantizer::new(bits).quantize(&[limit], &[1, 1]).unwrap().dequantize(), [limit]);
        assert_eq!(Quantizer::new(bits).quantize(&[-limit], &[1, 1]).unwrap().dequantize(), [-limit]);
        let error = Quantizer::new(bits).quantize(&[0.0, limit * 1.01], &[1, 2]).unwrap_err();
        assert!(matches!(error, QuantError::Overflow { index: 1, .. }), "{error}");
        for fit in [Fit::MinMax, Fit::SquaredError] {
            for scheme in SCHEMES {
                let q = Quantizer::new(bits).fit(fit).scheme(scheme).quantize(&[limit, -limit, 1.0], &[1, 3]).unwrap();
                assert!(q.dequantize().iter().all(|value| value.is_finite()));
            }
        }
    }
    assert_eq!(Quantizer::new(Bits::B32).quantize(&[f32::MAX], &[1, 1]).unwrap().dequantize(), [f32::MAX]);
}

#[test]
fn weights_below_f16_scales_round_to_nothing_or_one_step() {
    for scheme in SCHEMES {
        let q = Quantizer::new(Bits::B4).scheme(scheme).quantize(&[1e-12, -1e-12, 5e-8], &[1, 3]).unwrap();
        let values = q.dequantize();
        assert_eq!(values[..2], [0.0, 0.0]);
        assert!(values[2] > 0.0 && (values[2] - 5e-8).abs() < 1e-8, "{values:?}");
    }
}

#[test]
fn bad_planes_are_errors() {
    let q = Quantizer::new(Bits::B4).scheme(Scheme::Asymmetric).quantize(&[0.3, -0.2], &[1, 2]).unwrap();
    let (scale, zero) = (q.scale_plane(), q.zero_plane());
    let error = |packed: &[u8], scale: &[u8], zero: &[u8]| {
        QTensor::from_planes(q.layout, packed.to_vec(), scale, zero).unwrap_err().to_string()
    };
    assert_eq!(error(&q.packed[1..], &scale, &zero), "the packed plane should have 32 bytes, found 31");
    assert_eq!(error(&q.packed, &scale[..2], &zero), "the scale plane should have 16 bytes, found 2");
    assert_eq!(error(&q.packed, &scale, &[]), "the zero plane should have 16 bytes, found 0");
    let infinite = [&[0x00, 0x7c][..], &scale[2..]].concat();
    assert_eq!(error(&q.packed, &infinite, &zero), "scale 0 is inf: scales must be finite");
    let beyond = [&[16][..], &zero[1..]].concat();
    assert_eq!(error(&q.packed, &scale, &beyond), "zero point 0 is 16: codes end at 15");
}
