//! Pairs of sentences with the score that people gave them.

use std::path::{Path, PathBuf};

use crate::error::{Failure, hints};

/// Columns of the STS benchmark's files: genre, file, year, number, score, two sentences; some rows have sources after.
const STS_COLUMNS: usize = 7;
const STS_SCORE: usize = 4;

/// Two sentences and how alike they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// How alike people found them; the scale does not matter.
    pub score: f64,
    /// The sentences.
    pub sentences: [String; 2],
}

/// Why a file is no data to evaluate on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// It cannot be read.
    #[error("data {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It has too few rows to say anything.
    #[error("data {}: expected at least 2 rows, found {found}", .path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Rows.
        found: usize,
    },
    /// A text is too short to say anything.
    #[error("data {}: expected a text of at least {least} tokens, found {found}", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Least tokens.
        least: usize,
        /// Its tokens.
        found: usize,
    },
    /// A row is not what it should be.
    #[error("data {} line {line}: expected {expected}, found {found}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

impl Failure for DataError {
    fn code(&self) -> String {
        "data".into()
    }

    fn hint(&self) -> String {
        let hint = match self {
            Self::Read { source, .. } => hints::io(source),
            Self::TooFew { .. } => "give a file with two rows or more",
            Self::Short { .. } => "give a longer text, or leave out --limit",
            Self::Row { .. } => {
                "rows are separated by tabs: score, sentence, sentence; or as the STS benchmark has them, with the score in \
             column 5 and the sentences in 6 and 7"
            }
        };
        hint.into()
    }
}

/// Reads tab-separated rows without a header: `score, sentence, sentence`, or as the STS benchmark has them, with the score
/// in column 5 and the sentences in 6 and 7. Empty lines are left out; `limit` keeps the first rows.
///
/// # Errors
/// When the file cannot be read, a row is something else (with its line), or there are fewer than two.
pub fn read_pairs(path: &Path, limit: Option<usize>) -> Result<Vec<Pair>, DataError> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let pair = |(index, line): (usize, &str)| {
        pair(line).map_err(|(expected, found)| DataError::Row {
            path: path.to_owned(),
            line: index + 1,
            expected,
            found,
        })
    };
    let pairs = lines.take(limit.unwrap_or(usize::MAX)).map(pair).collect::<Result<Vec<_>, _>>()?;
    if pairs.len() < 2 {
        return Err(DataError::TooFew { path: path.to_owned(), found: pairs.len() });
    }
    Ok(pairs)
}

/// Reads a text.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read_text(path: &Path) -> Result<String, DataError> {
    std::fs::read_to_string(path).map_err(|source| DataError::Read { path: path.to_owned(), source })
}

/// One row; what was expected and found where it is none.
fn pair(line: &str) -> Result<Pair, (&'static str, String)> {
    let columns: Vec<&str> = line.split('\t').collect();
    let first = match columns.len() {
        3 => 0,
        count if count >= STS_COLUMNS => STS_SCORE,
        count => return Err(("3 columns, or 7 and more, separated by tabs", format!("{count}"))),
    };
    let score: f64 = match columns[first].trim().parse() {
        Ok(score) if f64::is_finite(score) => score,
        _ => return Err(("a number as score (there is no header)", format!("`{}`", columns[first]))),
    };
    let sentence = |column: usize| match columns[column].trim() {
        "" => Err(("a sentence", "nothing".to_owned())),
        sentence => Ok(sentence.to_owned()),
    };
    Ok(Pair { score, sentences: [sentence(first + 1)?, sentence(first + 2)?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, limit: Option<usize>) -> Result<Vec<Pair>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.tsv");
        std::fs::write(&path, text).unwrap();
        let shown = folder.path().display().to_string();
        read_pairs(&path, limit).map_err(|error| error.to_string().replace(&format!("{shown}/"), ""))
    }

    fn expected(score: f64, one: &str, other: &str) -> Pair {
        Pair { score, sentences: [one.to_owned(), other.to_owned()] }
    }

    #[test]
    fn both_forms_are_read() {
        let text = "news\tf\t2012\t0001\t4.75\tA cat \"sits\".\tThe cat sits.\r\n\n0\tone, two\tthree\nx\tx\tx\tx\t5\ta\tb\tc\td\n";
        let all = [
            expected(4.75, "A cat \"sits\".", "The cat sits."),
            expected(0.0, "one, two", "three"),
            expected(5.0, "a", "b"),
        ];
        assert_eq!(read(text, None).unwrap(), all);
        assert_eq!(read(text, Some(2)).unwrap(), all[..2]);
    }

    #[test]
    fn bad_rows_are_named_by_their_line() {
        let error = |text: &str| read(text, None).unwrap_err();
        assert_eq!(
            error("1\ta\tb\n\n2\ta\n"),
            "data pairs.tsv line 3: expected 3 columns, or 7 and more, separated by tabs, found 2"
        );
        assert_eq!(
            error("score\tone\tother\n1\ta\tb\n"),
            "data pairs.tsv line 1: expected a number as score (there is no header), found `score`"
        );
        assert_eq!(
            error("1\ta\tb\nNaN\ta\tb\n"),
            "data pairs.tsv line 2: expected a number as score (there is no header), found `NaN`"
        );
        assert_eq!(error("1\ta\tb\n2\ta\t \n"), "data pairs.tsv line 2: expected a sentence, found nothing");
        assert_eq!(error("1\ta\tb\n"), "data pairs.tsv: expected at least 2 rows, found 1");
        assert_eq!(error(""), "data pairs.tsv: expected at least 2 rows, found 0");
        assert!(matches!(read_pairs(Path::new("/no/such/file"), None), Err(DataError::Read { .. })));
    }
}
