//! Twin of `wgsl/embedding.wgsl`.

use crate::exec::Embedding;
use crate::reference::layer_norm::normalize_row;

/// Table rows of each token, summed, and the normalization of the sum: `[tokens, hidden]`.
pub fn embedding(op: &Embedding<'_>) -> Vec<f32> {
    let hidden = op.table.layout.cols;
    let mut y = Vec::with_capacity(op.ids.len() * hidden);
    let mut row = vec![0.0; hidden];
    let mut sum = vec![0.0; hidden];
    for (token, id) in op.ids.iter().enumerate() {
        let position = op.positions.map(|table| (table, token % op.seq + op.position_offset));
        let segment = op.types.map(|(ids, table)| (table, ids[token] as usize));
        sum.fill(0.0);
        for (table, index) in [Some((op.table, *id as usize)), position, segment].into_iter().flatten() {
            table.dequantize_row_into(index, &mut row);
            for (sum, value) in sum.iter_mut().zip(&row) {
                *sum += f64::from(*value);
            }
        }
        match op.norm {
            Some(norm) => y.extend(normalize_row(&sum, norm)),
            None => y.extend(sum.iter().map(|value| *value as f32)),
        }
    }
    y
}
