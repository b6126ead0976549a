//! Dispatches of `rotary.wgsl`.

use bytemuck::{Pod, Zeroable};
use webnibble_common::graph::{Rotary, RotaryStyle, ValueId};

use crate::plan::chunks::parts;
use crate::plan::error::PlanError;
use crate::plan::recorder::Recorder;
use crate::plan::workgroups::{row_groups, workgroup_for};
use crate::shaders::Kernel;

/// Vectors that hold the frequencies of as many pairs as a head may have.
pub(crate) const VECTORS: usize = Rotary::MOST_PAIRS / 4;

/// `rotary.wgsl`. Strides and starts count elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(super) struct RotaryParams {
    /// Rows that are bound.
    pub(super) rows: u32,
    /// Number of the first of them.
    pub(super) first_row: u32,
    /// Rows of a sequence.
    pub(super) seq: u32,
    /// From a row of the input to the next.
    pub(super) stride: u32,
    /// First column of the input.
    pub(super) start: u32,
    /// Number of heads.
    pub(super) heads: u32,
    /// Width of a head.
    pub(super) head_dim: u32,
    /// Pairs of a head.
    pub(super) pairs: u32,
    /// For each pair, from a position to the next: 2⁻³² of a turn.
    pub(super) turns: [[u32; 4]; VECTORS],
}

/// Records the turns, in parts where there are too many rows for one binding.
pub(crate) fn record(r: &mut Recorder<'_>, op: &Rotary, output: ValueId) -> Result<(), PlanError> {
    let shape = r.shape(op.x.value)?;
    let (rows, seq, stride) = (shape[0] * shape[1], shape[1], shape[2]);
    let (pairs, width) = (op.frequencies.len(), op.heads * op.head_dim);
    let threads = workgroup_for(width, r.options);
    let kernel = Kernel::new("rotary")
        .flag("INTERLEAVED", op.style == RotaryStyle::Interleaved)
        .flag("CONTINUES", op.continues)
        .constant("WG", threads);
    for part in parts(0..rows, r.limits.items(rows, &[stride * 4, width * 4], 0)) {
        let params = RotaryParams {
            rows: part.len() as u32,
            first_row: part.start as u32,
            seq: seq as u32,
            stride: stride as u32,
            start: op.x.start as u32,
            heads: op.heads as u32,
            head_dim: op.head_dim as u32,
            pairs: pairs as u32,
            turns: turns(&op.frequencies),
        };
        let mut bindings = vec![r.items(1, op.x.value, &part, rows)?];
        bindings.extend(op.continues.then(|| r.step(2)));
        bindings.push(r.items(3, output, &part, rows)?);
        let units = part.len() * op.heads * (op.head_dim - pairs);
        let groups = row_groups(units.div_ceil(threads as usize), r.caps);
        r.dispatch(output, kernel.clone(), params, bindings, groups)?;
    }
    Ok(())
}

/// Frequencies in 2⁻³² of a turn a position.
pub(crate) fn turns(frequencies: &[f32]) -> [[u32; 4]; VECTORS] {
    let mut turns = [[0; 4]; VECTORS];
    for (pair, frequency) in frequencies.iter().enumerate() {
        turns[pair / 4][pair % 4] = turn(*frequency);
    }
    turns
}

/// Half a unit off at most, so that position 100,000 is off by 7e-5 radians.
fn turn(frequency: f32) -> u32 {
    let turns = (f64::from(frequency) / std::f64::consts::TAU).rem_euclid(1.0);
    // A whole turn is none.
    (turns * 2.0_f64.powi(32)).round() as u64 as u32
}

// naga is large, and the layouts are the same everywhere: this needs no browser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::params::assert_same_layout;

    #[test]
    fn structs_agree_with_the_wgsl() {
        let rotary = Kernel::new("rotary").constant("WG", 64);
        assert_same_layout!(
            rotary,
            RotaryParams { rows, first_row, seq, stride, start, heads, head_dim, pairs, turns }
        );
    }

    #[test]
    fn far_positions_keep_their_angle() {
        for frequency in Rotary::frequencies(5e5, 128) {
            for position in [1_u32, 4095, 100_000] {
                let found = f64::from(position.wrapping_mul(turn(frequency))) / 2.0_f64.powi(32);
                let expected = (f64::from(position) * f64::from(frequency) / std::f64::consts::TAU).rem_euclid(1.0);
                let off = (found - expected).abs();
                assert!(off.min(1.0 - off) < 1.3e-5, "{frequency} at {position}: {found} and {expected}");
            }
        }
        // 1 as f32 has it, in 2³² / 2π.
        assert_eq!(turn(1.0), 683_565_276);
        assert_eq!((turn(0.0), turn(-1e-12)), (0, 0));
    }
}
