//! The only place that writes to stdout.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use webnibble_common::record::ErrorInfo;

/// Prints a line to stdout. A reader that went away (`| head`) is no failure of ours.
pub(crate) fn line(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", text.as_ref());
}

/// Prints a piece of a text as it comes. What would steer the terminal is left out: a model may say anything.
pub(crate) fn piece(text: &str) {
    let shown: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints one JSON document to stdout.
pub(crate) fn json(document: &impl Serialize) {
    line(pretty(document));
}

/// A JSON document to be read by people too.
pub(crate) fn pretty(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document).expect("results are plain data with string keys")
}

/// Says something on stderr.
pub(crate) fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says what failed and what to do about it: on stderr, and under `--json` as the one document on stdout too.
pub(crate) fn failure(info: &ErrorInfo, wants_json: bool) {
    error(info);
    if wants_json {
        json(&failure_document(info));
    }
}

/// The document of a command that has no other.
fn failure_document(info: &ErrorInfo) -> serde_json::Value {
    serde_json::json!({ "status": "error", "error": info })
}

/// Says on stderr what failed, and what to do about it.
pub(crate) fn error(error: &ErrorInfo) {
    let mut text = format!("error: {}", error.message);
    if !error.hint.is_empty() {
        let _ = write!(text, "\nhint: {}", error.hint);
    }
    message(&text);
}

/// A number with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

/// Rows with their columns aligned; numbers to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let right: Vec<bool> = (0..header.len()).map(|column| rows.iter().all(|row| is_number(&row[column]))).collect();
    let format_row = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| match right[column] {
            true => format!("{cell:>width$}", width = widths[column]),
            false => format!("{cell:<width$}", width = widths[column]),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = format_row(header.to_vec());
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
    let body = rows.iter().map(|row| format_row(row.iter().map(String::as_str).collect()));
    [head, rule].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([count(0), count(999), count(1000), count(22_713_216)], ["0", "999", "1,000", "22,713,216"]);
    }

    #[test]
    fn a_failure_is_a_document_with_its_status() {
        let info = ErrorInfo { code: "data".into(), message: "m".into(), hint: "h".into() };
        let expected =
            serde_json::json!({ "status": "error", "error": { "code": "data", "message": "m", "hint": "h" } });
        assert_eq!(failure_document(&info), expected);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["webgpu".to_owned(), "1.5".to_owned()], vec!["a".to_owned(), "12.25".to_owned()]];
        let expected = "what       ms\n------  -----\nwebgpu    1.5\na       12.25";
        assert_eq!(table(&["what", "ms"], &rows), expected);
    }
}
