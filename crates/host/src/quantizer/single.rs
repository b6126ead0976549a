//! One tensor alone: what do bits, scheme and granularity cost?

use std::path::PathBuf;
use std::str::FromStr;

use webnibble_common::graph::{Role, Weight};

use super::{QuantizeError, QuantizeOptions, TensorReport, quantize_weight};
use crate::loader::{Checkpoint, WeightSource as _};

/// Where a tensor comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorSource {
    /// Normally distributed weights with a deviation of 0.02, as models are initialized; always the same ones.
    Random {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// A tensor of a safetensors file.
    File {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        tensor: String,
    },
}

impl FromStr for TensorSource {
    type Err = String;

    /// Reads `random:768x768`, or `FILE.safetensors:NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a tensor should be random:ROWSxCOLS or FILE.safetensors:NAME, found `{text}`");
        if let Some(shape) = text.strip_prefix("random:") {
            let (rows, cols) = shape.split_once('x').ok_or_else(wrong)?;
            let extent = |text: &str| text.parse::<usize>().ok().filter(|extent| (1..=1 << 20).contains(extent));
            let (rows, cols) = (extent(rows).ok_or_else(wrong)?, extent(cols).ok_or_else(wrong)?);
            if rows * cols > 1 << 30 {
                return Err(format!("a random tensor should have at most 2^30 weights, found {rows} x {cols}"));
            }
            return Ok(TensorSource::Random { rows, cols });
        }
        let (path, tensor) = text.rsplit_once(".safetensors:").ok_or_else(wrong)?;
        Ok(TensorSource::File { path: format!("{path}.safetensors").into(), tensor: tensor.to_owned() })
    }
}

impl TensorSource {
    /// Shape and values.
    fn read(&self) -> Result<(Vec<usize>, Vec<f32>), QuantizeError> {
        match self {
            TensorSource::Random { rows, cols } => Ok((vec![*rows, *cols], random_normal(rows * cols, 0.02))),
            TensorSource::File { path, tensor } => {
                let checkpoint = Checkpoint::open_file(path)?;
                let values = checkpoint.read_f32(tensor)?;
                Ok((checkpoint.tensors[tensor].shape.clone(), values))
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            TensorSource::Random { .. } => "random",
            TensorSource::File { tensor, .. } => tensor,
        }
    }
}

/// Quantizes one matrix as a linear weight, and says what it cost.
pub fn quantize_tensor(source: &TensorSource, options: &QuantizeOptions) -> Result<TensorReport, QuantizeError> {
    let (shape, values) = source.read()?;
    if shape.len() != 2 {
        return Err(QuantizeError::Source(format!(
            "tensor `{}` should be a matrix, found shape {shape:?}",
            source.name()
        )));
    }
    let weight = Weight { name: source.name().to_owned(), shape, role: Role::Linear, sources: Vec::new() };
    let quantized = quantize_weight(&weight, &values, options.format_of(&weight), options.fit, None);
    let (_, report) = quantized.map_err(|error| QuantizeError::Quant { tensor: weight.name.clone(), error })?;
    Ok(report)
}

/// Normal numbers by Box and Muller's method (1958) from a xorshift generator.
fn random_normal(count: usize, deviation: f32) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // In (0, 1]: the logarithm of it is finite.
        ((state >> 40) + 1) as f32 / (1u64 << 24) as f32
    };
    let mut pair = || {
        let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f32::consts::TAU * uniform());
        [radius * angle.cos() * deviation, radius * angle.sin() * deviation]
    };
    std::iter::repeat_with(&mut pair).take(count.div_ceil(2)).flatten().take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use webnibble_common::quant::Bits;

    #[test]
    fn sources_are_read_from_the_command_line() {
        assert_eq!("random:768x64".parse(), Ok(TensorSource::Random { rows: 768, cols: 64 }));
        let file = TensorSource::File { path: "a/b.safetensors".into(), tensor: "x.weight".into() };
        assert_eq!("a/b.safetensors:x.weight".parse(), Ok(file));
        for wrong in ["random:768", "random:0x4", "random:4x-1", "random:axb", "tensor", "", "random:2000000x1"] {
            let error = wrong.parse::<TensorSource>().unwrap_err();
            assert!(error.starts_with("a tensor should be random:ROWSxCOLS"), "{wrong}: {error}");
        }
        assert!("random:1000000x1000000".parse::<TensorSource>().unwrap_err().contains("at most 2^30"));
    }

    #[test]
    fn random_weights_are_normal() {
        let values = random_normal(1 << 16, 0.02);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
        let within = values.iter().filter(|v| v.abs() < 0.02).count() as f32 / values.len() as f32;
        assert!(mean.abs() < 5e-4 && (deviation - 0.02).abs() < 5e-4 && (within - 0.6827).abs() < 0.01);
    }

    #[test]
    fn fewer_bits_cost_more_error_and_fewer_bytes() {
        let source = TensorSource::Random { rows: 96, cols: 256 };
        let stats = [Bits::B2, Bits::B4, Bits::B8, Bits::B16, Bits::B32].map(|bits| {
            quantize_tensor(&source, &QuantizeOptions { bits, ..QuantizeOptions::default() }).unwrap().stats()
        });
        assert!(stats.is_sorted_by(|a, b| a.rmse > b.rmse && a.bytes < b.bytes && a.cosine <= b.cosine), "{stats:?}");
        assert_eq!(stats[4].rmse, 0.0);
        assert_eq!(stats[1].bytes, 96 * 256 / 2 + 96 * 2 * 2);
    }
}
