//! What activations are measured on.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk::hex;
use crate::error::{Failure, hints};

/// The built-in sample, one text a line: news, descriptions, questions, code, some other languages.
const SAMPLE: &str = include_str!("sample.txt");

/// Its name in packages and reports.
const SAMPLE_NAME: &str = "built-in sample";

/// Texts that are like those the model will see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalibrationData {
    source: String,
    texts: Vec<String>,
}

/// Why a file is no calibration data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationDataError {
    /// It cannot be read.
    #[error("calibration data {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has nothing in it.
    #[error("calibration data {}: expected one text a line, found none", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Failure for CalibrationDataError {
    fn code(&self) -> String {
        "data".into()
    }

    fn hint(&self) -> String {
        let hint = match self {
            Self::Read { source, .. } => hints::io(source),
            _ => "give a file of texts, one a line; without --calibrate a built-in sample is taken",
        };
        hint.into()
    }
}

impl CalibrationData {
    /// The sample that comes with webnibble.
    pub fn built_in() -> Self {
        Self { source: SAMPLE_NAME.to_owned(), texts: texts(SAMPLE) }
    }

    /// Texts of a file, one a line; empty lines are left out.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8, or has no text.
    pub fn read(path: &Path) -> Result<Self, CalibrationDataError> {
        let found = std::fs::read_to_string(path)
            .map_err(|source| CalibrationDataError::Read { path: path.to_owned(), source })?;
        let texts = texts(&found);
        if texts.is_empty() {
            return Err(CalibrationDataError::Empty { path: path.to_owned() });
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self { source: name.to_string_lossy().into_owned(), texts })
    }

    /// The name of the file or sample.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// SHA-256 of the texts, in hex.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for text in &self.texts {
            hash.update(text);
            hash.update("\n");
        }
        hex(&hash.finalize())
    }
}

fn texts(lines: &str) -> Vec<String> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_texts_that_differ() {
        let sample = CalibrationData::built_in();
        let unique: std::collections::BTreeSet<_> = sample.texts().iter().collect();
        assert!(unique.len() >= 64 && unique.len() == sample.texts().len(), "{}", unique.len());
    }

    #[test]
    fn a_file_has_one_text_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        std::fs::write(&path, "one\n\n  two words \r\n").unwrap();
        let data = CalibrationData::read(&path).unwrap();
        assert_eq!((data.source(), data.texts()), ("texts.txt", &["one".to_owned(), "two words".to_owned()][..]));
        std::fs::write(&path, "one\ntwo words\n").unwrap();
        assert_eq!(CalibrationData::read(&path).unwrap().digest(), data.digest());
        std::fs::write(&path, "one two\nwords\n").unwrap();
        assert_ne!(CalibrationData::read(&path).unwrap().digest(), data.digest());
    }

    #[test]
    fn files_without_texts_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.txt");
        assert!(matches!(CalibrationData::read(&path), Err(CalibrationDataError::Read { .. })));
        std::fs::write(&path, "\n \n").unwrap();
        let error = CalibrationData::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("texts.txt: expected one text a line, found none"), "{error}");
    }
}
