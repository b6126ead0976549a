//! Sessions as a lane sees them, and where they come from.

use webnibble_common::record::RunRecord;

use super::queue::Work;
use crate::error::HostError;

/// Where sessions come from.
pub(super) trait SessionSource: Send + Sync + 'static {
    /// Its sessions.
    type Station: Station;

    /// Opens one more session.
    fn open(&self) -> impl Future<Output = Result<Self::Station, HostError>> + Send;
}

/// A session that runs models.
pub(super) trait Station: Send + Sync + 'static {
    /// Does what is to be done, unless `stop` is done before; a record for each request.
    fn run(&self, work: &Work, stop: impl Future<Output = ()> + Send) -> impl Future<Output = Vec<RunRecord>> + Send;

    /// Waits until the session is over, and says why.
    fn ended(&self) -> impl Future<Output = String> + Send;

    /// Whether the session still answers.
    fn answers(&self) -> impl Future<Output = bool> + Send;

    /// Ends the session.
    fn close(self) -> impl Future<Output = ()> + Send;
}
