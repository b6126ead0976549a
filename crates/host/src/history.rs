//! Stored results: every row of every benchmark, in one SQLite file of the user's.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde::Serialize;
use webnibble_common::record::{RunInfo, RunRecord};

use crate::report::machine;

/// Version of the tables; raised when they change.
const TABLES_VERSION: i64 = 1;

/// The columns beside the record itself are there to be searched.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    timestamp TEXT NOT NULL,
    label TEXT NOT NULL,
    revision TEXT NOT NULL,
    machine TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    timestamp TEXT NOT NULL,
    status TEXT NOT NULL,
    model TEXT,
    browser TEXT,
    browser_version TEXT,
    adapter TEXT,
    platform TEXT NOT NULL,
    engine TEXT NOT NULL,
    implementation_type TEXT,
    bits INTEGER,
    p50_ms REAL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS rows_of_batch ON rows (batch);
";

/// The file of results.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
}

/// Rows that were measured together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// Its number, counted up.
    pub id: i64,
    /// When it began: RFC 3339, UTC.
    pub timestamp: String,
    /// What it was for.
    pub label: String,
    /// Build that measured.
    pub revision: String,
    /// Processor and system.
    pub machine: String,
    /// Number of rows.
    pub rows: usize,
}

/// What can go wrong with stored results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The file cannot be opened, read or written.
    #[error("results in {}: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The folder of the file cannot be made.
    #[error("results in {}: {source} (WEBNIBBLE_HISTORY names another file for them)", .path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is of a newer version.
    #[error("results in {}: expected tables of version {TABLES_VERSION}, found {found}; use the webnibble that wrote them", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A stored record is none.
    #[error("results in {}: row {row} of batch {batch} cannot be read: {source}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The batch.
        batch: i64,
        /// The row.
        row: i64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no such batch.
    #[error("results in {}: there is no batch {batch}; there are {known}", .path.display())]
    NoBatch {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        batch: i64,
        /// Numbers that there are.
        known: String,
    },
}

impl History {
    /// `$WEBNIBBLE_HISTORY`, or `history.sqlite` where programs keep their data.
    pub fn default_path() -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = || set("XDG_DATA_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
        set("WEBNIBBLE_HISTORY")
            .unwrap_or_else(|| data().unwrap_or_else(std::env::temp_dir).join("webnibble/history.sqlite"))
    }

