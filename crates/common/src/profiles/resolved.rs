//! Every option with its value and where it comes from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::known::Context;
use crate::fallback::Fallback;
use crate::options::{Engine, GpuProfile, OptionValue, Options, ResolvedSettings, Source, Sourced};
use crate::quant::Granularity;

/// Every option with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What profiles have a say in.
    pub settings: ResolvedSettings,
    /// Who computes.
    pub engine: Sourced<Engine>,
    /// Whether a failure goes on to the next platform, or to simulation.
    pub fallback: Sourced<bool>,
    /// Without a window.
    pub headless: Sourced<bool>,
    /// Which flags make the browser find its GPU.
    pub gpu: Sourced<GpuProfile>,
    /// Runs before the measured ones; until times are steady where there is none.
    pub warmup: Sourced<Option<u32>>,
    /// Measured runs.
    pub runs: Sourced<u32>,
    /// Time every kernel.
    pub profile: Sourced<bool>,
    /// Explicit requests that could not be kept.
    pub fallbacks: Vec<Fallback>,
    /// The rest, for the record: as the caller gave it, or null.
    pub(super) given: BTreeMap<String, OptionValue>,
}

impl Resolved {
    /// Every option for the record.
    pub fn record(&self) -> BTreeMap<String, OptionValue> {
        let mut record = self.settings.record();
        record.extend(self.given.clone());
        put_granularity(&mut record, self.settings.granularity);
        record.insert("engine".into(), self.engine.into());
        record.insert("fallback".into(), self.fallback.into());
        record.insert("headless".into(), self.headless.into());
        record.insert("gpu".into(), self.gpu.into());
        record.insert("warmup".into(), self.warmup.into());
        record.insert("runs".into(), self.runs.into());
        record.insert("profile".into(), self.profile.into());
        record
    }
}

fn put_granularity(record: &mut BTreeMap<String, OptionValue>, granularity: Sourced<Granularity>) {
    let (name, group_size) = granularity_parts(granularity.value);
    let source = granularity.source;
    record.insert("granularity".into(), Sourced { value: name, source }.into());
    record.insert("group_size".into(), Sourced { value: group_size, source }.into());
}

/// A granularity as the record has it: `group`, `channel` or `tensor`, and the size of a group.
pub fn granularity_parts(granularity: Granularity) -> (&'static str, Option<usize>) {
    match granularity {
        Granularity::Tensor => ("tensor", None),
        Granularity::Channel => ("channel", None),
        Granularity::Group(size) => ("group", Some(size)),
    }
}

pub(super) fn or_default<T>(chosen: Option<T>, default: T) -> Sourced<T> {
    match chosen {
        Some(value) => Sourced { value, source: Source::Explicit },
        None => Sourced { value: default, source: Source::Default },
    }
}

/// Options that no profile has a say in, for the record.
pub(super) fn given(options: &Options, context: Context<'_>) -> BTreeMap<String, OptionValue> {
    let mut record = as_given(&options.launch);
    record.extend(as_given(&options.generation));
    record.insert("platform".into(), or_default(options.platform, context.platform).into());
    record.insert("browser".into(), or_default(options.launch.browser, context.browser).into());
    record
}

/// Every field of some options, as the caller gave it, or null.
fn as_given(options: &impl Serialize) -> BTreeMap<String, OptionValue> {
    let Ok(Value::Object(fields)) = serde_json::to_value(options) else { unreachable!("options are an object") };
    let source = |value: &Value| if value.is_null() { Source::Default } else { Source::Explicit };
    fields.into_iter().map(|(name, value)| (name, OptionValue { source: source(&value), value })).collect()
}

/// What the caller chose, for the record of a run whose options were never resolved.
pub fn asked(options: &Options) -> BTreeMap<String, OptionValue> {
    let mut record = as_given(options);
    if let Some(granularity) = options.settings.granularity {
        put_granularity(&mut record, Sourced { value: granularity, source: Source::Explicit });
    }
    record.retain(|_, option| !option.value.is_null());
    record
}
