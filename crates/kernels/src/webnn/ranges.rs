//! Ranges of activations, for linear operators in int8.

use std::collections::BTreeMap;

use webnibble_common::quant::LinearActivations;

/// Ranges of activations, by the name of the linear operator's weight.
pub type Ranges = BTreeMap<String, LinearActivations>;
