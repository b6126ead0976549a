//! A class token and positions: each row of the table is dequantized once.

use webnibble_common::graph::ClassToken;

use crate::cpu::threads::Threads;
use crate::exec::operands::Operands;

/// The token and the rows of each sequence, each with its position, `[batch · (1 + rows), hidden]`.
pub(crate) fn compute(op: &ClassToken, operands: Operands<'_>, _: &Threads) -> Vec<f32> {
    let (x, token, positions) = (operands.floats(op.x), operands.vector(op.token), operands.matrix(op.positions));
    let (seq, hidden) = (positions.layout.rows, positions.layout.cols);
    let batch = x.len() / ((seq - 1) * hidden);
    let mut y = vec![0.0; batch * seq * hidden];
    let mut position = vec![0.0; hidden];
    for place in 0..seq {
        positions.dequantize_row_into(place, &mut position);
        for sequence in 0..batch {
            let row = match place {
                0 => token,
                _ => &x[(sequence * (seq - 1) + place - 1) * hidden..][..hidden],
            };
            let out = &mut y[(sequence * seq + place) * hidden..][..hidden];
            out.iter_mut().zip(row.iter().zip(&position)).for_each(|(out, (value, position))| *out = value + position);
        }
    }
    y
}
