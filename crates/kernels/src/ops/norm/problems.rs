//! Normalization, where digits are lost: large offsets, large and tiny spreads, rows without any.

use webnibble_common::graph::{Graph, Norm, NormKind, Normalization, Role, ValueId};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::{Random, floats};

const KINDS: &[NormKind] = &[NormKind::Layer, NormKind::Rms];
const BIAS: &[bool] = &[true, false];
const HIDDEN: &[usize] = &[1, 3, 17, 129, 384, 768, 1024];
const ROWS: &[usize] = &[1, 3, 17, 129];
const EPS: &[f32] = &[1e-12, 1e-5];
/// Offset and spread of the values.
const VALUES: &[(f32, f32)] = &[(0.0, 1.0), (1000.0, 1.0), (-3.0, 1e4), (0.0, 1e-3), (2.0, 0.0)];

/// A value with the root of its mean square taken out, as a LLaMA's layers begin with it.
pub(crate) fn normalized(
    graph: &mut Graph,
    weights: &mut WeightMap,
    (random, width): (&mut Random, usize),
    x: ValueId,
) -> ValueId {
    weights.insert("norm".to_owned(), random.vector(width, 1.0));
    let weight = graph.weight("norm", [width], Role::Vector, &[]);
    graph.push("normed", Norm { x, by: Normalization::rms(weight, 1e-5) })
}

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [KINDS.len(), BIAS.len(), HIDDEN.len(), ROWS.len(), EPS.len(), VALUES.len()];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let (kind, has_bias, hidden, rows, eps) = (KINDS[row[0]], BIAS[row[1]], HIDDEN[row[2]], ROWS[row[3]], EPS[row[4]]);
    let (offset, spread) = VALUES[row[5]];
    // Without a shift, a row without any spread is all zeros.
    let zeros = kind == NormKind::Layer && !has_bias && (hidden == 1 || spread == 0.0);
    let name = format!(
        "norm {kind:?}{}{} [{rows}, {hidden}] eps {eps:e} values {offset} ± {spread}",
        if has_bias { " bias" } else { "" },
        if zeros { " zeros" } else { "" }
    );
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let mut weights = WeightMap::from([("weight".to_owned(), random.vector(hidden, 1.0))]);
    let x = graph.input("x", DType::F32, ["rows".into(), hidden.into()]);
    let weight = graph.weight("weight", [hidden], Role::Vector, &[]);
    let bias = has_bias.then(|| {
        weights.insert("bias".to_owned(), random.vector(hidden, 0.1));
        graph.weight("bias", [hidden], Role::Vector, &[])
    });
    let y = graph.push("y", Norm { x, by: Normalization { kind, weight, bias, eps } });
    graph.output(y);
    let x = floats(&[rows, hidden], random.normals(rows * hidden, offset, spread));
    Problem { name, graph, weights, inputs: vec![("x".to_owned(), x)], tolerance: TOLERANCE }
}
