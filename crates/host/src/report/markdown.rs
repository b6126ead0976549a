//! The tables as Markdown.

use std::fmt::Write as _;

use webnibble_common::record::RunRecord;

use super::{ReportRow, about, ms};

/// A column: its head, whether it holds figures, and what a row has in it.
type Column<'a> = (&'a str, bool, Box<dyn Fn(&ReportRow) -> String + 'a>);

/// A heading, the machine, a table of all rows, and below what did not run or ran otherwise than asked, with its reason.
/// Where inputs of several sizes or several engines were measured, a table of each.
pub fn markdown(title: &str, records: &[RunRecord]) -> String {
    let rows: Vec<ReportRow> = records.iter().map(ReportRow::of).collect();
    let mut text = format!("# {title}\n\n");
    if let Some(run) = records.first().map(|record| &record.run) {
        let _ = writeln!(text, "{}\n", about(run));
    }
    let notes = notes_of(&rows);
    let all = all_rows(&rows, &notes);
    text += &all;
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n{}. {}", index + 1, note.replace('\n', " "));
    }
    text += &legend(&rows, &all);
    text += &growth(&rows);
    text += &engines(&rows);
    text
}

/// What must be known to read the table, and nothing of what is not in it.
fn legend(rows: &[ReportRow], table: &str) -> String {
    let is_simulation =
        |row: &ReportRow| row.implementation_type.as_ref().is_some_and(|kind| kind.starts_with("SIMULATED"));
    let parts = [
        (rows.iter().any(is_simulation), "Times of simulations are those of the CPU that stood in."),
        (table.contains(" – "), "A dash was not measured."),
    ];
    let said: Vec<&str> = parts.iter().filter(|(is_there, _)| *is_there).map(|(_, words)| *words).collect();
    if said.is_empty() { "\n".into() } else { format!("\n\n{}\n", said.join(" ")) }
}

fn all_rows(rows: &[ReportRow], notes: &[&String]) -> String {
    let mut columns = vec![
        text("browser", |row| row.browser.clone()),
        text("platform", |row| row.platform.clone()),
        text("engine", |row| row.engine.clone()),
        text("model", |row| row.model.clone()),
        text("bits", bits_in_words),
        text("format", |row| or_dash(&row.format)),
        text("ran as", |row| format!("{}{}", ran_as(row), note_numbers(notes, row))),
        figure("batch", |row| count(row.batch)),
        figure("tokens", |row| count(row.sequence_length)),
        figure("start ms", |row| ms(row.start_ms)),
    ];
    columns.extend(times());
    columns.extend([
        figure("weights MB", |row| megabytes(row.weights_bytes)),
        figure("GPU MB", |row| megabytes(row.gpu_peak_bytes)),
        figure("wasm MB", |row| megabytes(row.wasm_heap_bytes)),
        figure("browser RSS MB", |row| megabytes(row.browser_rss_bytes)),
        figure("browser PSS MB", |row| megabytes(row.browser_pss_bytes)),
        figure("cosine to f32", |row| row.cosine.map_or("–".into(), |cosine| format!("{cosine:.4}"))),
    ]);
    table(rows, columns)
}

/// Load, first and later times.
fn times<'a>() -> [Column<'a>; 7] {
    [
        figure("load ms", |row| ms(row.load_ms)),
        figure("first ms", |row| ms(row.first_ms)),
        figure("p50 ms", |row| ms(row.p50_ms)),
        figure("p90 ms", |row| ms(row.p90_ms)),
        figure("min ms", |row| ms(row.min_ms)),
        figure("runs", |row| count(row.runs)),
        figure("GPU ms", |row| ms(row.gpu_ms)),
    ]
}

/// What of the same was measured at several sizes.
fn growth(rows: &[ReportRow]) -> String {
    let what = |row: &ReportRow| (row.series(), row.model.clone(), bits_in_words(row), row.format.clone());
    let mut grown: Vec<ReportRow> = rows
        .iter()
        .filter(|row| row.is_real() && rows.iter().filter(|one| one.is_real() && what(one) == what(row)).count() > 1)
        .cloned()
        .collect();
    if grown.is_empty() {
        return String::new();
    }
    grown.sort_by_key(|row| (what(row), row.batch, row.sequence_length));
    let items = |row: &ReportRow| row.p50_ms.zip(row.batch).map(|(ms, batch)| ms / batch.max(1) as f64);
    let columns = vec![
        text("browser and platform", ReportRow::series),
        text("model", |row| row.model.clone()),
        text("bits", bits_in_words),
        text("format", |row| or_dash(&row.format)),
        figure("batch", |row| count(row.batch)),
        figure("tokens", |row| count(row.sequence_length)),
        figure("p50 ms", |row| ms(row.p50_ms)),
        figure("ms an item", move |row| ms(items(row))),
        figure("µs a token", move |row| {
            ms(items(row).zip(row.sequence_length).map(|(ms, tokens)| ms * 1e3 / tokens.max(1) as f64))
        }),
    ];
    format!("\n## Cost as length and batch grow\n\n{}", table(&grown, columns))
}

