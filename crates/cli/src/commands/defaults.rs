//! What is taken where nothing was typed.

/// Length of the input where none was typed.
pub(super) const DEFAULT_TOKENS: usize = 128;

/// What was typed, or the default.
pub(super) fn typed_or<T: Clone>(typed: &[T], default: &[T]) -> Vec<T> {
    if typed.is_empty() { default.to_vec() } else { typed.to_vec() }
}
