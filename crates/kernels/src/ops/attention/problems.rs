//! Attention: heads of every width, fused and separate operands, masks, and scores that overflow an unguarded softmax; heads
//! that share keys and values, and queries that see no keys behind them.

use webnibble_common::graph::{Attention, Columns, Dim, Graph};
use webnibble_common::tensor::{DType, Tensor};
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

/// Heads of queries, and of keys and values, in decoders.
const GROUPED: &[(usize, usize)] = &[(3, 3), (4, 2), (6, 1)];
const CAUSAL: &[bool] = &[true, false];
const DECODER_HEAD_DIM: &[usize] = &[6, 32, 64];
const DECODER_MASKS: &[Mask] = &[Mask::None, Mask::Tail, Mask::Holes];

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

/// What a problem is made of.
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    batch: usize,
    queries: usize,
    source: Source,
    mask: Mask,
    spread: f32,
    causal: bool,
}

pub(crate) fn problems() -> Vec<Problem> {
    plain().into_iter().chain(of_decoders()).map(|case| case.problem()).collect()
}

fn plain() -> Vec<Case> {
    let sizes =
        [HEADS.len(), HEAD_DIM.len(), LENGTHS.len(), BATCH.len(), SOURCES.len(), Mask::ALL.len(), SPREADS.len()];
    let case = |row: &Vec<usize>| {
        let &[heads, head_dim, length, batch, source, mask, spread] = &row[..] else {
            unreachable!("a row has one index a factor")
        };
        Case {
            heads: HEADS[heads],
            kv_heads: HEADS[heads],
            head_dim: HEAD_DIM[head_dim],
            batch: BATCH[batch],
            queries: LENGTHS[length],
            source: SOURCES[source],
            mask: Mask::ALL[mask],
            spread: SPREADS[spread],
            causal: false,
        }
    };
    pairs(&sizes, &[]).iter().map(case).collect()
}

/// Causal or grouped; what is neither is among the others.
fn of_decoders() -> Vec<Case> {
    let sizes = [
        GROUPED.len(),
        CAUSAL.len(),
        DECODER_HEAD_DIM.len(),
        LENGTHS.len(),
        BATCH.len(),
        SOURCES.len(),
        DECODER_MASKS.len(),
    ];
    let case = |row: &Vec<usize>| {
        let &[heads, causal, head_dim, length, batch, source, mask] = &row[..] else {
            unreachable!("a row has one index a factor")
        };
        Case {
            heads: GROUPED[heads].0,
            kv_heads: GROUPED[heads].1,
            head_dim: DECODER_HEAD_DIM[head_dim],
            batch: BATCH[batch],
            queries: LENGTHS[length],
            source: SOURCES[source],
            mask: DECODER_MASKS[mask],
            spread: 1.0,
            causal: CAUSAL[causal],
        }
    };
    let cases = pairs(&sizes, &[]);
    cases.iter().map(case).filter(|case| case.causal || case.heads != case.kv_heads).collect()
}

impl Case {
    fn problem(&self) -> Problem {
        let name = self.name();
        let mut random = Random::named(&name);
        let mut graph = Graph::default();
        let mut inputs = Vec::new();
        let parts = self.operands(&mut graph, &mut inputs, &mut random);
        let mask = self.mask.tensor(self.batch, self.keys()).map(|tensor| {
            inputs.push(("mask".to_owned(), tensor));
            graph.input("mask", DType::U32, ["batch".into(), self.key_length()])
        });
        let (kv_heads, causal) = (self.kv_heads, self.causal);
        let attention = Attention { mask, kv_heads, causal, ..Attention::new(parts, self.heads, self.head_dim) };
        let y = graph.push("y", attention);
        graph.output(y);
        Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
    }

    fn name(&self) -> String {
        let Self { heads, kv_heads, head_dim, batch, queries, source, mask, spread, causal } = self;
        let heads = if heads == kv_heads { heads.to_string() } else { format!("{heads}/{kv_heads}") };
        let nothing = if *mask == Mask::Nothing && *batch == 1 { " zeros" } else { "" };
        let causal = if *causal { " causal" } else { "" };
        let (keys, mask) = (self.keys(), mask.name());
        format!(
            "attention {heads} x {head_dim} batch {batch} queries {queries} keys {keys} {source:?} {mask} spread \
             {spread}{nothing}{causal}"
        )
    }

    fn keys(&self) -> usize {
        if self.source == Source::Cross { self.queries + 6 } else { self.queries }
    }

    fn key_length(&self) -> Dim {
        if self.source == Source::Cross { "keys".into() } else { "queries".into() }
    }

    /// Inputs of the graph that queries, keys and values are columns of.
    fn operands(&self, graph: &mut Graph, inputs: &mut Vec<(String, Tensor)>, random: &mut Random) -> [Columns; 3] {
        let [width, shared] = [self.heads, self.kv_heads].map(|heads| heads * self.head_dim);
        let mut input = |name: &str, (length, extent): (Dim, usize), width: usize, spread: f32| {
            inputs.push((name.to_owned(), random.tensor(&[self.batch, extent, width], spread)));
            graph.input(name, DType::F32, ["batch".into(), length, width.into()])
        };
        let (queries, keys) = (("queries".into(), self.queries), (self.key_length(), self.keys()));
        if self.source == Source::Fused {
            let qkv = input("qkv", queries, width + 2 * shared, self.spread);
            return [0, width, width + shared].map(|start| Columns { value: qkv, start });
        }
        let q = input("q", queries, width, self.spread);
        let k = input("k", keys.clone(), shared, self.spread);
        let v = input("v", keys, shared, 1.0);
        [q, k, v].map(|value| Columns { value, start: 0 })
    }
}
