//! Matrices by name.

use webnibble_common::options::Platform;
use webnibble_common::quant::Bits;

use crate::loader::DEFAULT_MODEL;

/// A matrix with a name: what is measured unless it is named otherwise, in every browser that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// Models, by their short names.
    pub models: &'static [&'static str],
    /// Platforms.
    pub platforms: &'static [Platform],
    /// Bits of the weights.
    pub bits: &'static [Bits],
    /// Weights that share a scale; empty for what profiles say.
    pub group_sizes: &'static [usize],
    /// Attention with bits of its own, or not; empty for what profiles say.
    pub mixed_precision: &'static [bool],
    /// Whether fewer than 8 bits on WebNN are wanted, which is experimental there.
    pub experimental: bool,
}

/// 16, 8, 4 and 2.
pub const USUAL_BITS: &[Bits] = &[Bits::B16, Bits::B8, Bits::B4, Bits::B2];

const WEBGPU_ONLY: Preset = Preset {
    name: "webgpu-only",
    about: "WebGPU in every browser at 16, 8, 4 and 2 bits",
    models: &[DEFAULT_MODEL],
    platforms: &[Platform::Webgpu],
    bits: USUAL_BITS,
    group_sizes: &[],
    mixed_precision: &[],
    experimental: false,
};

/// All presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "guide",
        about: "BERT-base, ViT-base and Whisper-tiny by browser, on WebGPU at 16, 8, 4 and 2 bits",
        models: &["bert-base-uncased", "vit-base", "whisper-tiny"],
        ..WEBGPU_ONLY
    },
    WEBGPU_ONLY,
    Preset {
        name: "webnn-only",
        about: "WebNN in every browser at 16 and 8 bits, and at 4, which is experimental there",
        platforms: &[Platform::Webnn],
        bits: &[Bits::B16, Bits::B8, Bits::B4],
        experimental: true,
        ..WEBGPU_ONLY
    },
    Preset {
        name: "ultra-low-prec",
        about: "4 and 2 bits on WebGPU, in groups of 128 and 32, with and without attention at 8 bits",
        bits: &[Bits::B4, Bits::B2],
        group_sizes: &[128, 32],
        mixed_precision: &[true, false],
        ..WEBGPU_ONLY
    },
];

impl std::str::FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        PRESETS.iter().find(|preset| preset.name == text).copied().ok_or_else(|| {
            let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
            format!("preset should be one of {}, found `{text}`", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::SHORT_NAMES;

    #[test]
    fn presets_are_found_by_name_and_name_models_that_are_known() {
        for preset in PRESETS {
            assert_eq!(preset.name.parse(), Ok(*preset));
            for model in preset.models {
                assert!(SHORT_NAMES.iter().any(|(short, _)| short == model), "{}: {model}", preset.name);
            }
        }
        let error = "guid".parse::<Preset>().unwrap_err();
        assert_eq!(error, "preset should be one of guide, webgpu-only, webnn-only, ultra-low-prec, found `guid`");
    }
}
