//! Patches of one and several channels, squares of odd and even sides, images that are no squares.

use webnibble_common::graph::{Dim, Graph, Patches};
use webnibble_common::tensor::DType;
use webnibble_common::weights::WeightMap;

use crate::problems::pairs::pairs;
use crate::problems::problem::{Problem, TOLERANCE};
use crate::problems::random::Random;

const SIZES: &[usize] = &[1, 2, 3, 8, 16];
const CHANNELS: &[usize] = &[1, 3, 4];
/// Squares down and across.
const SQUARES: &[[usize; 2]] = &[[1, 1], [2, 3], [4, 4], [5, 1]];
const IMAGES: &[usize] = &[1, 3];

pub(crate) fn problems() -> Vec<Problem> {
    let sizes = [SIZES.len(), CHANNELS.len(), SQUARES.len(), IMAGES.len()];
    pairs(&sizes, &[]).iter().map(|row| problem(row)).collect()
}

fn problem(row: &[usize]) -> Problem {
    let (size, channels, [down, across]) = (SIZES[row[0]], CHANNELS[row[1]], SQUARES[row[2]]);
    let shape = [IMAGES[row[3]], channels, down * size, across * size];
    let name = format!("patches {shape:?} of {size}");
    let mut random = Random::named(&name);
    let mut graph = Graph::default();
    let dims = [Dim::Symbol("batch"), Dim::Fixed(shape[1]), Dim::Fixed(shape[2]), Dim::Fixed(shape[3])];
    let x = graph.input("x", DType::F32, dims);
    let y = graph.push("y", Patches { x, size });
    graph.output(y);
    let inputs = vec![("x".to_owned(), random.tensor(&shape, 1.0))];
    Problem { name, graph, weights: WeightMap::new(), inputs, tolerance: TOLERANCE }
}
