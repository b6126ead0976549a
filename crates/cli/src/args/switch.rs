//! Flags that have a `--no-` form.

/// A flag and its `--no-` form: what was typed, if anything.
pub(super) fn switch(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}
