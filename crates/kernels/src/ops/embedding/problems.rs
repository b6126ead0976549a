//! Embedding: tables of every width, with and without positions, segments and normalization; tables that a linear operator
//! reads too.

use webnibble_common::graph::{Activation, Embedding, Graph, Linear, Normalization, Role};
use webnibble_common::quant::{Bits, Format, Granularity, Scheme};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const VOCAB: usize = 37;
const SEGMENTS: usize = 2;
const BITS: &[Bits] = &[Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32];
const SCHEMES: &[Scheme] = &[Scheme::Symmetric, Scheme::Asymmetric];
const GRANULARITIES: &[Granularity] = &[Granularity::Tensor, Granularity::Channel, Granularity::Group(32)];
const HIDDEN: &[usize] = &[1, 17, 129, 384];
const SEQ: &[usize] = &[1, 3, 17, 129];
const BATCH: &[usize] = &[1, 2];
const FLAGS: &[bool] = &[false, true];
/// No positions, positions, and positions that begin at table row 2.
const POSITIONS: &[Option<usize>] = &[None, Some(0), Some(2)];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [
        BITS.len(),
        SCHEMES.len(),
        GRANULARITIES.len(),
        HIDDEN.len(),
        SEQ.len(),
        BATCH.len(),
        POSITIONS.len(),
        FLAGS.len(),
        FLAGS.len(),
    ];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).chain(tied()).collect()
}

fn problem(row: &[usize]) -> Problem {
    let &[bits, scheme, granularity, hidden, seq, batch, positions, types, norm] = row else {
        unreachable!("a row has one index a factor")
    };
    let format = Format { bits: BITS[bits], scheme: SCHEMES[scheme], granularity: GRANULARITIES[granularity] };
    let (hidden, shape) = (HIDDEN[hidden], [BATCH[batch], SEQ[seq]]);
    let (offset, types, norm) = (POSITIONS[positions], FLAGS[types], FLAGS[norm]);
    let positions_name = offset.map(|offset| format!(" positions from {offset}")).unwrap_or_default();
    let name = format!(
        "embedding {format} {shape:?} -> {hidden}{positions_name}{}{}",
        if types { " types" } else { "" },
        if norm { " norm" } else { "" }
    );
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let mut weights = WeightMap::new();
    let tokens = || ["batch".into(), "seq".into()];
    let ids = graph.input("ids", DType::U32, tokens());
    let mut inputs = vec![("ids".to_owned(), random.ids(&shape, VOCAB))];
    let mut table = |graph: &mut Graph, name: &str, rows: usize, random: &mut Random| {
        weights.insert(name.to_owned(), random.matrix([rows, hidden], format));
        graph.weight(name, [rows, hidden], Role::Embedding, &[])
    };
    let words = table(&mut graph, "table", VOCAB, &mut random);
    // Exactly as many rows as the longest sequence needs.
    let positions = offset.map(|offset| table(&mut graph, "positions", shape[1] + offset, &mut random));
    let segments = types.then(|| table(&mut graph, "types", SEGMENTS, &mut random));
    let token_types = types.then(|| {
        inputs.push(("token_types".to_owned(), random.ids(&shape, SEGMENTS)));
        graph.input("token_types", DType::U32, tokens())
    });
    let norm = norm.then(|| {
        weights.insert("norm.weight".to_owned(), random.vector(hidden, 1.0));
        weights.insert("norm.bias".to_owned(), random.vector(hidden, 0.1));
        let mut vector = |name: &str| graph.weight(name, [hidden], Role::Vector, &[]);
        // Tables of one scale can give tokens whose columns are nearly equal: an epsilon as real models have it tames them.
        Normalization::layer(vector("norm.weight"), vector("norm.bias"), 1e-5)
    });
    let position_offset = offset.unwrap_or(0);
    let op = Embedding { ids, token_types, table: words, positions, position_offset, types: segments, norm };
    let y = graph.push("y", op);
    graph.output(y);
    Problem { name, graph, weights, inputs, tolerance: TOLERANCE }
}

/// Tables that are the matrix of a linear operator too, as where a model's last product is with its token table.
fn tied() -> impl Iterator<Item = Problem> {
    let sizes = [BITS.len(), SCHEMES.len(), GRANULARITIES.len(), HIDDEN.len(), SEQ.len()];
    pairs(&sizes, &[]).into_iter().map(|row| {
        let format = Format { bits: BITS[row[0]], scheme: SCHEMES[row[1]], granularity: GRANULARITIES[row[2]] };
        tied_problem(format, HIDDEN[row[3]], SEQ[row[4]])
    })
}

fn tied_problem(format: Format, hidden: usize, seq: usize) -> Problem {
    let name = format!("embedding {format} [2, {seq}] -> {hidden} tied");
    let mut random = Random::named(&name);
    let mut graph = Graph::default();
    let ids = graph.input("ids", DType::U32, ["batch".into(), "seq".into()]);
    let table = graph.weight("table", [VOCAB, hidden], Role::Embedding, &[]);
    let embedding =
        Embedding { ids, token_types: None, table, positions: None, position_offset: 0, types: None, norm: None };
    let x = graph.push("x", embedding);
    let linear = Linear { x, weight: table, bias: None, activation: Activation::Identity, residual: None };
    let y = graph.push("y", linear);
    graph.output(y);
    let weights = WeightMap::from([("table".to_owned(), random.matrix([VOCAB, hidden], format))]);
    let inputs = vec![("ids".to_owned(), random.ids(&[2, seq], VOCAB))];
    Problem { name, graph, weights, inputs, tolerance: TOLERANCE }
}
