//! Quantized tensors and the quantizer that makes them.
use super::{Format, Layout};
use half::f16;

/// A matrix in a format: its planes as they are stored and uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct QTensor {
    /// Format, shape and byte layout.
    pub layout: Layout,
    /// Packed codes, or floats, little-endian: `layout.packed_bytes()`.
    pub packed: Vec<u8>,
    /// `layout.scale_count()` scales.
    pub scales: Vec<f16>,
    /// As many zero points if asymmetric, otherwise none.
    pub zeros: Vec<u8>,
}

/// Turns matrices of floats into [`QTensor`]s.
#[derive(Clone, Debug)]
pub struct Quantizer {
    format: Format,
}

/// What cannot be quantized.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {}
