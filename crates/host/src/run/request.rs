//! What to run, and who hears how far it is.

use std::sync::Arc;

pub use webnibble_common::io::Input;
use webnibble_common::options::Options;
use webnibble_common::wire::Stage;

/// What to run.
#[derive(Clone)]
pub struct RunRequest {
    /// A name, folder or package, as [`find`](crate::loader::find) takes it.
    pub model: String,
    /// What the caller chose.
    pub options: Options,
    /// What to run the model on.
    pub input: Input,
    /// The model's outputs that are read, by name; where none is named, what its answer is made of.
    pub outputs: Vec<String>,
    /// Passes the browser's output and its console on to the log.
    pub verbose: bool,
    /// Revision of this build, for the record; empty where it is not known.
    pub revision: String,
    /// Hears how far the run is, from any thread.
    pub progress: Option<RunProgressSink>,
}

/// Hears how far a run is.
pub type RunProgressSink = Arc<dyn Fn(RunProgress<'_>) + Send + Sync>;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunProgress<'a> {
    /// A step on this machine, in bytes or weights; a total of 0 is unknown.
    Host {
        /// What is being done.
        what: &'a str,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// A step in the page.
    Page {
        /// What is being done.
        stage: Stage,
        /// Done so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
}

/// Tells who asked what is being done on this machine.
pub(super) fn tell(request: &RunRequest, what: &str, done: u64, total: u64) {
    if let Some(progress) = &request.progress {
        progress(RunProgress::Host { what, done, total });
    }
}
