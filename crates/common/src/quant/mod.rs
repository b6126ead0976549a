//! Weight quantization: formats, their byte layout, and the tensors in them.
//!
//! A matrix `[rows, cols]` becomes planes: packed codes, scales, and zero points where the scheme is asymmetric.
//! Every stored value stands for `scale · (code − zero)`.
//!
//! ```text
//! packed   rows × row_bytes        codes of one row side by side, lowest bits first, rows padded to 16 bytes
//! scale    rows × groups_per_row   f16; one in all per tensor, one a row per channel
//! zero     the same count          u8; only if asymmetric (a symmetric zero is 2^(bits−1))
//! ```
//!
//! Only this module knows that layout; kernels and executors take it from [`Layout`].

mod activations;
mod calibrated;
mod dynamic;
mod error;
mod fit;
mod float;
mod format;
mod layout;
mod q2;
mod q4;
mod q8;
mod qtensor;
mod quantizer;
mod stats;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use activations::{ActivationScale, Int8Linear, LinearActivations, MAX_SHIFT};
pub use calibrated::Gram;
pub use dynamic::{ACTIVATION_GROUP, ActivationGroup, LARGEST_ACTIVATION_CODE};
pub use error::QuantError;
pub use fit::Fit;
pub use format::{Bits, Format, Granularity, Scheme};
pub use layout::{Layout, round_up};
pub use qtensor::QTensor;
pub use quantizer::Quantizer;
pub use stats::{ErrorStats, ErrorSums};
