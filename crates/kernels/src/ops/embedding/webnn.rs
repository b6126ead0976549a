//! Embedding: rows of tables, gathered as they are stored and made floats afterwards.

use webnibble_common::graph::{Embedding, WeightId};
use webnibble_common::quant::{Bits, Layout};

use crate::ops::norm::webnn::normalize;
use crate::webnn::constants::{CodePart, Sign, Source};
use crate::webnn::error::WebNnError;
use crate::webnn::operand::{DataType, Operand};
use crate::webnn::program::Operation;
use crate::webnn::recorder::{Recorder, Value};

/// Records an embedding; gives `[batch · seq, hidden]`.
pub(crate) fn record(recorder: &mut Recorder<'_>, op: &Embedding) -> Result<Operand, WebNnError> {
    let Embedding { ids, token_types, table, positions, position_offset, types, norm } = *op;
    let shape = recorder.shape(ids)?;
    let (batch, seq, hidden) = (shape[0], shape[1], recorder.layout(table)?.cols);
    let ids = recorder.indices(ids);
    let mut sum = gather(recorder, table, ids, [batch, seq])?;
    if let Some(positions) = positions {
        let rows = position_rows(recorder, positions, position_offset, seq)?;
        sum = recorder.add(sum, rows)?;
    }
    if let (Some(token_types), Some(types)) = (token_types, types) {
        let segments = recorder.indices(token_types);
        let rows = gather(recorder, types, segments, [batch, seq])?;
        sum = recorder.add(sum, rows)?;
    }
    let operand = recorder.reshape(sum, [batch * seq, hidden])?;
    match norm {
        Some(norm) => normalize(recorder, Value { operand, rows: batch * seq, cols: hidden }, norm),
        None => Ok(operand),
    }
}

/// Rows of the position table, `[1, seq, hidden]`: which ones is known already.
fn position_rows(
    recorder: &mut Recorder<'_>,
    positions: WeightId,
    offset: usize,
    seq: usize,
) -> Result<Operand, WebNnError> {
    let (layout, first) = (recorder.layout(positions)?, recorder.first_row());
    let limit = layout.rows.saturating_sub(offset);
    if first + seq > limit {
        return Err(WebNnError::Positions { limit, found: first + seq });
    }
    let source = Source::Matrix { name: recorder.name(positions), first_row: offset + first };
    recorder.constant(recorder.compute(), [1, seq, layout.cols], source)
}

/// Rows of a table as floats, `[batch, seq, hidden]`.
fn gather(
    recorder: &mut Recorder<'_>,
    table: WeightId,
    indices: Operand,
    tokens: [usize; 2],
) -> Result<Operand, WebNnError> {
    let layout = recorder.layout(table)?;
    let (compute, limits) = (recorder.compute(), recorder.target.limits);
    let gathers = |dtype| {
        limits.takes_constant(dtype)
            && limits.takes("gather", "input", dtype, 2)
            && (dtype == compute || limits.takes("cast", "input", dtype, 3))
    };
    let divides = layout.groups_per_row <= 1 || layout.cols.is_multiple_of(layout.group_size);
    if layout.format.bits.is_integer() && divides && gathers(DataType::Int8) {
        return gather_codes(recorder, table, &layout, indices, tokens);
    }
    let half = layout.format.bits == Bits::B16 && gathers(DataType::Float16);
    let dtype = if half { DataType::Float16 } else { compute };
    let source = Source::Matrix { name: recorder.name(table), first_row: 0 };
    let input = recorder.constant(dtype, [layout.rows, layout.cols], source)?;
    let rows = recorder.call(Operation::Gather { input, indices })?;
    recorder.cast(rows, compute)
}

/// Codes, scales and zero points of the rows, gathered each, and `scale · (code − zero)` of them. Codes take a byte,
/// however few bits they have: WebNN gathers nothing smaller.
fn gather_codes(
    recorder: &mut Recorder<'_>,
    table: WeightId,
    layout: &Layout,
    indices: Operand,
    [batch, seq]: [usize; 2],
) -> Result<Operand, WebNnError> {
    let name = recorder.name(table);
    let source = |part| Source::Codes { name: name.clone(), part, sign: Sign::Any };
    let compute = recorder.compute();
    let input = recorder.constant(DataType::Int8, [layout.rows, layout.cols], source(CodePart::Codes))?;
    let codes = recorder.call(Operation::Gather { input, indices })?;
    let mut values = recorder.cast(codes, compute)?;
    let groups = layout.groups_per_row;
    if groups > 1 {
        values = recorder.reshape(values, [batch, seq, groups, layout.cols / groups])?;
    }
    let mut factors = |source, dtype| match groups {
        0 => {
            let one = recorder.constant(dtype, [1, 1, 1], source)?;
            recorder.cast(one, compute)
        }
        _ => {
            let input = recorder.constant(dtype, [layout.rows, groups], source)?;
            let rows = recorder.call(Operation::Gather { input, indices })?;
            let rows = recorder.cast(rows, compute)?;
            if groups > 1 { recorder.reshape(rows, [batch, seq, groups, 1]) } else { Ok(rows) }
        }
    };
    let scales = factors(source(CodePart::Scales), compute)?;
    let zeros = layout.format.has_zeros().then(|| factors(source(CodePart::Zeros), DataType::Int8)).transpose()?;
    if let Some(b) = zeros {
        values = recorder.call(Operation::Sub { a: values, b })?;
    }
    let values = recorder.mul(values, scales)?;
    recorder.reshape(values, [batch, seq, layout.cols])
}
