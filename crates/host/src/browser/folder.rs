//! The folder of one browser's files: its profile, its temporary files, its sockets. It goes away with its browser.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::BrowserError;
use crate::error::HostError;

/// Where in its folder the browser puts temporary files.
pub(super) const TEMPORARY: &str = "tmp";

/// What its name begins with: by it the processes of our browsers are known.
const PREFIX: &str = "webnibble-browser-";

/// Letters that are added to make a name that nobody has.
const RANDOM: usize = 6;

/// Longest path of a Unix socket: `sun_path`, without the zero that ends it.
const SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The socket with the longest path below the temporary folder of a browser: by it a second Chromium finds the first.
const SOCKET: &str = "org.chromium.Chromium.XXXXXX/SingletonSocket";

/// The longest folder in which a browser's folder may lie.
pub(super) const LONGEST: usize = SOCKET_PATH - (1 + PREFIX.len() + RANDOM + 1 + TEMPORARY.len() + 1 + SOCKET.len());

/// Bytes that must fit: with less, Firefox 153 starts and dies; Chromium 156 needs 1 MB.
const NEEDED_BYTES: usize = 4 << 20;

/// Makes a folder for the files of a browser, with one for its temporary files in it: where programs put theirs, or in
/// another place of this machine where that is too long for sockets.
///
/// # Errors
/// [`BrowserError::Folder`] with each place that was tried, and what is wrong with it.
pub(super) fn make() -> Result<TempDir, HostError> {
    make_in(&std::env::temp_dir(), &short_places())
}

fn make_in(temporary: &Path, others: &[PathBuf]) -> Result<TempDir, HostError> {
    let mut tried = Vec::new();
    if fits(temporary) {
        return usable(temporary).map_err(|reason| {
            tried.push((temporary.to_owned(), reason));
            not_usable(tried)
        });
    }
    let bytes = temporary.as_os_str().len();
    tried.push((temporary.to_owned(), format!("its path of {bytes} bytes is too long for a browser's sockets")));
    for place in others.iter().filter(|place| fits(place)) {
        match usable(place) {
            Ok(folder) => return Ok(folder),
            Err(reason) => tried.push((place.clone(), reason)),
        }
    }
    Err(not_usable(tried))
}

/// The error of places of which none can be used.
pub(super) fn not_usable(tried: Vec<(PathBuf, String)>) -> HostError {
    BrowserError::Folder { tried, longest_bytes: LONGEST }.into()
}

/// Places with short names for temporary files.
fn short_places() -> Vec<PathBuf> {
    if !cfg!(unix) {
        return Vec::new();
    }
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    ["/tmp", "/var/tmp"].map(PathBuf::from).into_iter().chain(of_user).chain([PathBuf::from("/dev/shm")]).collect()
}

/// Whether the sockets of a browser whose folder lies here have paths that are short enough. Only Unix has such sockets.
fn fits(place: &Path) -> bool {
    !cfg!(unix) || place.as_os_str().len() <= LONGEST
}

/// A folder in a place that can be written and has space.
fn usable(place: &Path) -> Result<TempDir, String> {
    let cannot = |error: std::io::Error| reason_of(&error);
    let folder = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).tempdir_in(place).map_err(cannot)?;
    std::fs::create_dir(folder.path().join(TEMPORARY)).map_err(cannot)?;
    has_space(folder.path())?;
    Ok(folder)
}

/// Whether what a browser writes has space in a folder, as seen by writing as much.
///
/// # Errors
/// Says what the system says.
pub(super) fn has_space(folder: &Path) -> Result<(), String> {
    let write = || {
        // It is gone when it is closed.
        let mut file = tempfile::tempfile_in(folder)?;
        let block = [1; 1 << 16];
        (0..NEEDED_BYTES / block.len()).try_for_each(|_| file.write_all(&block))
    };
    write().map_err(|error| reason_of(&error))
}

/// What the system says, without the path of a file that is there no more.
fn reason_of(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => format!("it is full (a browser needs {} MB)", NEEDED_BYTES >> 20),
        PermissionDenied | ReadOnlyFilesystem => "this user may not write there".into(),
        NotFound => "there is no such folder".into(),
        _ => error.to_string(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A folder below `within` whose path has so many bytes.
    fn of_length(within: &Path, bytes: usize) -> PathBuf {
        let missing = bytes - within.as_os_str().len() - 1;
        let folder = within.join("x".repeat(missing));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn the_longest_socket_below_the_longest_folder_can_be_bound() {
        let within = tempfile::Builder::new().prefix("w").tempdir_in("/tmp").unwrap();
        let place = of_length(within.path(), LONGEST);
        let folder = make_in(&place, &[]).unwrap();
        assert_eq!(folder.path().parent(), Some(place.as_path()));
        let (sockets, name) = SOCKET.split_once('/').unwrap();
        let sockets = folder.path().join(TEMPORARY).join(sockets);
        std::fs::create_dir(&sockets).unwrap();
        std::os::unix::net::UnixListener::bind(sockets.join(name)).unwrap();
        let one_more = std::os::unix::net::UnixListener::bind(sockets.join(format!("{name}x")));
        assert!(one_more.is_err(), "a longer one cannot: the limit is the real one");
    }

    #[test]
    fn a_place_that_is_too_long_is_left_for_a_short_one() {
        let within = tempfile::tempdir_in("/tmp").unwrap();
        let (long, short) = (of_length(within.path(), LONGEST + 1), within.path().to_owned());
        let folder = make_in(&long, std::slice::from_ref(&short)).unwrap();
        assert_eq!(folder.path().parent(), Some(short.as_path()));
        assert!(folder.path().join(TEMPORARY).is_dir());
        assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
    }

    #[test]
    fn every_place_that_was_tried_is_named_with_what_is_wrong_with_it() {
        let within = tempfile::tempdir_in("/tmp").unwrap();
        let long = of_length(within.path(), LONGEST + 1);
        let error = make_in(&long, &["/no/such/place".into(), "/dev/null".into()]).unwrap_err();
        assert_eq!(error.code(), "browser_folder");
        let told = error.to_string();
        for words in [long.to_str().unwrap(), "too long", "/no/such/place: there is no such folder", "/dev/null"] {
            assert!(told.contains(words), "no `{words}` in: {told}");
        }
        assert!(error.hint().contains(&format!("{LONGEST} bytes")), "{}", error.hint());
        // One that is short enough is what was asked for: nothing takes its place.
        let error = make_in(Path::new("/no/such/place"), &["/tmp".into()]).unwrap_err();
        assert!(error.to_string().contains("/no/such/place: there is no such folder"), "{error}");
    }

    #[test]
    fn a_full_disk_and_a_missing_right_are_told_in_words() {
        let of = |kind: std::io::ErrorKind| reason_of(&kind.into());
        assert!(of(std::io::ErrorKind::StorageFull).contains("full (a browser needs 4 MB)"));
        assert!(of(std::io::ErrorKind::ReadOnlyFilesystem).contains("may not write"));
    }
}
