//! Layer normalization, where digits are lost: large offsets, large and tiny spreads, rows without any.

use webnibble_common::graph::{Graph, LayerNorm, Norm, Role};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::{Random, floats};

const HIDDEN: &[usize] = &[1, 3, 17, 129, 384, 768, 1024];
const ROWS: &[usize] = &[1, 3, 17, 129];
const EPS: &[f32] = &[1e-12, 1e-5];
/// Offset and spread of the values.
const VALUES: &[(f32, f32)] = &[(0.0, 1.0), (1000.0, 1.0), (-3.0, 1e4), (0.0, 1e-3), (2.0, 0.0)];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [HIDDEN.len(), ROWS.len(), EPS.len(), VALUES.len()];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let (hidden, rows, eps) = (HIDDEN[row[0]], ROWS[row[1]], EPS[row[2]]);
    let (offset, spread) = VALUES[row[3]];
    let name = format!("layer_norm [{rows}, {hidden}] eps {eps:e} values {offset} ± {spread}");
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["rows".into(), hidden.into()]);
    let weight = graph.weight("weight", [hidden], Role::Vector, &[]);
    let bias = graph.weight("bias", [hidden], Role::Vector, &[]);
    let y = graph.push("y", LayerNorm { x, norm: Norm { weight, bias, eps } });
    graph.output(y);
    let weights = WeightMap::from([
        ("weight".to_owned(), random.vector(hidden, 1.0)),
        ("bias".to_owned(), random.vector(hidden, 0.1)),
    ]);
    let x = floats(&[rows, hidden], random.normals(rows * hidden, offset, spread));
    Problem { name, graph, weights, inputs: vec![("x".to_owned(), x)], tolerance: TOLERANCE }
}
