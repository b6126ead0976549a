//! Rows of activations as codes: quantized group by group, and packed for tiles.

use webnibble_common::quant::{ACTIVATION_GROUP, ActivationGroup};

use super::simd::{Codes, F32x4};
use super::strip::TILE_ROWS;
use super::threads::Threads;

/// Columns that one vector of products takes.
const STEP: usize = 4;

/// Vectors of products in a group.
pub(crate) const STEPS: usize = ACTIVATION_GROUP / STEP;

/// Rows that are multiplied together.
#[derive(Clone, Default)]
pub(crate) struct Tile {
    /// How many.
    pub(crate) rows: usize,
    /// `[groups, STEPS, rows]`.
    pub(crate) codes: Vec<Codes>,
    /// `[groups, rows]`.
    pub(crate) groups: Vec<ActivationGroup>,
}

/// Quantizes rows of `k` values, [`TILE_ROWS`] to a tile; the last has the rows that are left.
pub(crate) fn tiles(x: &[f32], k: usize, threads: &Threads) -> Vec<Tile> {
    let parts: Vec<&[f32]> = x.chunks(TILE_ROWS * k).collect();
    let mut tiles = vec![Tile::default(); parts.len()];
    threads.each_chunk(&mut tiles, 1, |index, tile| tile[0] = Tile::of(parts[index], k));
    tiles
}

impl Tile {
    fn of(x: &[f32], k: usize) -> Self {
        let rows = x.len() / k;
        let groups = k.div_ceil(ACTIVATION_GROUP);
        let mut tile = Self {
            rows,
            codes: vec![Codes::default(); groups * STEPS * rows],
            groups: vec![ActivationGroup::default(); groups * rows],
        };
        for (row, values) in x.chunks_exact(k).enumerate() {
            for (group, values) in values.chunks(ACTIVATION_GROUP).enumerate() {
                let codes = &mut tile.codes[group * STEPS * rows..][..STEPS * rows];
                let place = codes[row..].iter_mut().step_by(rows);
                tile.groups[group * rows + row] = match values.try_into() {
                    Ok(values) => encode(values, place),
                    // A short group goes on with its last value: weights beyond it are zero.
                    Err(_) => encode(&padded(values), place),
                };
            }
        }
        tile
    }
}

fn padded(values: &[f32]) -> [f32; ACTIVATION_GROUP] {
    let last = values.last().copied().unwrap_or(0.0);
    std::array::from_fn(|col| values.get(col).copied().unwrap_or(last))
}

/// Codes as [`ActivationGroup::encode`] gives them.
#[inline(always)]
fn encode<'a>(values: &[f32; ACTIVATION_GROUP], place: impl Iterator<Item = &'a mut Codes>) -> ActivationGroup {
    let (values, _) = values.as_chunks::<STEP>();
    let first = F32x4::from_array(values[0]);
    let (mut least, mut most) = (first, first);
    for values in &values[1..] {
        let values = F32x4::from_array(*values);
        (least, most) = (least.min(values), most.max(values));
    }
    let [a, b, c, d] = least.to_array();
    let least = a.min(b).min(c.min(d));
    let [a, b, c, d] = most.to_array();
    let group = ActivationGroup::of_range(least, a.max(b).max(c.max(d)));
    let (offset, per_unit) = (F32x4::splat(group.offset), F32x4::splat(group.per_unit));
    for (values, place) in values.iter().zip(place) {
        *place = Codes::new(F32x4::from_array(*values).to_bytes(offset, per_unit));
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_the_codes_of_every_row() {
        for (rows, k) in [(1, 1), (TILE_ROWS, 64), (TILE_ROWS + 2, 131)] {
            let x: Vec<f32> = (0..rows * k).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
            let tiles = tiles(&x, k, &Threads::single());
            assert_eq!(tiles.iter().map(|tile| tile.rows).sum::<usize>(), rows);
            for (row, values) in x.chunks(k).enumerate() {
                let (tile, row) = (&tiles[row / TILE_ROWS], row % TILE_ROWS);
                for (group, values) in values.chunks(ACTIVATION_GROUP).enumerate() {
                    let expected = ActivationGroup::of(values);
                    assert_eq!(tile.groups[group * tile.rows + row], expected);
                    for (step, values) in values.chunks_exact(STEP).enumerate() {
                        let codes = std::array::from_fn(|i| expected.encode(values[i]));
                        let found = tile.codes[(group * STEPS + step) * tile.rows + row];
                        assert_eq!(found, Codes::new(codes), "row {row}, group {group}, step {step}");
                    }
                }
            }
        }
    }
}
