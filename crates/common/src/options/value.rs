//! An option's value, and where it comes from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where an option's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The caller chose it.
    Explicit,
    /// The platform, its adapter or the engine can do no other.
    Platform,
    /// The browser needs it.
    Browser,
    /// Recommended for the model's family, or of no use to it.
    Family,
    /// The browser's default, or the program's.
    Default,
}

/// A value and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// The value, if somebody has a say in it: the caller, or a profile.
    pub fn chosen(&self) -> Option<&T> {
        (self.source != Source::Default).then_some(&self.value)
    }
}

/// An option's value and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionValue {
    /// The value; null where there is none.
    pub value: Value,
    /// Where it comes from.
    pub source: Source,
}

impl<T: Serialize> From<Sourced<T>> for OptionValue {
    fn from(sourced: Sourced<T>) -> Self {
        let value = serde_json::to_value(sourced.value).expect("options are plain data");
        Self { value, source: sourced.source }
    }
}
