//! `webnibble report`: stored results for people, and what moved between two of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use webnibble_common::record::{ErrorInfo, RunRecord};
use webnibble_host::assets::Assets;
use webnibble_host::history::{Batch, History};
use webnibble_host::output::{OutputError, check_outputs};
use webnibble_host::report::{compare, comparison_table, html, markdown, title_of};

use super::failed;
use crate::args::ReportArgs;
use crate::print;

/// Lists, renders or compares.
pub(crate) fn run(args: &ReportArgs, json: bool) -> ExitCode {
    if let Err(error) = check(args) {
        return failed(&error.into(), json);
    }
    match report(args, json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::failure(&told(&error), json);
            ExitCode::FAILURE
        }
    }
}

/// Refuses to write over the results that are read.
fn check(args: &ReportArgs) -> Result<(), OutputError> {
    let Some(folder) = &args.out else { return Ok(()) };
    let read = args.source.as_deref().map(file_of);
    check_outputs(&outputs(folder), &read.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

fn report(args: &ReportArgs, json: bool) -> anyhow::Result<()> {
    if let [before, after] = args.compare.as_slice() {
        let changes = compare(&records(before)?.1, &records(after)?.1);
        if json {
            print::json(&changes);
        } else {
            print::line(comparison_table(&changes));
        }
        return Ok(());
    }
    let Some(source) = newest_or_named(args)? else {
        let batches = History::open(&History::default_path())?.batches()?;
        if json {
            print::json(&batches);
        } else {
            print_batches(&batches);
        }
        return Ok(());
    };
    let (title, records) = records(&source)?;
    match &args.out {
        Some(folder) => write(folder, &title, &records)?,
        None if json => {}
        None => print::line(markdown(&title, &records)),
    }
    if json {
        print::json(&records);
    }
    Ok(())
}

/// What failed, for the document.
pub(super) fn told(error: &anyhow::Error) -> ErrorInfo {
    let hint = "`webnibble report --list` shows the batches that are stored; a folder or file is one of `bench --out`";
    ErrorInfo { code: "report".into(), message: format!("{error:#}"), hint: hint.into() }
}

/// What is to be rendered; `None` where batches are to be listed.
fn newest_or_named(args: &ReportArgs) -> anyhow::Result<Option<String>> {
    if args.list {
        return Ok(None);
    }
    if let Some(source) = &args.source {
        return Ok(Some(source.clone()));
    }
    let newest = History::open(&History::default_path())?.batches()?.first().map(|batch| batch.id.to_string());
    newest.map(Some).context("there are no stored results yet: `webnibble bench` makes some")
}

/// A file's rows, or its one record.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Stored {
    Rows(Vec<RunRecord>),
    Record(Box<RunRecord>),
}

/// The rows of a batch by its number, or of a file that `bench --out` or `run --json` wrote.
fn records(source: &str) -> anyhow::Result<(String, Vec<RunRecord>)> {
    if let Ok(batch) = source.parse::<i64>() {
        let history = History::open(&History::default_path())?;
        let records = history.records(batch)?;
        let label = history.batches()?.into_iter().find(|one| one.id == batch).map(|one| one.label);
        return Ok((label.unwrap_or_default(), records));
    }
    let file = file_of(source);
    let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let stored: Stored = serde_json::from_slice(&text).with_context(|| {
        format!("{}: expected the rows that `bench --out` writes, or the record of `run --json`", file.display())
    })?;
    let records = match stored {
        Stored::Rows(records) => records,
        Stored::Record(record) => vec![*record],
    };
    let title = title_of(&records);
    Ok((title, records))
}

/// The file of results by its own name or its folder's.
fn file_of(source: &str) -> PathBuf {
    let path = Path::new(source);
    if path.is_dir() { path.join(RESULTS) } else { path.to_owned() }
}

fn print_batches(batches: &[Batch]) {
    let row = |batch: &Batch| {
        vec![
            batch.id.to_string(),
            batch.timestamp.clone(),
            batch.rows.to_string(),
            batch.label.clone(),
            batch.revision.clone(),
            batch.machine.clone(),
        ]
    };
    let rows: Vec<_> = batches.iter().map(row).collect();
    print::line(print::table(&["batch", "when", "rows", "what", "revision", "machine"], &rows));
}

const RESULTS: &str = "results.json";
const MARKDOWN: &str = "report.md";
const PAGE: &str = "report.html";

/// The files that [`write`] makes in a folder.
pub(super) fn outputs(folder: &Path) -> Vec<PathBuf> {
    [RESULTS, MARKDOWN, PAGE].map(|name| folder.join(name)).into()
}

/// Writes rows as JSON, Markdown and one HTML page, and names the files on stderr.
pub(crate) fn write(folder: &Path, title: &str, records: &[RunRecord]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let write = |name: &str, content: String| {
        let path: PathBuf = folder.join(name);
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
        print::message(&path.display().to_string());
        anyhow::Ok(())
    };
    // What needs nothing else first.
    write(RESULTS, print::pretty(&records))?;
    write(MARKDOWN, markdown(title, records))?;
    let library = Assets::find()?.chart_library();
    let library = library.context("report.html: the library that draws charts is missing: run `make setup`")?;
    write(PAGE, html(title, records, &library))
}
