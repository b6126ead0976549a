//! Which options do something, by platform and engine.
//!
//! An option that the caller chose and that cannot do anything is a request that was not kept: a fallback. One that a
//! profile chose gives way quietly. Either way the record shows it as it is, out of force.

use serde::Serialize;
use serde_json::Value;

use crate::fallback::Fallback;
use crate::options::{Effect, Engine, KERNELS, Platform, ROWS, ResolvedSettings, Row, Source, Sourced, Visitor};
use crate::wire::{Adjustment, LoadOptions};

/// Puts options out of force that do nothing on a platform, by an engine. Those that the caller chose come back as
/// fallbacks. `auto` is none of the platforms: what it finds is asked for by its name.
pub(super) fn keep_effective(
    settings: &mut ResolvedSettings,
    profile: &mut Sourced<bool>,
    (platform, engine): (Platform, Engine),
) -> Vec<Fallback> {
    let mut keeper = Keeper { platform, engine, fallbacks: Vec::new() };
    settings.visit(&mut keeper);
    keeper.keep("profile", &KERNELS, profile, false);
    keeper.fallbacks
}

struct Keeper {
    platform: Platform,
    engine: Engine,
    fallbacks: Vec<Fallback>,
}

impl Visitor for Keeper {
    fn visit<T: PartialEq + Serialize>(&mut self, row: &'static Row, option: &mut Sourced<T>, default: T) {
        if let Some(effect) = &row.effect {
            self.keep(row.name, effect, option, default);
        }
    }
}

impl Keeper {
    /// Sets an option to `idle`, out of force, where it has no effect.
    fn keep<T: PartialEq + Serialize>(&mut self, option: &str, effect: &Effect, chosen: &mut Sourced<T>, idle: T) {
        if self.platform == Platform::Auto || (effect.reaches)(self.platform, self.engine) || chosen.value == idle {
            return;
        }
        if chosen.source == Source::Explicit {
            self.fallbacks.push(Fallback {
                from: format!("{option} {}", text(&chosen.value)),
                to: format!("{option} {}", text(&idle)),
                code: "unsupported".into(),
                reason: format!("{} by {} has no use for it: it is for {}", self.platform, self.engine, effect.purpose),
            });
        }
        *chosen = Sourced { value: idle, source: Source::Platform };
    }
}

/// A value as a person would write it.
fn text(value: &impl Serialize) -> String {
    match serde_json::to_value(value).expect("options are plain data") {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What a route to an answer does not keep of the options it is given: transformers.js and the CPU executor may stand in
/// for an engine that would have kept to more.
pub fn idle_options(options: &LoadOptions) -> Vec<Adjustment> {
    let json = |options: &LoadOptions| serde_json::to_value(&options.settings).expect("options are plain data");
    let (given, unchosen) = (json(options), json(&LoadOptions::on(options.platform)));
    let computes = match options.simulate {
        true => "the CPU executor that stands in".to_owned(),
        false => format!("{} by {}", options.platform, options.engine),
    };
    let idle = |effect: &Effect| match options.simulate {
        true => !effect.simulated,
        false => !(effect.reaches)(options.platform, options.engine),
    };
    let adjustment = |row: &Row| {
        let effect = row.effect.filter(idle)?;
        let (value, unchosen) = (given.get(row.name)?, &unchosen[row.name]);
        (value != unchosen && *value != Value::Bool(false)).then(|| Adjustment {
            option: row.name.to_owned(),
            // Switches that the page decides about where nobody did are off for who has none of them.
            value: if value.is_boolean() { false.into() } else { unchosen.clone() },
            code: None,
            reason: format!("{computes} has no use for it: it is for {}", effect.purpose),
        })
    };
    ROWS.iter().filter_map(adjustment).collect()
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
