//! What a row measures: a precision at a size, and which of them go together.

use webnibble_common::options::{Engine, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity};

/// How weights and activations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precision {
    /// Of the linear weights.
    pub bits: Bits,
    /// 8, or 32 for floats.
    pub activation_bits: Bits,
    /// Weights that share a scale; what the browser's profile says where it is not given.
    pub group_size: Option<usize>,
    /// Attention projections at bits of their own; what the browser's profile says where it is not given.
    pub mixed_precision: Option<bool>,
    /// Formats that a platform takes, but that are not known to be good.
    pub experimental: bool,
}

impl Precision {
    /// Weights alone, otherwise as the browser's profile says.
    pub const fn weights(bits: Bits) -> Self {
        Self { bits, activation_bits: Bits::B32, group_size: None, mixed_precision: None, experimental: false }
    }

    /// Weights and activations in int8.
    pub const fn int8() -> Self {
        Self { activation_bits: Bits::B8, ..Self::weights(Bits::B8) }
    }

    /// Every combination. No list, or an empty one, leaves a choice to the profile; floats have no groups and no attention
    /// of their own, so they are there once.
    pub fn combinations(bits: &[Bits], group_sizes: &[usize], mixed_precision: &[bool]) -> Vec<Self> {
        fn choices<T: Copy>(given: &[T], bits: Bits) -> Vec<Option<T>> {
            let given: Vec<_> = given.iter().copied().map(Some).collect();
            if given.is_empty() || !bits.is_integer() { vec![None] } else { given }
        }
        let mut found = Vec::new();
        for bits in bits {
            for group_size in choices(group_sizes, *bits) {
                for mixed_precision in choices(mixed_precision, *bits) {
                    found.push(Self { group_size, mixed_precision, ..Self::weights(*bits) });
                }
            }
        }
        found
    }

    /// `settings` with this precision in them.
    pub(super) fn settings(&self, settings: &Settings) -> Settings {
        Settings {
            bits: Some(self.bits),
            activation_bits: (self.activation_bits != Bits::B32).then_some(self.activation_bits),
            granularity: self.group_size.map(Granularity::Group).or(settings.granularity),
            mixed_precision: self.mixed_precision.or(settings.mixed_precision),
            experimental_precision: self.experimental.then_some(true).or(settings.experimental_precision),
            ..settings.clone()
        }
    }
}

/// How large an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Texts in one run.
    pub batch: usize,
    /// Tokens of each.
    pub tokens: usize,
}

impl Size {
    /// Every batch at every length.
    pub fn combinations(batches: &[usize], tokens: &[usize]) -> Vec<Self> {
        let of =
            |batch: &usize| tokens.iter().map(|tokens| Self { batch: *batch, tokens: *tokens }).collect::<Vec<_>>();
        batches.iter().flat_map(of).collect()
    }

    /// Lengths at batch 1, and batches at one length: enough to see how cost grows, and bounded.
    pub fn sweep() -> Vec<Self> {
        let size = |batch, tokens| Self { batch, tokens };
        vec![size(1, 16), size(1, 64), size(1, 256), size(4, 64), size(8, 64)]
    }
}

/// Rows that are measured together: they differ in their engine alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell<'a> {
    pub(super) model: &'a str,
    pub(super) platform: Platform,
    pub(super) precision: Precision,
    pub(super) size: Size,
    /// Threads on wasm, parts on WebNN; `None` leaves them to the page.
    pub(super) threads: Option<u32>,
    pub(super) engines: Vec<Engine>,
    /// One of the sweep: measured only where the platform runs.
    pub(super) sweep: bool,
}

/// Whether a row would be one of its own. Activations are quantized by our WebNN graphs and our wasm alone.
pub(super) fn takes(platform: Platform, engine: Engine, precision: Precision) -> bool {
    precision.activation_bits == Bits::B32
        || (matches!(platform, Platform::Webnn | Platform::Wasm) && engine == Engine::Native)
}
