//! Why a model was not quantized.

use std::path::{Path, PathBuf};

use webnibble_common::quant::QuantError;

use crate::calibrate::CalibrationDataError;
use crate::error::Failure;
use crate::loader::{LoadError, hint_to_move};
use crate::reference::ReferenceError;

/// Why a model was not quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A weight could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A weight could not be quantized.
    #[error("tensor `{tensor}`: {error}")]
    Quant {
        /// The weight, by its name in the graph.
        tensor: String,
        /// What is wrong with it.
        error: QuantError,
    },
    /// A model could not be calibrated.
    #[error("calibrating: {0}")]
    Calibrate(#[from] Box<ReferenceError>),
    /// The calibration data could not be read.
    #[error(transparent)]
    Data(#[from] CalibrationDataError),
    /// The package could not be written.
    #[error("writing {}: {message}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
    /// A tensor to quantize that is none.
    #[error("{0}")]
    Source(String),
}

impl QuantizeError {
    /// The file that the system keeps back, where that is what failed.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Write { path, .. } => Some(path),
            Self::Load(error) => error.file(),
            _ => None,
        }
    }
}

impl Failure for QuantizeError {
    fn code(&self) -> String {
        "quantize".into()
    }

    fn hint(&self) -> String {
        if let Some(hint) = self.file().and_then(hint_to_move) {
            return hint;
        }
        match self {
            Self::Load(error) => error.hint(),
            Self::Quant { .. } => {
                "`webnibble inspect` lists the tensors; a checkpoint whose weights are not finite has to be fetched again"
                    .into()
            }
            Self::Calibrate(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Write { .. } => "see that its folder is there and may be written, and that the disk has space".into(),
            Self::Source(_) => "give random:ROWSxCOLUMNS, or FILE.safetensors:NAME".into(),
        }
    }
}
