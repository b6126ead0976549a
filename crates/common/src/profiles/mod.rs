//! Defaults by platform, browser and family, and which of them wins.
//!
//! The tables of `known.rs` are all that is known about browsers and families. [`resolve`] lays them over one another:
//!
//! 1. what the caller chose,
//! 2. what the platform can do (WebNN: 8 bits),
//! 3. what the browser needs (Safari: 8 bits, chunked, portable),
//! 4. what the family recommends,
//! 5. the browser's default, or else the program's.
//!
//! The record names each value's [`Source`]. A default that gives way is no fallback; an explicit request that could
//! not be kept is one, and comes back in [`Resolved::fallbacks`].

use crate::options::{Engine, Options, Settings};

mod check;
mod effects;
mod keep;
mod known;
mod resolved;
#[cfg(test)]
mod tests;

pub use crate::options::{ResolvedSettings, Source, Sourced};
pub use check::OptionsError;
pub use effects::idle_options;
pub use known::{Context, FamilyKind, family_kind, may_have_webnn};
pub use resolved::{Resolved, asked, granularity_parts};

use check::check;
use keep::{derive_bits, keep_compute_shaders, keep_headless, keep_to_platform};
use known::{NONE, PLATFORMS, RECOMMENDED, profile_of};
use resolved::{given, or_default};

/// Finds a value for every option.
///
/// # Errors
/// Fails for options that contradict themselves or are out of range, and for requests that cannot be kept where no fallback
/// is allowed.
pub fn resolve(options: &Options, context: Context<'_>) -> Result<Resolved, OptionsError> {
    check(options)?;
    let chosen = &options.settings;
    let mut settings = ResolvedSettings::lay(&layers(chosen, context));
    let engine = or_default(options.engine, Engine::Native);
    let mut profile = or_default(options.measure.profile, false);
    let mut headless = or_default(options.launch.headless, true);
    let mut fallbacks = effects::keep_effective(&mut settings, &mut profile, (context.platform, engine.value));
    derive_bits(chosen, &mut settings);
    fallbacks.extend(keep_compute_shaders(&mut settings, context.family));
    fallbacks.extend(keep_headless(&mut headless, context.browser));
    fallbacks.extend(keep_to_platform(&mut settings, context.platform));
    let fallback = or_default(options.fallback, true);
    if let (false, Some(broken)) = (fallback.value, fallbacks.first()) {
        return Err(OptionsError::not_kept(broken));
    }
    Ok(Resolved {
        settings,
        engine,
        fallback,
        headless,
        gpu: or_default(options.launch.gpu, context.gpu),
        warmup: or_default(options.measure.warmup.map(Some), None),
        runs: or_default(options.measure.runs, 10),
        profile,
        fallbacks,
        given: given(options, context),
    })
}

/// The tables' rows that count, strongest first.
fn layers(chosen: &Settings, context: Context<'_>) -> Vec<(Source, Settings)> {
    let kind = family_kind(context.family);
    let profile = profile_of(context.browser);
    let optimized = chosen.browser_optimized.unwrap_or(true);
    let row = |settings: &Settings, counts: bool| if counts { settings.clone() } else { NONE };
    let of_platform = PLATFORMS.iter().find(|(platform, _)| *platform == context.platform);
    let of_family = RECOMMENDED.iter().find(|(family, _)| Some(*family) == kind);
    vec![
        (Source::Explicit, chosen.clone()),
        (Source::Platform, of_platform.map_or(NONE, |(_, settings)| settings.clone())),
        (Source::Browser, row(&profile.needs, optimized)),
        (Source::Browser, row(&profile.audio_needs, optimized && kind == Some(FamilyKind::Audio))),
        (Source::Family, of_family.map_or(NONE, |(_, settings)| settings.clone())),
        (Source::Default, row(&profile.defaults, optimized)),
    ]
}
