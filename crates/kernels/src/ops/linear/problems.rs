//! Linear at every format, with odd and tile-aligned shapes.

use webnibble_common::graph::{Activation, Graph, Linear, Op, Role};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::ops::norm::problems::normalized;
use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const BITS: &[Bits] = &[Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];
const SCHEMES: &[Scheme] = &[Scheme::Symmetric, Scheme::Asymmetric];
// A group of 48 divides neither a power of two nor the padding of a row.
const GRANULARITIES: &[Granularity] = &[
    Granularity::Tensor,
    Granularity::Channel,
    Granularity::Group(32),
    Granularity::Group(48),
    Granularity::Group(128),
];
const BATCH: &[usize] = &[1, 2];
const M: &[usize] = &[1, 3, 17, 64, 127, 128, 129];
const N: &[usize] = &[1, 3, 17, 64, 127, 128, 129, 384];
const K: &[usize] = &[1, 3, 17, 64, 127, 128, 129, 384, 1536];
const ACTIVATIONS: &[Activation] = &[
    Activation::Identity,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Tanh,
];
const FLAGS: &[bool] = &[false, true];

/// Every format, and every choice with every other.
pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [
        BITS.len(),
        SCHEMES.len(),
        GRANULARITIES.len(),
        BATCH.len(),
        M.len(),
        N.len(),
        K.len(),
        ACTIVATIONS.len(),
        FLAGS.len(),
        FLAGS.len(),
    ];
    let mut cases = pairs(&sizes, &integer_formats());
    cases.extend(shapes_of_models());
    cases.iter().map(|row| problem(row)).chain(behind_norm()).collect()
}

/// The first linear operators of a LLaMA's layer, which few rows of compute the normalization before them.
fn behind_norm() -> Vec<Problem> {
    let formats = [(0, 0, 3), (1, 1, 2), (1, 0, 4), (2, 0, 1), (3, 0, 0), (4, 0, 0)];
    let case = |(bits, scheme, granularity): (usize, usize, usize)| {
        // One row and three, of 127 and 384 columns.
        [(0, 4), (1, 7)].map(|(m, k)| problem(&[bits, scheme, granularity, 0, m, 4, k, 4, 1, 1]))
    };
    formats.into_iter().flat_map(case).map(with_norm).collect()
}

/// The same with its input normalized.
fn with_norm(Problem { name, mut graph, mut weights, inputs, tolerance }: Problem) -> Problem {
    let name = format!("{name} behind norm");
    let (mut random, x) = (Random::named(&name), graph.inputs[0]);
    let mut nodes = std::mem::take(&mut graph.nodes);
    let width = inputs[0].1.shape()[2];
    let normed = normalized(&mut graph, &mut weights, (&mut random, width), x);
    for node in &mut nodes {
        if let Op::Linear(linear) = &mut node.op {
            linear.x = normed;
        }
    }
    graph.nodes.extend(nodes);
    Problem { name, graph, weights, inputs, tolerance }
}

/// All three choices of an integer format together, where pairs would leave some out.
fn integer_formats() -> Vec<Vec<usize>> {
    let integers = BITS.iter().filter(|bits| bits.is_integer()).count();
    let rest = |bits: usize| (0..SCHEMES.len() * GRANULARITIES.len()).map(move |i| (bits, i));
    let all = (0..integers).flat_map(rest);
    all.map(|(bits, i)| vec![bits, i % SCHEMES.len(), i / SCHEMES.len()]).collect()
}

/// The feed-forward block of MiniLM, and one token of it, at 4 bits.
fn shapes_of_models() -> Vec<Vec<usize>> {
    let (m_1, m_128, n_384, k_384, k_1536) = (0, 5, 7, 7, 8);
    let format = [1, 0, 4];
    let case = |m: usize, k: usize| [&format[..], &[0, m, n_384, k, 2, 1, 1]].concat();
    vec![case(m_128, k_1536), case(m_1, k_1536), case(m_128, k_384)]
}

fn problem(row: &[usize]) -> Problem {
    let &[bits, scheme, granularity, batch, m, n, k, activation, bias, residual] = row else {
        unreachable!("a row has one index a factor")
    };
    let format = Format { bits: BITS[bits], scheme: SCHEMES[scheme], granularity: GRANULARITIES[granularity] };
    let (shape, n) = ([BATCH[batch], M[m], K[k]], N[n]);
    let (activation, bias, residual) = (ACTIVATIONS[activation], FLAGS[bias], FLAGS[residual]);
    let flag = |set: bool, name: &'static str| if set { name } else { "" };
    let name = format!(
        "linear {format} {shape:?} -> {n} {activation:?}{}{}",
        flag(bias, " bias"),
        flag(residual, " residual")
    );
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let mut weights = WeightMap::new();
    let x = graph.input("x", DType::F32, ["batch".into(), "rows".into(), shape[2].into()]);
    let weight = graph.weight("weight", [n, shape[2]], Role::Linear, &[]);
    weights.insert("weight".to_owned(), random.matrix([n, shape[2]], format));
    let mut inputs = vec![("x".to_owned(), random.tensor(&shape, 1.0))];
    let bias = bias.then(|| {
        weights.insert("bias".to_owned(), random.vector(n, 0.1));
        graph.weight("bias", [n], Role::Vector, &[])
    });
    let residual = residual.then(|| {
        inputs.push(("residual".to_owned(), random.tensor(&[shape[0], shape[1], n], 1.0)));
        graph.input("residual", DType::F32, ["batch".into(), "rows".into(), n.into()])
    });
    let y = graph.push("y", Linear { x, weight, bias, activation, residual });
    graph.output(y);
    Problem { name, graph, weights, inputs, tolerance: TOLERANCE }
}
