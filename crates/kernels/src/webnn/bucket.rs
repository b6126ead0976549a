//! Buckets: lengths that graphs are built for, so that not every text needs a graph of its own.

use std::collections::BTreeSet;

use webnibble_common::graph::{Bindings, Dim, Graph, Rows};

/// Lengths that graphs are built for; longer ones are multiples of the last.
const LENGTHS: [usize; 9] = [16, 32, 64, 96, 128, 192, 256, 384, 512];

/// The shapes to build a graph for, and which of its symbols are longer than asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Extents of the bucket.
    pub bindings: Bindings,
    /// Symbols that may be padded, wherever they are a value's second dimension.
    pub padded: BTreeSet<&'static str>,
}

/// The bucket that `bindings` fall into.
///
/// Only symbols that are second dimensions are padded (`seq`, never `batch`), and only where padding cannot be seen in
/// what is kept: every attention over them and every pooling of them has a mask, which padding leaves at 0.
pub fn bucket_of(graph: &Graph, bindings: &Bindings) -> Bucket {
    let padded = paddable(graph);
    let symbols = symbols(graph);
    let extents = symbols.into_iter().filter_map(|symbol| {
        let extent = bindings.symbol(symbol)?;
        let limit = if padded.contains(symbol) { longest(graph, symbol) } else { Some(extent) };
        Some((symbol, bucket_length(extent).min(limit.unwrap_or(usize::MAX)).max(extent)))
    });
    Bucket { bindings: Bindings::new(extents), padded }
}

/// Copies `rows` rows from one matrix to another of another width: the columns that both have.
pub fn copy_rows<T: Copy>(from: &[T], from_cols: usize, to: &mut [T], to_cols: usize) {
    let both = from_cols.min(to_cols);
    for (from, to) in from.chunks_exact(from_cols).zip(to.chunks_exact_mut(to_cols)) {
        to[..both].copy_from_slice(&from[..both]);
    }
}

fn bucket_length(extent: usize) -> usize {
    let step = LENGTHS[LENGTHS.len() - 1];
    LENGTHS.into_iter().find(|length| *length >= extent).unwrap_or_else(|| extent.next_multiple_of(step))
}

fn symbols(graph: &Graph) -> BTreeSet<&'static str> {
    let mut found = Vec::new();
    graph.values.iter().flat_map(|value| &value.shape).for_each(|dim| dim.symbols(&mut found));
    found.into_iter().collect()
}

fn paddable(graph: &Graph) -> BTreeSet<&'static str> {
    let mut excluded = Vec::new();
    for value in &graph.values {
        // An expression's extent is no longer what the graph says once a symbol in it is padded.
        let others =
            value.shape.iter().enumerate().filter(|(axis, dim)| *axis != 1 || matches!(dim, Dim::Expression(_)));
        others.for_each(|(_, dim)| dim.symbols(&mut excluded));
    }
    for node in &graph.nodes {
        let reads = node.op.operator().reads();
        if !reads.iter().any(|read| read.rows == Rows::Mask) {
            // Nothing tells it of padding.
            let all = reads.iter().filter(|read| read.rows == Rows::All);
            all.for_each(|read| graph.value_of(read.value).shape[1].symbols(&mut excluded));
        }
    }
    symbols(graph).into_iter().filter(|symbol| !excluded.contains(symbol)).collect()
}

/// The longest that a symbol can be: positions that the graph has for it; `None` where nothing limits it.
pub fn longest(graph: &Graph, symbol: &'static str) -> Option<usize> {
    let positions = graph.nodes.iter().filter_map(|node| node.op.operator().positions());
    let of_symbol = positions.filter(|positions| graph.value_of(positions.of).shape[1] == Dim::Symbol(symbol));
    of_symbol.map(|positions| graph.longest(positions)).min()
}
