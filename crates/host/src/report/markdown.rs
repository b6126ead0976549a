//! The table as Markdown.

use std::fmt::Write as _;

use webnibble_common::result::RunRecord;

use super::{Row, ms};

/// A heading, the machine, a table of all rows, and below what did not run or ran otherwise than asked, with its reason.
pub fn markdown(title: &str, records: &[RunRecord]) -> String {
    let rows: Vec<Row> = records.iter().map(Row::of).collect();
    let mut text = format!("# {title}\n\n");
    if let Some(run) = records.first().map(|record| &record.run) {
        let cpu = run.host.cpu.as_deref().unwrap_or("processor not told");
        let _ = writeln!(
            text,
            "{} · {cpu}, {} cores, {} · webnibble {}\n",
            run.timestamp, run.host.cores, run.host.os, run.revision
        );
    }
    text.push_str("| browser | platform | engine | model | bits | ran as | load ms | first ms | p50 ms | p90 ms | min ms | runs | weights MB | cosine to f32 |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n");
    let mut notes: Vec<String> = Vec::new();
    for row in &rows {
        let mark = if row.note.is_empty() { String::new() } else { footnote(&mut notes, &row.note) };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {}{mark} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.browser,
            row.platform,
            row.engine,
            row.model,
            row.bits,
            ran_as(row),
            ms(row.load_ms),
            ms(row.first_ms),
            ms(row.p50_ms),
            ms(row.p90_ms),
            ms(row.min_ms),
            row.runs.map_or("–".into(), |runs| runs.to_string()),
            row.weights_bytes.map_or("–".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6)),
            row.cosine.map_or("–".into(), |cosine| format!("{cosine:.4}")),
        );
    }
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {}", index + 1, note.replace('\n', " "));
    }
    text.push_str("\n\nTimes of simulations are those of the CPU that stood in. A dash was not measured.\n");
    text
}

fn ran_as(row: &Row) -> String {
    let kind = row.implementation_type.clone().unwrap_or_else(|| "did not run".into());
    match &row.adapter {
        Some(adapter) => format!("{kind}, {adapter}"),
        None => kind,
    }
}

/// The mark of a note, which is listed once however many rows have it.
fn footnote(notes: &mut Vec<String>, note: &str) -> String {
    let index = notes.iter().position(|known| known == note).unwrap_or_else(|| {
        notes.push(note.to_owned());
        notes.len() - 1
    });
    format!(" [{}]", index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{failed, ran};

    #[test]
    fn every_row_is_there_and_every_reason_once() {
        let text = markdown("Test", &[ran("chrome", 4, 10.25), failed("edge", 4), failed("edge", 8)]);
        assert!(text.starts_with("# Test\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| chrome") || line.starts_with("| edge")).count(), 3);
        assert!(text.contains("| 10.2 |") && text.contains("did not run [1]"), "{text}");
        assert_eq!(text.matches("it was not found").count(), 1, "{text}");
    }
}
