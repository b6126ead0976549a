//! Quantizing and dequantizing the matrices of a BERT-base layer: `cargo bench -p webnibble-benches --bench quantize`.
//! Throughput is in weights a second.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use webnibble_common::quant::{Bits, Fit, Quantizer, Scheme};

const ROWS: usize = 768;
const COLS: usize = 768;
const INTEGERS: [Bits; 3] = [Bits::B2, Bits::B4, Bits::B8];

/// Weights that are much alike to normal ones.
fn weights() -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..ROWS * COLS).map(|_| 0.03 * (uniform() + uniform() + uniform() + uniform())).collect()
}

fn quantize(criterion: &mut Criterion) {
    let data = weights();
    let mut group = criterion.benchmark_group("quantize g128");
    group.throughput(Throughput::Elements((ROWS * COLS) as u64)).sample_size(10);
    for bits in INTEGERS {
        for (name, scheme, fit) in [
            ("min-max", Scheme::Symmetric, Fit::MinMax),
            ("symmetric", Scheme::Symmetric, Fit::SquaredError),
            ("asymmetric", Scheme::Asymmetric, Fit::SquaredError),
        ] {
            let quantizer = Quantizer::new(bits).scheme(scheme).fit(fit);
            group.bench_function(BenchmarkId::new(name, bits), |bencher| {
                bencher.iter(|| quantizer.quantize(black_box(&data), &[ROWS, COLS]).expect("the weights are finite"));
            });
        }
    }
    group.finish();
}

fn dequantize(criterion: &mut Criterion) {
    let data = weights();
    let mut group = criterion.benchmark_group("dequantize rows");
    group.throughput(Throughput::Elements((ROWS * COLS) as u64)).sample_size(20);
    let mut row = vec![0.0; COLS];
    for bits in INTEGERS.into_iter().chain([Bits::B16, Bits::B32]) {
        let tensor = Quantizer::new(bits).quantize(&data, &[ROWS, COLS]).expect("the weights are finite");
        group.bench_function(BenchmarkId::from_parameter(bits), |bencher| {
            bencher.iter(|| {
                for index in 0..ROWS {
                    tensor.dequantize_row_into(index, black_box(&mut row));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, quantize, dequantize);
criterion_main!(benches);
