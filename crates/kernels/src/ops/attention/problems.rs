//! Attention: heads of every width, fused and separate operands, masks, and scores that overflow an unguarded softmax.

use webnibble_common::graph::{Attention, Columns, Dim, Graph};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::{Mask, Random};

const HEADS: &[usize] = &[1, 3, 12];
const HEAD_DIM: &[usize] = &[12, 16, 32, 64, 80, 128];
const LENGTHS: &[usize] = &[1, 3, 17, 127, 129];
const BATCH: &[usize] = &[1, 2];
const SOURCES: &[Source] = &[Source::Fused, Source::Separate, Source::Cross];
/// Spread of queries and keys: the second makes scores of some hundreds.
const SPREADS: &[f32] = &[1.0, 10.0];

/// Where queries, keys and values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Columns of one value, as after a fused projection.
    Fused,
    /// Three values.
    Separate,
    /// Three values; there are more keys than queries.
    Cross,
}

pub(crate) fn problems() -> Vec<Problem> {
    let sizes =
        [HEADS.len(), HEAD_DIM.len(), LENGTHS.len(), BATCH.len(), SOURCES.len(), Mask::ALL.len(), SPREADS.len()];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let &[heads, head_dim, length, batch, source, mask, spread] = row else {
        unreachable!("a row has one index a factor")
    };
    let (heads, head_dim, queries, batch) = (HEADS[heads], HEAD_DIM[head_dim], LENGTHS[length], BATCH[batch]);
    let (source, mask, spread) = (SOURCES[source], Mask::ALL[mask], SPREADS[spread]);
    let keys = if source == Source::Cross { queries + 6 } else { queries };
    let nothing = if mask == Mask::Nothing && batch == 1 { " zeros" } else { "" };
    let name = format!(
        "attention {heads} x {head_dim} batch {batch} queries {queries} keys {keys} {source:?} {} spread {spread}{nothing}",
        mask.name()
    );
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let mut inputs = Vec::new();
    let width = heads * head_dim;
    let key_length: Dim = if source == Source::Cross { "keys".into() } else { "queries".into() };
    let mut input = |graph: &mut Graph, name: &str, length: Dim, extent: usize, width: usize, spread: f32| {
        inputs.push((name.to_owned(), random.tensor(&[batch, extent, width], spread)));
        graph.input(name, DType::F32, ["batch".into(), length, width.into()])
    };
    let [q, k, v] = if source == Source::Fused {
        let qkv = input(&mut graph, "qkv", "queries".into(), queries, 3 * width, spread);
        [0, 1, 2].map(|part| Columns { value: qkv, start: part * width })
    } else {
        let q = input(&mut graph, "q", "queries".into(), queries, width, spread);
        let k = input(&mut graph, "k", key_length.clone(), keys, width, spread);
        let v = input(&mut graph, "v", key_length.clone(), keys, width, 1.0);
        [q, k, v].map(|value| Columns { value, start: 0 })
    };
    let mask = mask.tensor(batch, keys).map(|tensor| {
        inputs.push(("mask".to_owned(), tensor));
        graph.input("mask", DType::U32, ["batch".into(), key_length])
    });
    let scale = 1.0 / (head_dim as f32).sqrt();
    let y = graph.push("y", Attention { q, k, v, mask, heads, head_dim, scale });
    graph.output(y);
    Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
}
