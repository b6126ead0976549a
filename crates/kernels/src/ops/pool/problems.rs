//! Pooling of every kind, with masks, and of zeros, whose norm nothing may be divided by.

use webnibble_common::graph::{Graph, Pool, Pooling};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::{Mask, Random};

const POOLINGS: &[Pooling] = &[Pooling::Mean, Pooling::Cls, Pooling::Max, Pooling::Last];
const HIDDEN: &[usize] = &[1, 17, 129, 384];
const SEQ: &[usize] = &[1, 3, 17, 129];
const BATCH: &[usize] = &[1, 3];
const NORMALIZE: &[bool] = &[false, true];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [POOLINGS.len(), HIDDEN.len(), SEQ.len(), BATCH.len(), Mask::ALL.len(), NORMALIZE.len()];
    let mut problems: Vec<Problem> = pairs(&sizes, &[]).iter().map(|row| problem(row, 1.0)).collect();
    // Mean, 129 wide, 3 tokens, one sequence, no mask, normalized.
    problems.push(problem(&[0, 2, 1, 0, 0, 1], 0.0));
    problems
}

fn problem(row: &[usize], spread: f32) -> Problem {
    let &[pooling, hidden, seq, batch, mask, normalize] = row else { unreachable!("a row has one index a factor") };
    let (pooling, mask, normalize) = (POOLINGS[pooling], Mask::ALL[mask], NORMALIZE[normalize]);
    let shape = [BATCH[batch], SEQ[seq], HIDDEN[hidden]];
    let empty = mask == Mask::Nothing && shape[0] == 1 && matches!(pooling, Pooling::Mean | Pooling::Max);
    let name = format!(
        "pool {pooling:?} {shape:?} {}{}{}",
        mask.name(),
        if normalize { " normalized" } else { "" },
        if empty || spread == 0.0 { " zeros" } else { "" }
    );
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let x = graph.input("x", DType::F32, ["batch".into(), "seq".into(), shape[2].into()]);
    let mut inputs = vec![("x".to_owned(), random.tensor(&shape, spread))];
    let mask = mask.tensor(shape[0], shape[1]).map(|tensor| {
        inputs.push(("mask".to_owned(), tensor));
        graph.input("mask", DType::U32, ["batch".into(), "seq".into()])
    });
    let y = graph.push("y", Pool { x, mask, pooling, normalize });
    graph.output(y);
    Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
}
