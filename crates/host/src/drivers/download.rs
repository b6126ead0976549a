//! Drivers from those who make the browsers: the archive for a browser's version and this system, unpacked into a folder of
//! ours, where drivers are looked for.
//!
//! Where drivers lie: <https://github.com/GoogleChromeLabs/chrome-for-testing#json-api-endpoints> and
//! <https://developer.microsoft.com/microsoft-edge/tools/webdriver/>. `$WEBNIBBLE_DRIVER_MIRROR` is asked instead where it
//! is set: the same paths below `chrome-for-testing/`, `chrome-for-testing-public/` and `msedgedriver/`.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderMap;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};

use crate::proxy;

/// How long one download may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// No driver is larger than this, packed or not.
const MAX_BYTES: u64 = 256 << 20;

/// Where files are fetched from.
pub(super) struct Sources {
    chrome_versions: String,
    chrome_files: String,
    edge_files: String,
}

impl Sources {
    /// The vendors' own, or those below a mirror.
    pub(super) fn of(mirror: Option<&str>) -> Self {
        match mirror.map(|mirror| mirror.trim_end_matches('/')).filter(|mirror| !mirror.is_empty()) {
            Some(mirror) => Self {
                chrome_versions: format!("{mirror}/chrome-for-testing"),
                chrome_files: format!("{mirror}/chrome-for-testing-public"),
                edge_files: format!("{mirror}/msedgedriver"),
            },
            None => Self {
                chrome_versions: "https://googlechromelabs.github.io/chrome-for-testing".into(),
                chrome_files: "https://storage.googleapis.com/chrome-for-testing-public".into(),
                edge_files: "https://msedgedriver.microsoft.com".into(),
            },
        }
    }

    /// Those of this process' environment.
    pub(super) fn of_environment() -> Self {
        Self::of(std::env::var("WEBNIBBLE_DRIVER_MIRROR").ok().as_deref())
    }

    /// ChromeDriver for a version of Chrome: of the same build, else of the same major version.
    ///
    /// # Errors
    /// Says what was asked for, and what was answered.
    pub(super) fn chromedriver(&self, browser_version: &str, folder: &Path) -> Result<PathBuf, String> {
        let platform = chrome_platform().ok_or_else(no_build)?;
        let version = self.chrome_version(browser_version)?;
        let url = format!("{}/{version}/{platform}/chromedriver-{platform}.zip", self.chrome_files);
        unpack(&get(&url)?, "chromedriver", &version, folder)
    }