/// What engines gave beside each other.
fn engines(rows: &[ReportRow]) -> String {
    let compared: Vec<ReportRow> = rows.iter().filter(|row| row.ratio.is_some()).cloned().collect();
    if compared.is_empty() {
        return String::new();
    }
    let columns = vec![
        text("browser and platform", ReportRow::series),
        text("model", |row| row.model.clone()),
        text("bits", bits_in_words),
        text("format", |row| or_dash(&row.format)),
        figure("batch", |row| count(row.batch)),
        figure("tokens", |row| count(row.sequence_length)),
        figure("p50 ms", |row| ms(row.p50_ms)),
        text("beside", |row| row.ratio.map_or(String::new(), |ratio| ratio.to.to_string())),
        figure("ratio", |row| row.ratio.map_or("–".into(), |ratio| format!("{:.2}", ratio.of_medians))),
        figure("95 %", |row| row.ratio.map_or("–".into(), |ratio| format!("{:.2}–{:.2}", ratio.low, ratio.high))),
        text("measured", |row| {
            let in_turn = row.ratio.is_some_and(|ratio| ratio.interleaved);
            if in_turn { "turn by turn".into() } else { "one after the other: both do not fit".into() }
        }),
    ];
    let words = "A ratio is the median by that of the other engine, below 1 the faster; its interval is a bootstrap's.";
    format!("\n## Engines beside each other\n\n{words}\n\n{}", table(&compared, columns))
}

fn text<'a>(head: &'a str, of: impl Fn(&ReportRow) -> String + 'a) -> Column<'a> {
    (head, false, Box::new(of))
}

fn figure<'a>(head: &'a str, of: impl Fn(&ReportRow) -> String + 'a) -> Column<'a> {
    (head, true, Box::new(of))
}

/// A table without the columns that nothing was measured for.
fn table(rows: &[ReportRow], mut columns: Vec<Column<'_>>) -> String {
    columns.retain(|(.., of)| rows.iter().any(|row| of(row) != "–"));
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut found = line(columns.iter().map(|(head, ..)| (*head).to_owned()).collect());
    found += &line(columns.iter().map(|(_, right, _)| if *right { "--:" } else { "---" }.to_owned()).collect());
    for row in rows {
        found += &line(columns.iter().map(|(.., of)| of(row)).collect());
    }
    found
}

fn bits_in_words(row: &ReportRow) -> String {
    match &row.asked_bits {
        Some(asked) => format!("{} (asked {asked})", row.bits),
        None => row.bits.clone(),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "–".into() } else { text.into() }
}

fn count(number: Option<usize>) -> String {
    number.map_or("–".into(), |number| number.to_string())
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or("–".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6))
}

fn ran_as(row: &ReportRow) -> String {
    let kind = row.implementation_type.clone().unwrap_or_else(|| "did not run".into());
    match &row.adapter {
        Some(adapter) => format!("{kind}, {adapter}"),
        None => kind,
    }
}

/// The notes of all rows, each once however many rows have it.
fn notes_of(rows: &[ReportRow]) -> Vec<&String> {
    let mut notes: Vec<&String> = Vec::new();
    for note in rows.iter().flat_map(|row| &row.notes) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// The numbers of a row's notes.
fn note_numbers(notes: &[&String], row: &ReportRow) -> String {
    let number = |note: &String| notes.iter().position(|known| *known == note).map(|index| (index + 1).to_string());
    let numbers: Vec<String> = row.notes.iter().filter_map(number).collect();
    if numbers.is_empty() { String::new() } else { format!(" [{}]", numbers.join(", ")) }
}

#[cfg(test)]
mod tests {
    use webnibble_common::options::Engine;
    use webnibble_common::record::EngineRatio;

    use super::*;
    use crate::report::testing::{failed, ran};

    #[test]
    fn every_row_is_there_and_every_reason_once() {
        let text = markdown("Test", &[ran("chrome", 4, 10.25), failed("edge", 4), failed("edge", 8)]);
        assert!(text.starts_with("# Test\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| chrome") || line.starts_with("| edge")).count(), 3);
        assert!(text.contains("| 10.2 |") && text.contains("did not run [1]"), "{text}");
        assert_eq!(text.matches("it was not found").count(), 1, "{text}");
        assert!(!text.contains("Cost as") && !text.contains("Engines beside"), "{text}");
    }

    #[test]
    fn the_legend_is_of_rows_that_are_there() {
        let mut whole = ran("chrome", 4, 10.0);
        // Nothing that is not measured.
        let metrics = &mut whole.performance_metrics;
        metrics.gpu_time_ms = metrics.inference_time_ms;
        let text = |records: &[RunRecord]| markdown("Test", records);
        let clean = text(std::slice::from_ref(&whole));
        assert!(!clean.contains("simulations"), "{clean}");
        assert_eq!(clean.contains("A dash"), clean.contains(" – "), "{clean}");
        assert!(text(&[whole.clone(), failed("edge", 4)]).contains("A dash was not measured."));
        let mut simulated = whole.clone();
        simulated.implementation_type = Some(webnibble_common::record::ImplementationType::SimulatedWebgpu);
        assert!(text(&[whole, simulated]).contains("Times of simulations"));
    }

    #[test]
    fn sizes_and_engines_have_tables_of_their_own() {
        let (short, mut long, mut other) = (ran("chrome", 4, 10.0), ran("chrome", 4, 36.0), ran("chrome", 8, 20.0));
        let input = long.input.as_mut().unwrap();
        (input.batch, input.sequence_length) = (4, Some(9));
        let ratio = EngineRatio { to: Engine::Native, of_medians: 2.0, low: 1.5, high: 2.5, interleaved: true };
        other.performance_metrics.engine_ratio = Some(ratio);
        let text = markdown("Test", &[short, long, other]);
        let (growth, engines) = text.split_once("## Engines beside each other").unwrap();
        let growth = growth.split("## Cost as length and batch grow").nth(1).unwrap();
        assert_eq!(growth.matches("| chrome").count(), 2, "{growth}");
        assert!(growth.contains("| 36.0 | 9.00 | 1000 |"), "{growth}");
        assert!(engines.contains("| native | 2.00 | 1.50–2.50 | turn by turn |"), "{engines}");
    }
}
