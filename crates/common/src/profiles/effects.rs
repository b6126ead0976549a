//! Which options do something, by platform and engine.
//!
//! An option that the caller chose and that cannot do anything is a request that was not kept: a fallback. One that a
//! profile chose gives way quietly. Either way the record shows it as it is, out of force.

use serde::Serialize;
use serde_json::Value;

use super::resolved::ResolvedSettings;
use crate::fallback::Fallback;
use crate::options::{Engine, Platform, Source, Sourced};
use crate::quant::Bits;
use crate::wire::{Adjustment, LoadOptions};

/// Where an option has an effect. Options of the package (bits, scheme, groups) have one everywhere, and no row.
struct Effect {
    /// As the record has it.
    option: &'static str,
    reaches: fn(Platform, Engine) -> bool,
    /// Whether the CPU executor keeps to it when it stands in.
    simulated: bool,
    /// What it is for, for people.
    purpose: &'static str,
}

const KERNELS: &str = "the native engine's kernels on webgpu";

const EFFECTS: &[Effect] = &[
    Effect {
        option: "activation_bits",
        reaches: |platform, engine| engine == Engine::Native && platform != Platform::Webgpu,
        simulated: true,
        purpose: "the native engine on webnn and wasm, which take 8 bits; others compute with activations in floats",
    },
    Effect {
        option: "experimental_precision",
        reaches: |platform, _| platform == Platform::Webnn,
        simulated: true,
        purpose: "formats of webnn",
    },
    Effect {
        option: "execution_provider",
        reaches: |platform, _| platform == Platform::Webnn,
        simulated: false,
        purpose: "devices of webnn",
    },
    Effect {
        option: "lowering",
        reaches: |platform, engine| (platform, engine) == (Platform::Webnn, Engine::Native),
        simulated: false,
        purpose: "the native engine's graphs on webnn",
    },
    Effect {
        option: "threads",
        reaches: |platform, engine| (platform, engine) != (Platform::Webgpu, Engine::Native),
        simulated: true,
        purpose: "the CPU executor, parts of webnn, and transformers-js",
    },
    kernels("compute_shaders"),
    kernels("workgroup_size"),
    kernels("chunked_operations"),
    kernels("portable_kernels"),
    kernels("half_tiles"),
    kernels("shader_precompilation"),
    kernels("profile"),
];

const fn kernels(option: &'static str) -> Effect {
    let reaches = |platform, engine| matches!((platform, engine), (Platform::Webgpu, Engine::Native));
    Effect { option, reaches, simulated: false, purpose: KERNELS }
}

/// Puts options out of force that do nothing on a platform, by an engine. Those that the caller chose come back as
/// fallbacks. `auto` is none of the platforms: what it finds is asked for by its name.
pub(super) fn keep_effective(
    settings: &mut ResolvedSettings,
    profile: &mut Sourced<bool>,
    (platform, engine): (Platform, Engine),
) -> Vec<Fallback> {
    let mut keeper = Keeper { platform, engine, fallbacks: Vec::new() };
    keeper.keep("activation_bits", &mut settings.activation_bits, Bits::B32);
    keeper.keep("experimental_precision", &mut settings.experimental_precision, false);
    keeper.keep("execution_provider", &mut settings.execution_provider, None);
    keeper.keep("lowering", &mut settings.lowering, None);
    keeper.keep("threads", &mut settings.threads, None);
    keeper.keep("compute_shaders", &mut settings.compute_shaders, false);
    keeper.keep("workgroup_size", &mut settings.workgroup_size, None);
    keeper.keep("chunked_operations", &mut settings.chunked_operations, false);
    keeper.keep("portable_kernels", &mut settings.portable_kernels, false);
    keeper.keep("half_tiles", &mut settings.half_tiles, false);
    keeper.keep("shader_precompilation", &mut settings.shader_precompilation, false);
    keeper.keep("profile", profile, false);
    keeper.fallbacks
}

struct Keeper {
    platform: Platform,
    engine: Engine,
    fallbacks: Vec<Fallback>,
}

impl Keeper {
    /// Sets an option to `idle`, out of force, where it has no effect.
    fn keep<T: PartialEq + Serialize>(&mut self, option: &str, chosen: &mut Sourced<T>, idle: T) {
        let effect =
            EFFECTS.iter().find(|effect| effect.option == option).expect("every option that is kept has a row");
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
    let json = |options: &LoadOptions| serde_json::to_value(options).expect("options are plain data");
    let (given, unchosen) = (json(options), json(&LoadOptions::on(options.platform)));
    let computes = match options.simulate {
        true => "the CPU executor that stands in".to_owned(),
        false => format!("{} by {}", options.platform, options.engine),
    };
    let idle = |effect: &&Effect| match options.simulate {
        true => !effect.simulated,
        false => !(effect.reaches)(options.platform, options.engine),
    };
    let adjustment = |effect: &Effect| {
        let (value, unchosen) = (&given[effect.option], &unchosen[effect.option]);
        (value != unchosen && *value != Value::Bool(false)).then(|| Adjustment {
            option: effect.option.to_owned(),
            // Switches that the page decides about where nobody did are off for who has none of them.
            value: if value.is_boolean() { false.into() } else { unchosen.clone() },
            code: None,
            reason: format!("{computes} has no use for it: it is for {}", effect.purpose),
        })
    };
    EFFECTS.iter().filter(idle).filter_map(adjustment).collect()
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
