//! A step away from what was asked for.

use serde::{Deserialize, Serialize};

/// One step from what was asked for to what ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// What was tried.
    pub from: String,
    /// What was tried next.
    pub to: String,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub reason: String,
}
