//! Embedding: table rows of each token, summed, and the normalization of the sum.

use webnibble_common::graph::Embedding;

use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;
use crate::ops::norm::cpu::normalize_row;

/// `norm(table[ids] + positions[s + offset] + types[token_types])`, `[tokens, hidden]`.
pub(crate) fn compute(op: &Embedding, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let (ids, seq, table) = (operands.ids(op.ids), operands.shape(op.ids)[1], operands.matrix(op.table));
    let positions = op.positions.map(|positions| operands.matrix(positions));
    let types = op.token_types.zip(op.types).map(|(ids, table)| (operands.ids(ids), operands.matrix(table)));
    let norm = op.norm.map(|norm| operands.norm(norm));
    let hidden = table.layout.cols;
    let mut y = vec![0.0; ids.len() * hidden];
    let mut row = vec![0.0; hidden];
    for (token, out) in y.chunks_exact_mut(hidden).enumerate() {
        table.dequantize_row_into(ids[token] as usize, out);
        let position = positions.map(|table| (table, token % seq + op.position_offset));
        let segment = types.map(|(ids, table)| (table, ids[token] as usize));
        for (table, index) in [position, segment].into_iter().flatten() {
            table.dequantize_row_into(index, &mut row);
            out.iter_mut().zip(&row).for_each(|(sum, value)| *sum += value);
        }
        if let Some(norm) = norm {
            normalize_row(out, norm);
        }
    }
    y
}
