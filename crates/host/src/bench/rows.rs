//! Rows that are left out of the sweep, and rows of what was not tried.

use webnibble_common::profiles::Source;
use webnibble_common::record::{OptionValue, RunRecord};

use super::cells::Cell;
use crate::error::HostError;
use crate::run::{RunRequest, not_started};

/// Sizes of the sweep at which one run would take longer are left out.
pub(super) const SWEEP_RUN_MS: f64 = 5000.0;

/// Whether a row of the cell's model and platform ran there, nothing stood in, and a run of the cell's size would not take
/// too long, by what that row took a token.
pub(super) fn is_worth_sweeping<'a>(records: impl IntoIterator<Item = &'a RunRecord>, cell: &Cell<'_>) -> bool {
    let of_cell = |record: &&RunRecord| {
        record.platform == cell.platform && record.model.as_ref().is_some_and(|model| model.source == cell.model)
    };
    let real = records.into_iter().filter(of_cell).filter(|record| record.is_simulation == Some(false));
    let token_ms = real.filter_map(|record| {
        let input = record.input.as_ref()?;
        let times = record.performance_metrics.inference_time_ms?;
        Some(times.p50 / (input.batch * input.sequence_length?) as f64)
    });
    token_ms.min_by(f64::total_cmp).is_some_and(|ms| ms * (cell.size.batch * cell.size.tokens) as f64 <= SWEEP_RUN_MS)
}

/// The row of what was not tried, with the model's name so that it is known what it would have been.
pub(super) fn refused(request: &RunRequest, reason: &HostError, model: &str) -> RunRecord {
    let mut record = not_started(request, reason);
    record.options.insert("model".into(), OptionValue { value: model.into(), source: Source::Explicit });
    record
}
