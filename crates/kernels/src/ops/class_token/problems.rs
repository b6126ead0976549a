//! Class tokens with position tables of every format.

use webnibble_common::graph::{ClassToken, Graph, Role};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const BITS: &[Bits] = &[Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];
const SCHEMES: &[Scheme] = &[Scheme::Symmetric, Scheme::Asymmetric];
const GRANULARITIES: &[Granularity] = &[Granularity::Tensor, Granularity::Channel, Granularity::Group(32)];
const HIDDEN: &[usize] = &[1, 17, 64, 129, 384];
const ROWS: &[usize] = &[1, 4, 16, 63];
const BATCH: &[usize] = &[1, 3];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [BITS.len(), SCHEMES.len(), GRANULARITIES.len(), HIDDEN.len(), ROWS.len(), BATCH.len()];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let format = Format { bits: BITS[row[0]], scheme: SCHEMES[row[1]], granularity: GRANULARITIES[row[2]] };
    let shape = [BATCH[row[5]], ROWS[row[4]], HIDDEN[row[3]]];
    let [_, rows, hidden] = shape;
    let name = format!("class_token {format} {shape:?}");
    let mut random = Random::named(&name);
    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["batch".into(), rows.into(), hidden.into()]);
    let token = graph.weight("token", [hidden], Role::Vector, &[]);
    let positions = graph.weight("positions", [1 + rows, hidden], Role::Embedding, &[]);
    let weights = WeightMap::from([
        ("token".to_owned(), random.vector(hidden, 0.0)),
        ("positions".to_owned(), random.matrix([1 + rows, hidden], format)),
    ]);
    let y = graph.push("y", ClassToken { x, token, positions });
    graph.output(y);
    let inputs = vec![("x".to_owned(), random.tensor(&shape, 1.0))];
    Problem { name, graph, weights, inputs, tolerance: TOLERANCE }
}
