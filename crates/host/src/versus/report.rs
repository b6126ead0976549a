//! Comparisons, and how they are shown: Markdown for people, JSON for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::answers::cosine;
use super::contestants::Contestant;
use super::results::{Comparison, Versus, VersusRow, VersusSession};
use crate::error::HostError;
use crate::ratio::Ratio;

/// Every one of ours against theirs with the same weights, and against their best.
pub(super) fn comparisons(contestants: &[Contestant]) -> Vec<Comparison> {
    let ran = |contestant: &&Contestant| contestant.row.error.is_none() && contestant.row.times_ms.is_some();
    let (ours, theirs): (Vec<_>, Vec<_>) = contestants.iter().filter(ran).partition(|one| one.is_ours());
    let p50 = |one: &Contestant| one.row.times_ms.map_or(f64::INFINITY, |times| times.p50);
    let best = theirs.iter().min_by(|a, b| p50(a).total_cmp(&p50(b))).copied();
    let compare = |kind: &str, our: &Contestant, their: &Contestant| {
        Some(Comparison {
            ours: our.row.form.clone(),
            theirs: their.row.form.clone(),
            kind: kind.into(),
            ratio: Ratio::of(&our.row.run_ms, &their.row.run_ms)?,
            cosine: cosine(our.answer.as_deref(), their.answer.as_deref()),
        })
    };
    let mut found = Vec::new();
    for our in ours {
        let same = theirs.iter().filter(|their| their.package.header.digest == our.package.header.digest);
        found.extend(same.filter_map(|their| compare("same weights", our, their)));
        found.extend(best.and_then(|best| compare("their best", our, best)));
    }
    found
}

/// Column names of [`table`].
const HEADER: [&str; 9] = ["engine", "form", "ran as", "p50 ms", "p90", "min", "runs", "first ms", "cosine to f32"];

/// A session's rows, as cells under their names.
pub fn table(session: &VersusSession) -> (Vec<&'static str>, Vec<Vec<String>>) {
    (HEADER.to_vec(), session.rows.iter().map(cells).collect())
}

/// Who did not run, and why.
pub fn failures(session: &VersusSession) -> Vec<(String, String)> {
    let failed = session.rows.iter().filter_map(|row| Some((row, row.error.as_ref()?)));
    failed.map(|(row, error)| (format!("{} {}", row.engine, row.form), first_line(error))).collect()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn cells(row: &VersusRow) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    let times = row.times_ms;
    let kind = match (&row.error, &row.implementation_type) {
        (Some(_), _) => "does not run".into(),
        (None, Some(kind)) => kind.clone(),
        (None, None) => "–".into(),
    };
    vec![
        row.engine.clone(),
        row.form.clone(),
        kind,
        number(times.map(|times| times.p50), 2),
        number(times.map(|times| times.p90), 2),
        number(times.map(|times| times.min), 2),
        times.map_or("–".into(), |times| times.runs.to_string()),
        number(row.first_ms, 1),
        number(row.cosine_f32, 5),
    ]
}

/// Everything as Markdown.
pub fn markdown(versus: &Versus) -> String {
    let run = &versus.run;
    let cpu = run.host.cpu.as_deref().unwrap_or("unknown processor");
    let mut text = format!(
        "# webnibble and onnxruntime-web\n\n{}, {} tokens, batch 1. {}, {} ({}, {} cores), webnibble {}.\n\nMilliseconds \
         from ids to the answer read back; tokenizing is left out on both sides. Contestants of a section ran in one page, \
         turn by turn. A ratio is our median by theirs, with the 95 % interval of a bootstrap.\n",
        versus.model, versus.tokens, run.timestamp, run.host.os, cpu, run.host.cores, run.revision
    );
    for session in &versus.sessions {
        section(&mut text, session);
    }
    text
}

fn section(text: &mut String, session: &VersusSession) {
    let threads = session.threads.map(|count| format!(", {count} threads asked for")).unwrap_or_default();
    let browser = session.browser.as_ref().map(|found| format!(": {} {}", found.name, found.version));
    let _ = writeln!(text, "\n## {}{threads}{}\n", session.platform, browser.unwrap_or_default());
    if let Some(error) = &session.error {
        let _ = writeln!(text, "Nothing ran: {error}");
        return;
    }
    let (header, rows) = table(session);
    markdown_table(text, &header, &rows);
    for (label, error) in failures(session) {
        let _ = writeln!(text, "\n{label} does not run: {error}");
    }
    let versions = session.rows.iter().find_map(|row| row.details.get("onnxruntime-web"));
    if let Some(version) = versions {
        let _ = writeln!(text, "\nonnxruntime-web {version}.");
    }
    if session.comparisons.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = session.comparisons.iter().map(comparison_cells).collect();
    text.push('\n');
    markdown_table(text, &COMPARISON_HEADER, &rows);
}

/// Column names of [`comparison_cells`].
pub const COMPARISON_HEADER: [&str; 6] = ["ours", "theirs", "kind", "ratio", "95 %", "cosine"];

/// A comparison as cells.
pub fn comparison_cells(comparison: &Comparison) -> Vec<String> {
    let Comparison { ours, theirs, kind, ratio, cosine } = comparison;
    vec![
        ours.clone(),
        theirs.clone(),
        kind.clone(),
        format!("{:.3}", ratio.of_medians),
        format!("{:.3} … {:.3}", ratio.low, ratio.high),
        cosine.map_or("–".into(), |cosine| format!("{cosine:.5}")),
    ]
}

fn markdown_table(text: &mut String, header: &[&str], rows: &[Vec<String>]) {
    let _ = writeln!(text, "| {} |", header.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(header.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

const MARKDOWN: &str = "versus.md";
const RESULTS: &str = "versus.json";

/// The files that [`write`] makes in a folder.
pub fn outputs(folder: &Path) -> [PathBuf; 2] {
    [MARKDOWN, RESULTS].map(|name| folder.join(name))
}

/// Writes `versus.md` and `versus.json` into a folder.
///
/// # Errors
/// When they cannot be written.
pub fn write(versus: &Versus, folder: &Path) -> Result<Vec<PathBuf>, HostError> {
    let json = serde_json::to_string_pretty(versus).expect("results are plain data with string keys");
    std::fs::create_dir_all(folder).map_err(HostError::io(format!("making {}", folder.display())))?;
    let mut written = Vec::new();
    for (name, content) in [(MARKDOWN, markdown(versus)), (RESULTS, json)] {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(HostError::io(format!("writing {}", path.display())))?;
        written.push(path);
    }
    Ok(written)
}
