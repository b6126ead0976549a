//! How a model is quantized.

use webnibble_common::graph::{Role, Weight};
use webnibble_common::package::QuantizationMeta;
use webnibble_common::profiles::ResolvedSettings;
use webnibble_common::quant::{Bits, Fit, Format, Granularity, Scheme};

/// How a model is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct QuantizeOptions {
    /// Bits of linear weights.
    pub bits: Bits,
    /// Where zero lies.
    pub scheme: Scheme,
    /// Weights that share a scale.
    pub granularity: Granularity,
    /// Give attention projections bits of their own.
    pub mixed_precision: bool,
    /// Bits of attention projections under mixed precision.
    pub attention_bits: Bits,
    /// Bits of embedding tables; 8 and fewer have scales as linear weights have.
    pub embedding_bits: Bits,
    /// Bits of activations: 8 calibrates the model, 32 leaves them in floats.
    #[serde(default = "floats")]
    pub activation_bits: Bits,
    /// Fit weights of 8 bits and fewer to what they are multiplied by, on sample texts.
    #[serde(default)]
    pub calibrated_weights: bool,
    /// What scales are chosen for.
    pub fit: Fit,
}

/// Reports that were written before there was a choice.
fn floats() -> Bits {
    Bits::B32
}

impl Default for QuantizeOptions {
    /// 4 bits, symmetric, in groups of 128, embeddings in f16.
    fn default() -> Self {
        Self {
            bits: Bits::B4,
            scheme: Scheme::Symmetric,
            granularity: Granularity::Group(128),
            mixed_precision: false,
            attention_bits: Bits::B8,
            embedding_bits: Bits::B16,
            activation_bits: Bits::B32,
            calibrated_weights: false,
            fit: Fit::SquaredError,
        }
    }
}

impl From<&ResolvedSettings> for QuantizeOptions {
    fn from(settings: &ResolvedSettings) -> Self {
        Self {
            bits: settings.bits.value,
            scheme: settings.scheme.value,
            granularity: settings.granularity.value,
            mixed_precision: settings.mixed_precision.value,
            attention_bits: settings.attention_bits.value,
            embedding_bits: settings.embedding_bits.value,
            activation_bits: settings.activation_bits.value,
            calibrated_weights: settings.calibrated_weights.value,
            fit: Fit::SquaredError,
        }
    }
}

impl QuantizeOptions {
    /// The reference: every weight as the checkpoint has it, in f32.
    pub fn reference() -> Self {
        Self { bits: Bits::B32, embedding_bits: Bits::B32, ..Self::default() }
    }

    /// Whether sample texts have a say in the result.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated_weights || self.activation_bits == Bits::B8
    }

    /// Bits of weights with a role; `None` for vectors, which are f32 whatever is asked for.
    pub fn bits_of(&self, role: Role) -> Option<Bits> {
        match role {
            Role::Attention if self.mixed_precision => Some(self.attention_bits),
            Role::Attention | Role::Linear => Some(self.bits),
            Role::Embedding => Some(self.embedding_bits),
            Role::Vector => None,
        }
    }

    /// The format of a weight.
    pub fn format_of(&self, weight: &Weight) -> Format {
        match (self.bits_of(weight.role), weight.shape.len()) {
            (None, _) | (_, 1) | (Some(Bits::B32), _) => Format::F32,
            (Some(Bits::B16), _) => Format::F16,
            (Some(bits), _) => Format { bits, scheme: self.scheme, granularity: self.granularity },
        }
    }

    /// What the package says of it.
    pub(super) fn meta(&self) -> QuantizationMeta {
        QuantizationMeta {
            bits: self.bits.into(),
            scheme: self.scheme,
            granularity: self.granularity,
            mixed_precision: self.mixed_precision,
            attention_bits: self.bits_of(Role::Attention).unwrap_or(self.bits).into(),
            embedding_bits: self.embedding_bits.into(),
        }
    }
}
