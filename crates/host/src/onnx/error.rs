//! Why there is no ONNX file.

use std::path::PathBuf;

use crate::error::Failure;

/// Protobuf, and with it every reader of ONNX, ends at 2 GiB.
pub const LARGEST_FILE_BYTES: usize = i32::MAX as usize;

/// Why there is no ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A weight of the graph is missing, or of another kind.
    #[error("weight `{name}` should be {expected}; the package has none such")]
    Weight {
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An operator that is not exported yet.
    #[error("{operator} {what} is not exported to ONNX yet")]
    Unsupported {
        /// Its name.
        operator: &'static str,
        /// What of it is not.
        what: &'static str,
    },
    /// The model does not fit one file.
    #[error("an ONNX file holds at most {LARGEST_FILE_BYTES} bytes, this model takes {bytes}")]
    TooLarge {
        /// Bytes that it takes.
        bytes: usize,
    },
    /// An ONNX form of a model lacks a file.
    #[error("{}: expected {expected}, found none", .folder.display())]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        expected: String,
    },
}

impl Failure for OnnxError {
    fn code(&self) -> String {
        "onnx".into()
    }

    fn hint(&self) -> String {
        let hint = match self {
            Self::TooLarge { .. } => "export with fewer bits",
            Self::Weight { .. } => {
                "the package is not of this version's graph: write it again with `webnibble quantize`"
            }
            Self::Unsupported { .. } => "run the model with webnibble's own engines",
            Self::Incomplete { .. } => "`webnibble export --onnx` writes a whole folder",
        };
        hint.into()
    }
}
