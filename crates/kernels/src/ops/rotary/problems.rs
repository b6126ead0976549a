//! Rotary positions: both styles, heads that are turned in part, columns of a wider value. Where they continue a conversation,
//! decoders have them.

use webnibble_common::graph::{Columns, Graph, Rotary, RotaryStyle};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const STYLES: &[RotaryStyle] = &[RotaryStyle::HalfSplit, RotaryStyle::Interleaved];
const HEADS: &[usize] = &[1, 3, 8];
/// Width of a head, and how many of its columns are turned.
const WIDTHS: &[(usize, usize)] = &[(2, 2), (6, 6), (7, 4), (12, 12), (64, 64), (80, 32), (256, 256)];
/// The last one, which not everything is combined with, is of angles that need more digits than f32 has behind the point.
const LENGTHS: &[usize] = &[1, 3, 17, 129, 3001];
const BATCH: &[usize] = &[1, 2];
const BASES: &[f32] = &[1e4, 5e5];
/// Columns of the input before and behind the heads.
const AROUND: &[[usize; 2]] = &[[0, 0], [3, 0], [4, 9]];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [STYLES.len(), HEADS.len(), WIDTHS.len(), LENGTHS.len() - 1, BATCH.len(), BASES.len(), AROUND.len()];
    let long = (0..STYLES.len()).map(|style| vec![style, 0, 3, LENGTHS.len() - 1, 1, 0, 1]);
    pairs(&sizes, &[]).into_iter().chain(long).map(|row| problem(&row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let &[style, heads, width, length, batch, base, around] = row else { unreachable!("a row has one index a factor") };
    let ((head_dim, turned), [before, behind]) = (WIDTHS[width], AROUND[around]);
    let (style, heads, base) = (STYLES[style], HEADS[heads], BASES[base]);
    let shape = [BATCH[batch], LENGTHS[length], before + heads * head_dim + behind];
    let name = format!("rotary {style:?} {heads} x {head_dim} turned {turned} base {base} {shape:?} from {before}");
    let mut random = Random::named(&name);

    let mut graph = Graph::default();
    let value = graph.input("x", DType::F32, ["batch".into(), "seq".into(), shape[2].into()]);
    let (x, frequencies) = (Columns { value, start: before }, Rotary::frequencies(base, turned));
    let y = graph.push("y", Rotary { x, heads, head_dim, frequencies, style, continues: false });
    graph.output(y);
    let inputs = vec![("x".to_owned(), random.tensor(&shape, 1.0))];
    Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
}
