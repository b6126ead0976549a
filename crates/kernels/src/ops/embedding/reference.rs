//! Twin of `embedding.wgsl`.

use webnibble_common::graph::Embedding;

use crate::exec::operands::Operands;
use crate::ops::norm::reference::normalize_row;

/// Table rows of each token, summed, and the normalization of the sum: `[tokens, hidden]`.
pub(crate) fn compute(op: &Embedding, operands: Operands<'_>) -> Vec<f32> {
    let (ids, seq, table) = (operands.ids(op.ids), operands.shape(op.ids)[1], operands.matrix(op.table));
    let positions = op.positions.map(|positions| operands.matrix(positions));
    let types = op.token_types.zip(op.types).map(|(ids, table)| (operands.ids(ids), operands.matrix(table)));
    let norm = op.norm.map(|norm| operands.norm(norm));
    let hidden = table.layout.cols;
    let mut y = Vec::with_capacity(ids.len() * hidden);
    let mut row = vec![0.0; hidden];
    let mut sum = vec![0.0; hidden];
    for (token, id) in ids.iter().enumerate() {
        let position = positions.map(|table| (table, token % seq + op.position_offset));
        let segment = types.map(|(ids, table)| (table, ids[token] as usize));
        sum.fill(0.0);
        for (table, index) in [Some((table, *id as usize)), position, segment].into_iter().flatten() {
            table.dequantize_row_into(index, &mut row);
            for (sum, value) in sum.iter_mut().zip(&row) {
                *sum += f64::from(*value);
            }
        }
        match norm {
            Some(norm) => y.extend(normalize_row(&sum, norm)),
            None => y.extend(sum.iter().map(|value| *value as f32)),
        }
    }
    y
}
