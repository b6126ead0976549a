//! The folder of what webnibble fetched and made.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The cache of this process alone.
static OWN_CACHE: OnceLock<PathBuf> = OnceLock::new();

/// Keeps what is fetched and made in `folder` for the rest of this process, and not in the user's cache. Only the first
/// call counts: `false` where there was one before.
pub fn use_cache(folder: PathBuf) -> bool {
    OWN_CACHE.set(folder).is_ok()
}

/// Where webnibble keeps what it fetched and made: what [`use_cache`] named, else `$XDG_CACHE_HOME/webnibble`, else
/// `~/.cache/webnibble`.
pub(crate) fn cache_dir() -> PathBuf {
    if let Some(folder) = OWN_CACHE.get() {
        return folder.clone();
    }
    let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = xdg.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("webnibble")
}
