//! Twin of `class_token.wgsl`.

use webnibble_common::graph::ClassToken;

use crate::exec::operands::Operands;

/// The token and the rows of each sequence, each with its position, `[batch · (1 + rows), hidden]`.
pub(crate) fn compute(op: &ClassToken, operands: Operands<'_>) -> Vec<f32> {
    let (token, positions) = (operands.vector(op.token), operands.matrix(op.positions));
    let (seq, hidden) = (positions.layout.rows, positions.layout.cols);
    let mut position = vec![0.0; hidden];
    let mut y = Vec::new();
    for rows in operands.floats(op.x).chunks_exact((seq - 1) * hidden) {
        for (place, row) in std::iter::once(token).chain(rows.chunks_exact(hidden)).enumerate() {
            positions.dequantize_row_into(place, &mut position);
            y.extend(row.iter().zip(&position).map(|(value, position)| value + position));
        }
    }
    y
}
