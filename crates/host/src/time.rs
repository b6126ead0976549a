//! Time that passed.

use std::time::Instant;

/// Time since a moment.
pub(crate) fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
