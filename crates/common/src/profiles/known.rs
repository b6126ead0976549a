//! All that is known about platforms, browsers and families.

use crate::options::{BrowserKind, ExecutionProvider, GpuProfile, Platform, Settings};
use crate::quant::{Bits, Granularity, Scheme};

/// What is run where: decides which rows of the tables count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The platform.
    pub platform: Platform,
    /// The browser.
    pub browser: BrowserKind,
    /// The family, as it is named in packages: `bert`.
    pub family: &'a str,
    /// What makes a browser find a GPU on this machine.
    pub gpu: GpuProfile,
}

/// Kinds of model that have recommendations of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyKind {
    /// BERT, T5.
    Text,
    /// ViT, CLIP.
    Vision,
    /// Whisper, Wav2Vec2.
    Audio,
    /// LLaMA, Qwen2.
    Llm,
}

/// The kind of a family, by the family's name as it is in packages; `None` for a name that is not known here.
pub fn family_kind(family: &str) -> Option<FamilyKind> {
    FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, kind)| *kind)
}

const FAMILIES: &[(&str, FamilyKind)] = &[
    ("bert", FamilyKind::Text),
    ("t5", FamilyKind::Text),
    ("vit", FamilyKind::Vision),
    ("clip", FamilyKind::Vision),
    ("whisper", FamilyKind::Audio),
    ("wav2vec2", FamilyKind::Audio),
    ("llama", FamilyKind::Llm),
    ("qwen2", FamilyKind::Llm),
];

/// Nothing chosen: what the tables below start from.
pub(super) const NONE: Settings = Settings::NONE;

/// What is known of one browser.
pub(super) struct BrowserProfile {
    browser: BrowserKind,
    /// Whether it can have WebNN at all.
    webnn: bool,
    /// What it needs, against the family's recommendation.
    pub(super) needs: Settings,
    /// What it needs for audio models, beside `needs`.
    pub(super) audio_needs: Settings,
    /// What suits it where nobody says otherwise.
    pub(super) defaults: Settings,
}

const CHROME: BrowserProfile = BrowserProfile {
    browser: BrowserKind::Chrome,
    webnn: true,
    needs: NONE,
    audio_needs: NONE,
    defaults: Settings {
        bits: Some(Bits::B4),
        scheme: Some(Scheme::Symmetric),
        granularity: Some(Granularity::Group(128)),
        mixed_precision: Some(true),
        ..NONE
    },
};

const SAFARI: BrowserProfile = BrowserProfile {
    browser: BrowserKind::Safari,
    webnn: false,
    needs: Settings {
        bits: Some(Bits::B8),
        scheme: Some(Scheme::Symmetric),
        granularity: Some(Granularity::Channel),
        mixed_precision: Some(false),
        chunked_operations: Some(true),
        portable_kernels: Some(true),
        ..NONE
    },
    audio_needs: NONE,
    defaults: NONE,
};

const BROWSERS: &[BrowserProfile] = &[
    CHROME,
    BrowserProfile {
        browser: BrowserKind::Edge,
        defaults: Settings { execution_provider: Some(ExecutionProvider::Gpu), ..CHROME.defaults },
        ..CHROME
    },
    BrowserProfile {
        browser: BrowserKind::Firefox,
        webnn: false,
        audio_needs: Settings { compute_shaders: Some(true), workgroup_size: Some([256, 1, 1]), ..NONE },
        defaults: Settings { mixed_precision: Some(false), ..CHROME.defaults },
        ..CHROME
    },
    SAFARI,
    BrowserProfile { browser: BrowserKind::Webkit, ..SAFARI },
];

/// What each platform can do.
pub(super) const PLATFORMS: &[(Platform, Settings)] = &[(Platform::Webnn, Settings { bits: Some(Bits::B8), ..NONE })];

/// What is recommended for each kind of family.
pub(super) const RECOMMENDED: &[(FamilyKind, Settings)] = &[
    (
        FamilyKind::Text,
        Settings { bits: Some(Bits::B4), mixed_precision: Some(true), skip_layernorm: Some(true), ..NONE },
    ),
    (
        FamilyKind::Vision,
        Settings { bits: Some(Bits::B8), mixed_precision: Some(true), shader_precompilation: Some(true), ..NONE },
    ),
    (FamilyKind::Audio, Settings { bits: Some(Bits::B4), compute_shaders: Some(true), ..NONE }),
    (
        FamilyKind::Llm,
        Settings { bits: Some(Bits::B4), mixed_precision: Some(true), attention_bits: Some(Bits::B8), ..NONE },
    ),
];

/// Whether a browser can have WebNN at all; what it really has, the agent finds out.
pub fn may_have_webnn(browser: BrowserKind) -> bool {
    profile_of(browser).webnn
}

pub(super) fn profile_of(browser: BrowserKind) -> &'static BrowserProfile {
    BROWSERS.iter().find(|profile| profile.browser == browser).expect("every browser has a row")
}
