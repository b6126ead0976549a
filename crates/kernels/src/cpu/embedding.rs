//! Embedding: table rows of each token, summed, and the normalization of the sum.

use super::layer_norm::normalize_row;
use crate::exec::Embedding;

/// `norm(table[ids] + positions[s + offset] + types[token_types])`, `[tokens, hidden]`.
pub(super) fn embedding(op: &Embedding<'_>) -> Vec<f32> {
    let hidden = op.table.layout.cols;
    let mut y = vec![0.0; op.ids.len() * hidden];
    let mut row = vec![0.0; hidden];
    for (token, out) in y.chunks_exact_mut(hidden).enumerate() {
        op.table.dequantize_row_into(op.ids[token] as usize, out);
        let position = op.positions.map(|table| (table, token % op.seq + op.position_offset));
        let segment = op.types.map(|(ids, table)| (table, ids[token] as usize));
        for (table, index) in [position, segment].into_iter().flatten() {
            table.dequantize_row_into(index, &mut row);
            out.iter_mut().zip(&row).for_each(|(sum, value)| *sum += value);
        }
        if let Some(norm) = op.norm {
            normalize_row(out, norm);
        }
    }
    y
}
