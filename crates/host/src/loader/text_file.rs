//! The small files of a model's folder, as people really have them.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use webnibble_common::stand_in::StandIn;

use super::error::LoadError;

/// First bytes of a file that are looked at.
const FIRST_BYTES: u64 = 512;

/// The bytes of a file, with its path in the error.
fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError::io(path, error))
}

/// A text file without its byte order mark.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or something else took its place.
pub(super) fn read_text(path: &Path) -> Result<String, LoadError> {
    let bytes = read_file(path)?;
    if let Some(what) = StandIn::of(&bytes) {
        return Err(LoadError::StandIn { path: path.to_owned(), what });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| LoadError::Json { path: path.to_owned(), message: error.to_string() })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The same of a file that need not be there.
pub(super) fn read_text_if_there(path: &Path) -> Result<Option<String>, LoadError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(LoadError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// JSON as Python writes it: `NaN` and `Infinity` are numbers there and words nowhere else. They become strings, so that a
/// field that is read and has one is refused with it.
pub(super) fn parse_json(path: &Path, text: &str) -> Result<Value, LoadError> {
    let parsed = serde_json::from_str(text).or_else(|error| {
        let quoted = quote_numbers_of_python(text);
        if quoted == text { Err(error) } else { serde_json::from_str(&quoted) }
    });
    parsed.map_err(|error| LoadError::Json { path: path.to_owned(), message: error.to_string() })
}

/// Puts `NaN`, `Infinity` and `-Infinity` in quotes, where they are not in a string already.
fn quote_numbers_of_python(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    let mut in_string = false;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| !in_string && rest.starts_with(word));
        let taken = match (word, next) {
            (Some(word), _) => word.len(),
            (None, '\\') if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, '"') => {
                in_string = !in_string;
                1
            }
            _ => next.len_utf8(),
        };
        match word {
            Some(word) => quoted.extend(["\"", word, "\""]),
            None => quoted.push_str(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
    quoted
}

/// Refuses a file of any length that something else took the place of.
pub(crate) fn refuse_stand_in(path: &Path) -> Result<(), LoadError> {
    let mut first = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| LoadError::io(path, error))?;
    file.take(FIRST_BYTES).read_to_end(&mut first).map_err(|error| LoadError::io(path, error))?;
    match StandIn::of(&first) {
        Some(what) => Err(LoadError::StandIn { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::write;
    use super::*;

    #[test]
    fn a_byte_order_mark_is_not_text() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.json", "\u{feff}{}".as_bytes());
        assert_eq!(read_text(&folder.path().join("a.json")).unwrap(), "{}");
        assert_eq!(read_text_if_there(&folder.path().join("b.json")).unwrap(), None);
        write(folder.path(), "a.json", &[0xff, 0xfe]);
        assert!(read_text(&folder.path().join("a.json")).unwrap_err().to_string().contains("utf-8"));
    }

    #[test]
    fn numbers_that_only_python_writes_become_words() {
        let path = Path::new("config.json");
        let json =
            parse_json(path, r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity", "é": 1}"#).unwrap();
        let expected = serde_json::json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" Infinity", "é": 1});
        assert_eq!(json, expected);
        let error = parse_json(path, r#"{"a": nan}"#).unwrap_err().to_string();
        assert!(error.starts_with("config.json: should be JSON: "), "{error}");
        assert!(parse_json(path, r#"{"a": "\"#).is_err());
    }
}
