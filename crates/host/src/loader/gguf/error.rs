//! Why a GGUF file cannot be read.

/// The architectures that are read, by their names in a file.
pub(super) const ARCHITECTURES: &[&str] = &["llama"];

/// Why a GGUF file cannot be read. Messages say what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Another kind of file.
    #[error("expected a GGUF file, whose first bytes are `GGUF`, found {found}")]
    NotGguf {
        /// The first bytes.
        found: String,
    },
    /// A file for machines of the other byte order.
    #[error("expected a little-endian GGUF file, found one written for big-endian machines")]
    BigEndian,
    /// A version of the format that is not read.
    #[error("expected GGUF version 2 or 3, found version {found}")]
    Version {
        /// The version.
        found: u32,
    },
    /// Something that is longer than what is left of the file.
    #[error("{what} should have {needed} bytes, but {left} are left: the file is cut short, or its header is damaged")]
    Short {
        /// What was to be read.
        what: String,
        /// Bytes that it takes, at the least.
        needed: u64,
        /// Bytes from its start to the end of the file.
        left: u64,
    },
    /// A header that is no header.
    #[error("damaged header: {message}")]
    Header {
        /// What is wrong with it.
        message: String,
    },
    /// A tensor that cannot be where or what the header says.
    #[error("tensor `{tensor}`: {message}")]
    Tensor {
        /// Its name in the file.
        tensor: String,
        /// What was expected and found.
        message: String,
    },
    /// Metadata that is missing, of another type, or of a value that is not followed.
    #[error("metadata `{key}` should be {expected}, found {found}")]
    Metadata {
        /// Its key.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A model of a family that is not read from GGUF.
    #[error("`general.architecture` is `{found}`; those that are read from GGUF are: {}", ARCHITECTURES.join(", "))]
    Architecture {
        /// The architecture.
        found: String,
    },
}

impl GgufError {
    pub(super) fn header(message: impl Into<String>) -> Self {
        Self::Header { message: message.into() }
    }

    pub(super) fn tensor(tensor: &str, message: impl Into<String>) -> Self {
        Self::Tensor { tensor: tensor.to_owned(), message: message.into() }
    }

    pub(super) fn metadata(key: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Metadata { key: key.to_owned(), expected: expected.into(), found: found.into() }
    }

    /// What to do about it.
    pub(in super::super) fn hint(&self) -> &'static str {
        match self {
            Self::NotGguf { .. } | Self::Short { .. } | Self::Header { .. } => {
                "the file is damaged, not whole or no GGUF file: fetch or convert it again"
            }
            Self::BigEndian | Self::Version { .. } => {
                "convert the model again with today's tools, for little-endian machines"
            }
            Self::Tensor { .. } => {
                "docs/models.md says which tensors and types are read; fetch or convert the file again"
            }
            Self::Metadata { .. } | Self::Architecture { .. } => {
                "docs/models.md says what of GGUF is read; the model's Hugging Face folder may be given in its place"
            }
        }
    }
}
