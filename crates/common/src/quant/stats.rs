//! Error statistics of quantized tensors, and what they weigh.

use super::{Bits, QTensor};

/// Error of quantized weights against their source.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ErrorStats {
    /// Number of weights.
    pub weights: u64,
    /// Mean of `|a − b|`.
    pub mean_abs: f64,
    /// Square root of the mean of `(a − b)²`.
    pub rmse: f64,
    /// Largest `|a − b|`.
    pub max_abs: f64,
    /// Cosine of the angle between source and quantized weights; 1 when both are all zeros.
    pub cosine: f64,
    /// True bytes: codes, scales, zero points and padding.
    pub bytes: u64,
}

impl ErrorStats {
    /// Error of `quantized` against `source`, `[rows, cols]` in row-major order.
    ///
    /// Panics when `source` has another length than the tensor.
    pub fn of(source: &[f32], quantized: &QTensor) -> Self {
        let mut sums = ErrorSums::default();
        sums.add(source, quantized);
        sums.stats()
    }

    /// Bytes of the same weights as f16, without any padding.
    pub fn f16_bytes(&self) -> u64 {
        self.weights * 2
    }

    /// Bytes of the same weights as f32, without any padding.
    pub fn f32_bytes(&self) -> u64 {
        self.weights * 4
    }

    /// How much smaller than f16, in percent, with scales and padding counted. Negative when larger.
    pub fn reduction_percent_f16(&self) -> f64 {
        100.0 * (1.0 - self.bytes as f64 / self.f16_bytes() as f64)
    }

    /// How much smaller than f32, in percent, with scales and padding counted.
    pub fn reduction_percent_f32(&self) -> f64 {
        100.0 * (1.0 - self.bytes as f64 / self.f32_bytes() as f64)
    }
}

impl Bits {
    /// The reduction against f16 that the bits alone promise, in percent: 50 at 8 bits, 75 at 4, 87.5 at 2.
    pub fn nominal_reduction_percent(self) -> f64 {
        100.0 * (1.0 - self.count() as f64 / 16.0)
    }
}

/// Sums from which the statistics of several tensors together follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ErrorSums {
    weights: u64,
    bytes: u64,
    abs: f64,
    squares: f64,
    max: f64,
    dot: f64,
    source_squares: f64,
    quantized_squares: f64,
}

impl ErrorSums {
    /// Adds a tensor; panics when `source` has another length.
    pub fn add(&mut self, source: &[f32], quantized: &QTensor) {
        let layout = &quantized.layout;
        assert_eq!(source.len(), layout.rows * layout.cols, "source and quantized tensor have the same shape");
        let mut values = vec![0.0; layout.cols];
        for (row, source) in source.chunks_exact(layout.cols).enumerate() {
            quantized.dequantize_row_into(row, &mut values);
            self.add_values(source, &values);
        }
        self.bytes += quantized.bytes() as u64;
    }

    /// Adds weights that are stored as they are, in `bytes`.
    pub fn add_exact(&mut self, values: &[f32], bytes: usize) {
        self.add_values(values, values);
        self.bytes += bytes as u64;
    }

    /// Adds what another sum has.
    pub fn merge(&mut self, other: &ErrorSums) {
        self.weights += other.weights;
        self.bytes += other.bytes;
        self.abs += other.abs;
        self.squares += other.squares;
        self.max = self.max.max(other.max);
        self.dot += other.dot;
        self.source_squares += other.source_squares;
        self.quantized_squares += other.quantized_squares;
    }

    /// The statistics of all that was added; zeros, and a cosine of 1, of nothing.
    pub fn stats(&self) -> ErrorStats {
        let count = self.weights.max(1) as f64;
        let norms = (self.source_squares * self.quantized_squares).sqrt();
        let both_zero = self.source_squares == 0.0 && self.quantized_squares == 0.0;
        ErrorStats {
            weights: self.weights,
            mean_abs: self.abs / count,
            rmse: (self.squares / count).sqrt(),
            max_abs: self.max,
            cosine: if both_zero {
                1.0
            } else if norms == 0.0 {
                0.0
            } else {
                self.dot / norms
            },
            bytes: self.bytes,
        }
    }

    fn add_values(&mut self, source: &[f32], quantized: &[f32]) {
        self.weights += source.len() as u64;
        for (a, b) in source.iter().zip(quantized) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            let error = (a - b).abs();
            self.abs += error;
            self.squares += error * error;
            self.max = self.max.max(error);
            self.dot += a * b;
            self.source_squares += a * a;
            self.quantized_squares += b * b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Granularity, Quantizer};
    use super::*;

    #[test]
    fn of_known_errors() {
        // One scale of 0.5 for all: 0.1 becomes 0, the rest is exact.
        let source = [-4.0, 3.5, 0.5, 0.1];
        let quantized = Quantizer::new(Bits::B4).fit(super::super::Fit::MinMax).quantize(&source, &[1, 4]).unwrap();
        let stats = ErrorStats::of(&source, &quantized);
        let error = f64::from(0.1f32);
        assert_eq!((stats.weights, stats.max_abs, stats.mean_abs, stats.rmse), (4, error, error / 4.0, error / 2.0));
        assert!(stats.cosine < 1.0 && stats.cosine > 0.999);
        assert_eq!(stats.bytes, 32 + 16);
    }

    #[test]
    fn sizes_are_true_ones() {
        let source = vec![0.5; 768 * 768];
        let quantized = Quantizer::new(Bits::B4).quantize(&source, &[768, 768]).unwrap();
        let stats = ErrorStats::of(&source, &quantized);
        assert_eq!(stats.bytes, 768 * 768 / 2 + 768 * 6 * 2);
        assert_eq!(Bits::B4.nominal_reduction_percent(), 75.0);
        assert_eq!((100.0 * stats.reduction_percent_f16()).round(), 7422.0);
        assert_eq!((100.0 * stats.reduction_percent_f32()).round(), 8711.0);
    }

    #[test]
    fn several_tensors_together() {
        let (a, b) = ([1.0, -2.0, 0.3], [0.7, 0.2, -0.4]);
        let quantizer = Quantizer::new(Bits::B2).granularity(Granularity::Channel);
        let (qa, qb) = (quantizer.quantize(&a, &[1, 3]).unwrap(), quantizer.quantize(&b, &[1, 3]).unwrap());
        let mut together = ErrorSums::default();
        together.add(&a, &qa);
        let mut other = ErrorSums::default();
        other.add(&b, &qb);
        together.merge(&other);
        let (sa, sb, s) = (ErrorStats::of(&a, &qa), ErrorStats::of(&b, &qb), together.stats());
        assert_eq!((s.weights, s.bytes), (6, sa.bytes + sb.bytes));
        assert_eq!(s.max_abs, sa.max_abs.max(sb.max_abs));
        assert!((s.rmse.powi(2) - (sa.rmse.powi(2) + sb.rmse.powi(2)) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn zeros_are_alike() {
        let zeros = [0.0; 5];
        let stats = ErrorStats::of(&zeros, &Quantizer::new(Bits::B8).quantize(&zeros, &[1, 5]).unwrap());
        assert_eq!((stats.cosine, stats.rmse), (1.0, 0.0));
    }
}
