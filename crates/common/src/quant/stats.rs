//! Error statistics.
/// Error of a quantized tensor against its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorStats {}