    /// Opens a file of results, or makes it.
    ///
    /// # Errors
    /// When it cannot be written, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| HistoryError::Folder { path: path.into(), source })?;
        }
        let failed = |source| HistoryError::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        // Two runs may write at the same time: one waits for the other.
        connection.busy_timeout(std::time::Duration::from_secs(20)).map_err(failed)?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if found > TABLES_VERSION {
            return Err(HistoryError::Version { path: path.into(), found });
        }
        connection.execute_batch("PRAGMA foreign_keys = ON;").map_err(failed)?;
        connection.execute_batch(TABLES).map_err(failed)?;
        connection.pragma_update(None, "user_version", TABLES_VERSION).map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Begins a batch, and gives its number. `run` says when, where and with which build.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(&mut self, label: &str, run: &RunInfo) -> Result<i64, HistoryError> {
        let values = params![run.timestamp, label, run.revision, machine(&run.host)];
        let query = "INSERT INTO batches (timestamp, label, revision, machine) VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(query, values).map_err(|source| self.failed(source))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Stores a row of a batch. What a model answered is not stored: it may be large, and is not what is compared.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, batch: i64, record: &RunRecord) -> Result<(), HistoryError> {
        insert(&self.connection, batch, record).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> HistoryError {
        HistoryError::Database { path: self.path.clone(), source }
    }

    /// Every batch, newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn batches(&self) -> Result<Vec<Batch>, HistoryError> {
        let query = "SELECT id, timestamp, label, revision, machine,
            (SELECT count(*) FROM rows WHERE rows.batch = batches.id) FROM batches ORDER BY id DESC";
        let failed = |source| HistoryError::Database { path: self.path.clone(), source };
        let mut statement = self.connection.prepare(query).map_err(failed)?;
        let batch = |row: &rusqlite::Row<'_>| {
            Ok(Batch {
                id: row.get(0)?,
                timestamp: row.get(1)?,
                label: row.get(2)?,
                revision: row.get(3)?,
                machine: row.get(4)?,
                rows: row.get::<_, i64>(5)?.unsigned_abs() as usize,
            })
        };
        statement.query_map([], batch).and_then(Iterator::collect).map_err(failed)
    }

    /// The rows of a batch, in the order in which they were measured.
    ///
    /// # Errors
    /// When there is no such batch, or a row cannot be read.
    pub fn records(&self, batch: i64) -> Result<Vec<RunRecord>, HistoryError> {
        let path = || self.path.clone();
        let failed = |source| HistoryError::Database { path: path(), source };
        let known = self.batches()?;
        if !known.iter().any(|one| one.id == batch) {
            let known: Vec<_> = known.iter().map(|batch| batch.id.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(HistoryError::NoBatch { path: path(), batch, known });
        }
        let mut statement =
            self.connection.prepare("SELECT id, record FROM rows WHERE batch = ?1 ORDER BY id").map_err(failed)?;
        let rows = statement.query_map([batch], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.map(|row| {
            let (row, text): (i64, String) = row.map_err(failed)?;
            serde_json::from_str(&text).map_err(|source| HistoryError::Record { path: path(), batch, row, source })
        })
        .collect()
    }
}

fn insert(connection: &Connection, batch: i64, record: &RunRecord) -> rusqlite::Result<()> {
    let times = record.performance_metrics.inference_time_ms.or(record.performance_metrics.cpu_time_ms);
    let adapter = record.adapter.as_ref().map(|adapter| format!("{} {}", adapter.vendor, adapter.architecture));
    let stored = RunRecord { output: None, ..record.clone() };
    let status = if record.error.is_some() { "error" } else { "ok" };
    connection.execute(
        "INSERT INTO rows (batch, timestamp, status, model, browser, browser_version, adapter, platform, engine,
            implementation_type, bits, p50_ms, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            batch,
            record.run.timestamp,
            status,
            record.model.as_ref().map(|model| &model.name),
            record.browser.as_ref().map(|browser| &browser.name),
            record.browser.as_ref().map(|browser| &browser.version),
            adapter,
            record.platform.name(),
            record.engine.name(),
            record.implementation_type.map(|kind| kind.to_string()),
            record.performance_metrics.quantization_bits.map(u8::from),
            times.map(|times| times.p50),
            serde_json::to_string(&stored).expect("records are plain data with string keys"),
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{failed, ran};

    #[test]
    fn rows_come_back_as_they_were_but_for_their_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/history.sqlite");
        let records = [ran("chrome", 4, 10.0), failed("edge", 4)];
        let mut history = History::open(&path).unwrap();
        let first = history.begin("guide", &records[0].run).unwrap();
        let second = history.begin("again", &records[0].run).unwrap();
        for (batch, record) in [(first, &records[0]), (second, &records[0]), (first, &records[1])] {
            history.add(batch, record).unwrap();
        }
        assert!(history.add(7, &records[0]).is_err(), "a row without a batch");
        drop(history);
        let history = History::open(&path).unwrap();
        assert_eq!(history.records(first).unwrap(), records);
        let batches = history.batches().unwrap();
        assert_eq!(batches.iter().map(|batch| (batch.id, batch.rows)).collect::<Vec<_>>(), [(second, 1), (first, 2)]);
        assert_eq!(batches[1].label, "guide");
    }

    #[test]
    fn what_is_not_there_or_too_new_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.sqlite");
        let mut history = History::open(&path).unwrap();
        assert!(history.records(7).unwrap_err().to_string().contains("there are none"));
        history.begin("x", &ran("chrome", 4, 1.0).run).unwrap();
        assert!(history.records(7).unwrap_err().to_string().contains("there are 1"));
        history.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(history);
        assert!(matches!(History::open(&path), Err(HistoryError::Version { found: 99, .. })));
        std::fs::write(&path, "no database").unwrap();
        assert!(matches!(History::open(&path), Err(HistoryError::Database { .. })));
    }
}
