//! What can be wrong with a package.

use crate::quant::QuantError;
use crate::safetensors::HeaderError;

/// Why bytes are not a package that can be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Not a safetensors file.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A safetensors file, but not one of ours.
    #[error(
        "a safetensors file without webnibble metadata, so not a package: make one of it with `webnibble quantize`"
    )]
    NotAPackage,
    /// Another version of the format.
    #[error("package format version {found}, this program reads version {expected}: quantize the model again")]
    Version {
        /// The version that is read.
        expected: u32,
        /// The version of the file.
        found: u32,
    },
    /// An entry of `__metadata__` is missing or not what it should be.
    #[error("metadata `{key}`: {message}")]
    Metadata {
        /// The entry.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The metadata gives a tensor a shape or format that none can have.
    #[error("tensor `{tensor}`: {message}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        message: String,
    },
    /// Two planes have the same name.
    #[error("two planes are called `{plane}`")]
    Duplicate {
        /// The name.
        plane: String,
    },
    /// A plane that the metadata calls for is not there.
    #[error("plane `{plane}` is missing: expected {expected}, found only {found}")]
    Missing {
        /// The plane.
        plane: String,
        /// Its type and shape.
        expected: String,
        /// The names that are there, or the first of them.
        found: String,
    },
    /// A plane that the metadata knows nothing of.
    #[error("plane `{plane}` belongs to no tensor and no extra of the metadata")]
    Unexpected {
        /// The plane.
        plane: String,
    },
    /// A plane has another type or shape than its format asks for.
    #[error("plane `{plane}` should be {expected}, found {found}")]
    Mismatch {
        /// The plane.
        plane: String,
        /// Type and shape by the metadata.
        expected: String,
        /// Type and shape in the header, or of the weight to be written.
        found: String,
    },
    /// A plane's byte range does not have the length of its shape.
    #[error("plane `{plane}` should have {expected} bytes, its range {begin}..{end} does not")]
    Range {
        /// The plane.
        plane: String,
        /// Bytes of its shape.
        expected: u64,
        /// First byte in the data.
        begin: u64,
        /// One past the last byte in the data.
        end: u64,
    },
    /// Planes overlap, or leave a gap.
    #[error("plane `{plane}` should begin at byte {expected} of the data, where the one before it ends, found {found}")]
    Place {
        /// The plane.
        plane: String,
        /// The end of the plane before it.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// The data does not begin at a multiple of 16 bytes.
    #[error("the data should begin at a multiple of 16 bytes, found {found}: the header is not padded")]
    Alignment {
        /// Where it begins.
        found: u64,
    },
    /// The file is shorter or longer than its header says.
    #[error("the file should have {expected} bytes, found {found}: {}", if found < expected { "it is truncated" } else { "something follows the last plane" })]
    FileLength {
        /// Bytes by the header.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A plane's bytes are not those that were written.
    #[error("plane `{plane}` should have SHA-256 {expected}, found {found}: the file is damaged")]
    Digest {
        /// The plane.
        plane: String,
        /// The digest in the metadata.
        expected: String,
        /// The digest of the bytes.
        found: String,
    },
    /// The bytes of a tensor's planes are not a tensor.
    #[error("tensor `{tensor}`: {error}")]
    Quant {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        error: QuantError,
    },
}
