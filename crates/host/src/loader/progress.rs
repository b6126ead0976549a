//! How far fetching and making are.

/// How far fetching is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is fetched or made.
    pub what: &'a str,
    /// Bytes or weights done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}