    fn chrome_version(&self, browser_version: &str) -> Result<String, String> {
        let version = version_in(browser_version)?;
        let build: Vec<_> = version.split('.').take(3).collect();
        let mut last = String::new();
        for known in [build.join("."), build[0].to_owned()] {
            match get(&format!("{}/LATEST_RELEASE_{known}", self.chrome_versions)) {
                Ok(bytes) => return version_in(&String::from_utf8_lossy(&bytes)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Edge's driver, of the very version of the browser.
    ///
    /// # Errors
    /// Says what was asked for, and what was answered.
    pub(super) fn edgedriver(&self, browser_version: &str, folder: &Path) -> Result<PathBuf, String> {
        let platform = edge_platform().ok_or_else(no_build)?;
        let version = version_in(browser_version)?;
        let url = format!("{}/{version}/edgedriver_{platform}.zip", self.edge_files);
        unpack(&get(&url)?, "msedgedriver", &version, folder)
    }
}

/// A version goes into paths and addresses: it is nothing but numbers and dots.
fn version_in(text: &str) -> Result<String, String> {
    let version = text.trim();
    let numbers = version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if numbers { Ok(version.to_owned()) } else { Err(format!("expected a version, found `{version:.40}`")) }
}

fn no_build() -> String {
    format!("there is no build for {} on {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn chrome_platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux64"),
        ("macos", "aarch64") => Some("mac-arm64"),
        ("macos", "x86_64") => Some("mac-x64"),
        ("windows", "x86_64" | "aarch64") => Some("win64"),
        ("windows", "x86") => Some("win32"),
        _ => None,
    }
}

fn edge_platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux64"),
        ("macos", "aarch64") => Some("mac64_m1"),
        ("macos", "x86_64") => Some("mac64"),
        ("windows", "x86_64") => Some("win64"),
        ("windows", "aarch64") => Some("arm64"),
        ("windows", "x86") => Some("win32"),
        _ => None,
    }
}

fn get(url: &str) -> Result<Vec<u8>, String> {
    tracing::info!("fetching {url}");
    let mut answer = proxy::agent(url, LIMIT).get(url).call().map_err(|error| format!("{url}: {error}"))?;
    let bytes = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
    let bytes = bytes.map_err(|error| format!("{url}: {error}"))?;
    check_sum(answer.headers(), &bytes).map_err(|error| format!("{url}: {error}"))?;
    Ok(bytes)
}

/// Compares a file with the checksum that came with it. Neither vendor publishes one in a place of its own
/// (<https://github.com/GoogleChromeLabs/chrome-for-testing/issues/70>), but the stores from which both serve their files keep
/// the MD5 of what was put there, and send it: Google's as `x-goog-hash`, Microsoft's as `Content-MD5`. It finds damage and
/// mirrors that mix up files, and no more; against forgers there is TLS.
fn check_sum(headers: &HeaderMap, bytes: &[u8]) -> Result<(), String> {
    let google = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    let google = google.flat_map(|value| value.split(',')).filter_map(|sum| sum.trim().strip_prefix("md5="));
    let microsoft = headers.get_all("content-md5").iter().filter_map(|value| value.to_str().ok());
    let found = BASE64_STANDARD.encode(Md5::digest(bytes));
    let mut told = google.chain(microsoft).map(str::trim).peekable();
    if told.peek().is_none() {
        tracing::info!("it comes without a checksum");
    }
    match told.find(|expected| *expected != found) {
        Some(expected) => Err(format!("it should have the MD5 {expected} (base64), found {found}: fetch it again")),
        None => Ok(()),
    }
}

/// Takes `program` out of an archive. The driver's folder appears at once or not at all.
fn unpack(archive: &[u8], program: &str, version: &str, folder: &Path) -> Result<PathBuf, String> {
    let told = |what: &str| {
        let what = format!("{what} in {}", folder.display());
        move |error: std::io::Error| format!("{what}: {error} (XDG_CACHE_HOME names another place)")
    };
    let file_name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let bytes = file_of(archive, &file_name)?;
    std::fs::create_dir_all(folder).map_err(told("making a folder for drivers"))?;
    let fresh = tempfile::tempdir_in(folder).map_err(told("making a folder for the driver"))?;
    let path = fresh.path().join(&file_name);
    std::fs::write(&path, bytes).map_err(told("writing the driver"))?;
    #[cfg(unix)]
    for path in [fresh.path(), &path] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(told("allowing the driver"))?;
    }
    let at = folder.join(format!("{program}-{version}"));
    if at.is_dir() {
        std::fs::remove_dir_all(&at).map_err(told("taking the old driver away"))?;
    }
    std::fs::rename(fresh.keep(), &at).map_err(told("putting the driver in its place"))?;
    Ok(at.join(file_name))
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("the archive is damaged: {error}")
}

fn file_of(archive: &[u8], file_name: &str) -> Result<Vec<u8>, String> {
    let mut archive =
        zip::ZipArchive::new(Cursor::new(archive)).map_err(|error| format!("expected an archive: {error}"))?;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|error| damaged(&error))?;
        if file.is_file() && file.name().map_err(|error| damaged(&error))?.rsplit('/').next() == Some(file_name) {
            let mut bytes = Vec::new();
            // One more than may be, so that more is seen.
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(format!("{file_name} is over {MAX_BYTES} bytes"));
            }
            return Ok(bytes);
        }
    }
    Err(format!("expected {file_name} in the archive, found {} other files", archive.len()))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
