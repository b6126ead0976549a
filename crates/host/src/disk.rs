//! Files: written whole, named by their content, and the folder of what webnibble fetched and made.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// The cache of this process alone.
static OWN_CACHE: OnceLock<PathBuf> = OnceLock::new();

/// Writes a file in one step: what `write` gives appears under its name when all of it is on the disk. Who reads at the
/// same time never sees half of it, nor does who comes after a power cut. When writing fails, what was there before stays,
/// and nothing else does.
///
/// # Errors
/// Those of `write`, and when the folder cannot be made or written to.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".webnibble-").tempfile_in(folder)?;
    write(file.as_file_mut())?;
    make_readable(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    if let Err(error) = sync_folder(folder) {
        // The file is there; not every file system can say that its name is, too.
        tracing::debug!("{} cannot be synced: {error}", folder.display());
    }
    Ok(())
}

/// Names the content of a file.
pub(crate) fn digest_of(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()[..16]))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

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

/// Temporary files are their owner's alone; this one is a file like any other.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere folders cannot be opened.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/file");
        write_whole(&path, |file| file.write_all(b"old")).unwrap();
        let full = write_whole(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_whole(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
    }
}
