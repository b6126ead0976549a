//! Dispatches of `embedding.wgsl`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Embedding, ValueId, WeightId};
use webnibble_common::package::Part;

use crate::params::WeightParams;
use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// Marks an offset in [`EmbeddingParams`] that there is no plane for.
const NONE: u32 = u32::MAX;

/// A table of `embedding.wgsl`; word offsets count from the start of `aux`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct Table {
    /// Word offset of the packed plane, or 0 for the token table.
    pub(super) packed: u32,
    /// Word offset of the scales, or [`NONE`].
    pub(super) scales: u32,
    /// Word offset of the zero points, or [`NONE`].
    pub(super) zeros: u32,
    /// 32-bit words of a row.
    pub(super) row_words: u32,
    /// Columns that share a scale.
    pub(super) group_size: u32,
    /// Scales of a row; 0 when there is one for the whole tensor.
    pub(super) groups_per_row: u32,
    /// Rows that are bound.
    pub(super) rows: u32,
    /// Row of the whole table that the first of them is.
    pub(super) first_row: u32,
}

impl Default for Table {
    /// No table.
    fn default() -> Self {
        Self {
            packed: NONE,
            scales: NONE,
            zeros: NONE,
            row_words: 0,
            group_size: 1,
            groups_per_row: 0,
            rows: 0,
            first_row: 0,
        }
    }
}

/// `embedding.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(super) struct EmbeddingParams {
    /// Token table.
    pub(super) table: Table,
    /// Position table.
    pub(super) positions: Table,
    /// Segment table.
    pub(super) types: Table,
    /// Tokens of the whole batch.
    pub(super) tokens: u32,
    /// Tokens of a batch item.
    pub(super) seq: u32,
    /// Columns.
    pub(super) hidden: u32,
    /// Row of the first position.
    pub(super) position_offset: u32,
    /// Word offset of the norm's scale.
    pub(super) norm_weight: u32,
    /// Word offset of the norm's shift.
    pub(super) norm_bias: u32,
    /// Added to the variance.
    pub(super) eps: f32,
    /// Last row of the whole token table.
    pub(super) last_row: u32,
    /// Token at which the output begins.
    pub(super) first_token: u32,
    /// Zero.
    pub(super) reserved0: u32,
    /// Zero.
    pub(super) reserved1: u32,
    /// Zero.
    pub(super) reserved2: u32,
}

/// Records the embedding: a dispatch for each part of the table that is bound, and for each part of the batch.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Embedding, output: ValueId) -> Result<(), PlanError> {
    let Embedding { ids, token_types, table, positions, position_offset, types, norm } = op;
    let shape = r.shape(*ids)?;
    let (batch, seq) = (shape[0], shape[1]);
    let layout = *r.layout(*table);
    let bits = |id: &Option<WeightId>| id.map(|id| r.layout(id).format.bits.count() as u32);
    let kernel = Kernel::new("embedding")
        .flag("AUX", r.weights.aux().is_some())
        .flag("POSITIONS", positions.is_some())
        .flag("TYPES", types.is_some())
        .flag("NORM", norm.is_some())
        .flag("SUBGROUPS", r.caps.subgroups && norm.is_some())
        .constant("TABLE_BITS", layout.format.bits.count() as u32)
        .constant("POSITION_BITS", bits(positions).unwrap_or(32))
        .constant("TYPE_BITS", bits(types).unwrap_or(32))
        .constant("WG", workgroup_for(layout.cols, r.options));
    let offset = |id: Option<WeightId>| id.and_then(|id| r.word_offset(id, Part::Packed)).unwrap_or(NONE);
    let params = EmbeddingParams {
        positions: positions.map_or(Table::default(), |id| aux_table(r, id)),
        types: types.map_or(Table::default(), |id| aux_table(r, id)),
        seq: seq as u32,
        hidden: layout.cols as u32,
        position_offset: *position_offset as u32,
        norm_weight: offset(norm.map(|n| n.weight)),
        norm_bias: offset(norm.and_then(|n| n.bias)),
        eps: norm.map_or(0.0, |n| n.eps),
        last_row: layout.rows as u32 - 1,
        ..EmbeddingParams::default()
    };
    for rows in r.weights.row_ranges(*table, usize::MAX) {
        for items in parts(0..batch, r.limits.items(batch, &[seq * layout.cols * 4], 0)) {
            let tokens = items.len() * seq;
            let params = EmbeddingParams {
                table: token_table(r, *table, &rows),
                tokens: tokens as u32,
                first_token: (items.start * seq) as u32,
                ..params
            };
            let mut bindings = vec![r.whole(1, *ids)?];
            if let Some(token_types) = token_types {
                bindings.push(r.whole(2, *token_types)?);
            }
            bindings.extend(r.plane_rows(3, *table, Part::Packed, &rows));
            bindings.extend(r.aux(4));
            bindings.push(r.items(5, output, &items, batch)?);
            let groups = row_groups(tokens, r.caps);
            r.dispatch(output, kernel.clone(), params, bindings, groups)?;
        }
    }
    Ok(())
}

/// Rows of the token table, which are bound on their own.
fn token_table(r: &Recorder<'_>, id: WeightId, rows: &Range<usize>) -> Table {
    Table { packed: 0, rows: rows.len() as u32, first_row: rows.start as u32, ..aux_table(r, id) }
}

fn aux_table(r: &Recorder<'_>, id: WeightId) -> Table {
    let weight = WeightParams::new(r.layout(id));
    let offset = |part| r.word_offset(id, part).unwrap_or(NONE);
    Table {
        packed: offset(Part::Packed),
        scales: offset(Part::Scale),
        zeros: offset(Part::Zero),
        row_words: weight.row_words,
        group_size: weight.group_size,
        groups_per_row: weight.groups_per_row,
        rows: weight.rows,
        first_row: 0,
    }
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let embedding = Kernel::new("embedding").constant("WG", 64).constant("TABLE_BITS", 32);
        assert_same_layout!(
            embedding,
            Table { packed, scales, zeros, row_words, group_size, groups_per_row, rows, first_row }
        );
        assert_same_layout!(
            embedding,
            EmbeddingParams {
                table,
                positions,
                types,
                tokens,
                seq,
                hidden,
                position_offset,
                norm_weight,
                norm_bias,
                eps,
                last_row,
                first_token,
                reserved0,
                reserved1,
                reserved2
            }
        );
    }
}
