//! What gives way to what a model, a browser or a platform can do.

use super::known::{FamilyKind, family_kind};
use crate::fallback::Fallback;
use crate::options::{BrowserKind, Platform, ResolvedSettings, Settings, Source, Sourced};
use crate::quant::{Bits, Granularity, Scheme};

/// Bits that follow from other bits, where they were not chosen.
pub(super) fn derive_bits(chosen: &Settings, settings: &mut ResolvedSettings) {
    if !settings.quantization.value {
        let source = settings.quantization.source;
        settings.bits = Sourced { value: Bits::B32, source };
        settings.mixed_precision = Sourced { value: false, source };
    }
    if settings.activation_bits.value == Bits::B8 {
        // Products of int8 by int8 take one scale for each output channel, and zero at zero.
        let source = settings.activation_bits.source;
        settings.bits = Sourced { value: Bits::B8, source };
        settings.scheme = Sourced { value: Scheme::Symmetric, source };
        settings.mixed_precision = Sourced { value: false, source };
        if chosen.granularity.is_none() {
            settings.granularity = Sourced { value: Granularity::Channel, source };
        }
    }
    let bits = settings.bits.value;
    if !settings.mixed_precision.value {
        settings.attention_bits = Sourced { value: bits, source: settings.mixed_precision.source };
    } else if chosen.attention_bits.is_none() && bits > settings.attention_bits.value {
        // Attention is what suffers most: never fewer bits than the rest, unless asked for.
        settings.attention_bits = Sourced { value: bits, source: settings.bits.source };
    }
    if chosen.embedding_bits.is_none() && bits == Bits::B32 {
        // 32 bits are the reference: nothing of it is rounded.
        settings.embedding_bits = Sourced { value: Bits::B32, source: settings.bits.source };
    }
}

/// Safari always has a window. WebKitGTK has too, and is given a display of its own.
pub(super) fn keep_headless(headless: &mut Sourced<bool>, browser: BrowserKind) -> Option<Fallback> {
    if !headless.value || browser != BrowserKind::Safari {
        return None;
    }
    let asked = std::mem::replace(headless, Sourced { value: false, source: Source::Browser });
    (asked.source == Source::Explicit).then(|| Fallback {
        from: "headless true".into(),
        to: "headless false".into(),
        code: "unsupported".into(),
        reason: "Safari has no headless mode".into(),
    })
}

/// Only models of sound have a front end to run on the GPU.
pub(super) fn keep_compute_shaders(settings: &mut ResolvedSettings, family: &str) -> Option<Fallback> {
    let Sourced { value: wanted, source } = settings.compute_shaders;
    if !wanted || family_kind(family).is_none_or(|kind| kind == FamilyKind::Audio) {
        return None;
    }
    settings.compute_shaders = Sourced { value: false, source: Source::Family };
    (source == Source::Explicit).then(|| Fallback {
        from: "compute_shaders true".into(),
        to: "compute_shaders false".into(),
        code: "unsupported".into(),
        reason: format!("models of family {family} take no sound, so there is no audio front end to run on the GPU"),
    })
}

/// WebNN has no formats of fewer than 8 bits, but for int4 as an experiment.
pub(super) fn keep_to_platform(settings: &mut ResolvedSettings, platform: Platform) -> Vec<Fallback> {
    if platform != Platform::Webnn {
        return Vec::new();
    }
    let experimental = settings.experimental_precision.value;
    let mut fallbacks = Vec::new();
    let mut keep = |name: &str, bits: &mut Sourced<Bits>| {
        let kept = bits.value >= Bits::B8 || (bits.value == Bits::B4 && experimental);
        if !kept {
            if bits.source == Source::Explicit {
                fallbacks.push(Fallback {
                    from: format!("{name} {}", bits.value),
                    to: format!("{name} {}", Bits::B8),
                    code: "unsupported".into(),
                    reason: format!("WebNN takes weights of 8 and 16 bits, found {name} {}", bits.value),
                });
            }
            *bits = Sourced { value: Bits::B8, source: Source::Platform };
        }
    };
    keep("bits", &mut settings.bits);
    keep("attention_bits", &mut settings.attention_bits);
    fallbacks
}
