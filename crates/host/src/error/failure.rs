//! What every module's own errors have in common.

use std::error::Error;
use std::fmt;

/// A failure of one of the host's modules, which knows what it is called and what to do about it.
pub trait Failure: Error + Send + Sync + 'static {
    /// The kind of failure, for programs.
    fn code(&self) -> String;

    /// What to do about it; empty where nothing can be said.
    fn hint(&self) -> String;
}

/// Some module's failure. Its words are that failure's.
#[derive(Debug)]
pub struct AnyFailure(Box<dyn Failure>);

impl AnyFailure {
    pub(super) fn new(failure: impl Failure) -> Self {
        Self(Box::new(failure))
    }

    /// The failure, where it is one of this type.
    pub fn downcast_ref<T: Failure>(&self) -> Option<&T> {
        let error: &(dyn Error + 'static) = &*self.0;
        error.downcast_ref()
    }

    pub(super) fn code(&self) -> String {
        self.0.code()
    }

    pub(super) fn hint(&self) -> String {
        self.0.hint()
    }
}

impl fmt::Display for AnyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for AnyFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
