//! What to do about failures that several modules have.

use std::io;

use webnibble_common::profiles::OptionsError;

/// What to do about a file that the system keeps back.
pub(crate) fn io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path: it is taken from the folder in which webnibble runs",
        io::ErrorKind::PermissionDenied => "see that this user may read and write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space there, or choose another folder",
        io::ErrorKind::IsADirectory => "give a file, not a folder",
        _ => "see that the disk has space and that this user may read and write there",
    }
}

/// What to do about options that do not go together.
pub(super) fn options(error: &OptionsError) -> &'static str {
    match error {
        OptionsError::Conflict { .. } => "leave one of them out; docs/profiles.md says what each does",
        OptionsError::NotOffered { .. } => "leave the option out",
        OptionsError::NotKept { .. } => "ask for another value, or leave `--no-fallback` out",
        _ => "docs/profiles.md has every option with what it may be",
    }
}
