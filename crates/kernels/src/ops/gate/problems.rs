//! Gates of odd and even widths by themselves, and behind a linear operator of every format, as feed-forward blocks have them.

use webnibble_common::graph::{Activation, Gate, Graph, Linear, Role};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::ops::norm::problems::normalized;
use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const ACTIVATIONS: &[Activation] = &[Activation::Silu, Activation::Gelu, Activation::GeluTanh];
const COLUMNS: &[usize] = &[1, 3, 17, 64, 129, 384];
const ROWS: &[usize] = &[1, 3, 17, 129];
const BITS: &[Bits] = &[Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];
const SCHEMES: &[Scheme] = &[Scheme::Symmetric, Scheme::Asymmetric];
const GRANULARITIES: &[Granularity] = &[Granularity::Tensor, Granularity::Channel, Granularity::Group(32)];
const WIDTHS: &[usize] = &[129, 64];
const FLAGS: &[bool] = &[false, true];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [ACTIVATIONS.len(), COLUMNS.len(), ROWS.len()];
    let alone = pairs(&sizes, &[]);
    let sizes = [
        ACTIVATIONS.len(),
        COLUMNS.len(),
        ROWS.len(),
        BITS.len(),
        SCHEMES.len(),
        GRANULARITIES.len(),
        WIDTHS.len(),
        FLAGS.len(),
        FLAGS.len(),
    ];
    let behind_linear = pairs(&sizes, &[]);
    alone.iter().map(|row| gate(row)).chain(behind_linear.iter().map(|row| gated_linear(row))).collect()
}

fn gate(row: &[usize]) -> Problem {
    let (activation, columns, rows) = (ACTIVATIONS[row[0]], COLUMNS[row[1]], ROWS[row[2]]);
    let name = format!("gate {activation:?} [{rows}, {columns}]");
    let mut random = Random::named(&name);
    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["rows".into(), (2 * columns).into()]);
    let y = graph.push("y", Gate { x, activation });
    graph.output(y);
    let inputs = vec![("x".to_owned(), random.tensor(&[rows, 2 * columns], 3.0))];
    Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
}

/// A gated linear unit; behind a normalization as in a LLaMA, or without.
fn gated_linear(row: &[usize]) -> Problem {
    let (activation, columns, rows, width) = (ACTIVATIONS[row[0]], COLUMNS[row[1]], ROWS[row[2]], WIDTHS[row[6]]);
    let format = Format { bits: BITS[row[3]], scheme: SCHEMES[row[4]], granularity: GRANULARITIES[row[5]] };
    let (normed, biased) = (FLAGS[row[7]], FLAGS[row[8]]);
    let flag = |set: bool, name: &'static str| if set { name } else { "" };
    let flags = [flag(normed, " behind norm"), flag(biased, " bias")].concat();
    let name = format!("gate {format} [{rows}, {width}] -> {columns} {activation:?}{flags}");
    let mut random = Random::named(&name);
    let (mut graph, mut weights) = (Graph::default(), WeightMap::new());
    let input = graph.input("x", DType::F32, ["rows".into(), width.into()]);
    let x = match normed {
        true => normalized(&mut graph, &mut weights, (&mut random, width), input),
        false => input,
    };
    let shape = [2 * columns, width];
    let weight = graph.weight("weight", shape, Role::Linear, &[]);
    weights.insert("weight".to_owned(), random.matrix(shape, format));
    let bias = biased.then(|| {
        weights.insert("bias".to_owned(), random.vector(shape[0], 0.1));
        graph.weight("bias", [shape[0]], Role::Vector, &[])
    });
    let linear = Linear { x, weight, bias, activation: Activation::Identity, residual: None };
    let both = graph.push("both", linear);
    let y = graph.push("y", Gate { x: both, activation });
    graph.output(y);
    let inputs = vec![("x".to_owned(), random.tensor(&[rows, width], 1.0))];
    Problem { name, graph, weights, inputs, tolerance: TOLERANCE }
}
