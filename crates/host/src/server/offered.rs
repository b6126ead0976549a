//! What a person may choose on the page.

use serde::Serialize;
use webnibble_common::package::QuantizationMeta;
use webnibble_common::quant::Bits;

/// A package that a person may choose on the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offered {
    /// Name of the model.
    pub name: String,
    /// Its family.
    pub family: String,
    /// Number of its weights.
    pub parameters: u64,
    /// How the weights are stored.
    pub quantization: QuantizationMeta,
    /// 8 where linear operators are to be computed in int8, on platforms that do it; else 32.
    pub activation_bits: Bits,
    /// Bytes of the package.
    pub bytes: u64,
    /// Digest of the package.
    pub digest: String,
    /// Its URL, relative to the page.
    pub url: String,
}
