//! What WebNN did with a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What WebNN did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebNnInfo {
    /// The device asked for.
    pub requested: String,
    /// Devices that the browser says the graph landed on: its claim.
    pub reported_devices: Option<Vec<String>>,
    /// How weights were given to the graph.
    pub lowering: String,
    /// Parts of the input, each with graphs of its own, that are computed side by side; `None` where the engine does not
    /// tell.
    #[serde(default)]
    pub parallel_parts: Option<usize>,
    /// Where lowering and parts come from: `measured` at this load, or `remembered` from one before; `None` where neither
    /// was chosen by measuring.
    #[serde(default)]
    pub choice: Option<String>,
    /// Operators of the graph, counted.
    pub operators: BTreeMap<String, usize>,
}
