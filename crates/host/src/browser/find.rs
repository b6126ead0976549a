//! Finding a browser and the driver that fits it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use webnibble_common::options::LaunchOptions;

use super::vendor::Vendor;
use crate::error::HostError;
use crate::loader::cache_dir;

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Where a browser or a driver is looked for.
pub(super) struct Programs {
    /// Names on PATH, best first.
    pub(super) names: &'static [&'static str],
    /// Places beside PATH where installers put it.
    pub(super) places: &'static [&'static str],
    /// Whether it prints its version when asked with `--version`; otherwise it is not asked, and it is not known.
    pub(super) tells_version: bool,
    /// What installs it.
    pub(super) hint: &'static str,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it lies.
    pub path: PathBuf,
    /// Its version: `156.0.8078.79`; empty where it does not tell before it runs.
    pub version: String,
}

impl Program {
    /// First number of the version; 0 where there is none.
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }
}

/// A browser and the driver that fits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The browser.
    pub binary: Program,
    /// Its driver.
    pub driver: Program,
    /// Whether the driver is for another version, and was named by the caller.
    pub mismatched: bool,
}

/// Finds a browser and its driver: the ones that the caller names, else the first pair of one version.
///
/// # Errors
/// Names what is missing or does not fit, and where it was looked for.
pub(super) async fn find(vendor: &Vendor, launch: &LaunchOptions) -> Result<Found, HostError> {
    let binaries = candidates(launch.browser_binary.as_deref(), &vendor.binaries).await;
    let drivers = candidates(launch.driver.as_deref(), &vendor.drivers).await;
    choose(vendor, binaries, drivers, launch.driver.is_some())
}

/// The browser alone, as [`find`] would take it where its driver did not decide.
pub(super) async fn find_browser(vendor: &Vendor, launch: &LaunchOptions) -> Option<Program> {
    candidates(launch.browser_binary.as_deref(), &vendor.binaries).await.programs.into_iter().next()
}

/// Where `webnibble drivers install` puts what no system's packages bring.
pub(crate) fn drivers_dir() -> PathBuf {
    cache_dir().join("drivers")
}

/// A program in there, newest first by the names of its folders.
fn installed(name: &str) -> Vec<PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let folders = std::fs::read_dir(drivers_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = folders
        .flat_map(|folder| [folder.join(&file), folder.join("bin").join(&file)])
        .filter(|path| path.is_file())
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found
}

/// Programs that are there, and every name and path that was tried.
struct Candidates {
    programs: Vec<Program>,
    looked: Vec<String>,
}

async fn candidates(named: Option<&str>, programs: &Programs) -> Candidates {
    let Programs { names, places, tells_version, .. } = *programs;
    let (paths, looked): (Vec<PathBuf>, Vec<String>) = match named {
        // A bare name is one on PATH.
        Some(named) => {
            let path = PathBuf::from(named);
            let found = if path.components().count() == 1 { on_path(named).unwrap_or(path) } else { path };
            (vec![found], vec![named.to_owned()])
        }
        None => {
            let on_path = names.iter().filter_map(|name| on_path(name));
            let installed = names.iter().flat_map(|name| installed(name));
            let paths = on_path.chain(places.iter().map(PathBuf::from)).chain(installed).collect();
            let names = names.iter().map(|name| format!("{name} on PATH"));
            (paths, names.chain(places_of_this_system(places)).collect())
        }
    };
    let mut programs: Vec<Program> = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let version = if tells_version { version_of(&path).await } else { Some(String::new()) };
        programs.extend(version.map(|version| Program { path, version }));
    }
    Candidates { programs, looked }
}

fn places_of_this_system<'a>(places: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    places.iter().filter(|place| Path::new(place).is_absolute()).map(|&place| place.to_owned())
}

/// A program by its name.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

/// What `--version` prints, down to the number. `None` for a program that does not run.
async fn version_of(path: &Path) -> Option<String> {
    let mut command = tokio::process::Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION_LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            tracing::warn!("{} does not run: {error}", path.display());
            return None;
        }
        Err(_) => {
            tracing::warn!("{} did not tell its version within {} s", path.display(), VERSION_LIMIT.as_secs());
            return None;
        }
    };
    let version = first_version(&String::from_utf8_lossy(&output.stdout));
    if version.is_none() {
        tracing::warn!("{} tells no version", path.display());
    }
    version
}

/// The first word that is a version; Firefox adds letters to some (`153.7.0esr`).
fn first_version(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    let words = text.split_whitespace().map(|word| word.trim_end_matches(|c: char| c.is_ascii_alphabetic()));
    words.into_iter().find(is_version).map(str::to_owned)
}

fn choose(vendor: &Vendor, binaries: Candidates, drivers: Candidates, driver_named: bool) -> Result<Found, HostError> {
    let Some(first) = binaries.programs.first().cloned() else {
        let (browser, hint) = (vendor.name.into(), vendor.binaries.hint.into());
        return Err(HostError::BrowserNotFound { browser, looked: binaries.looked, hint });
    };
    let Some(first_driver) = drivers.programs.first().cloned() else {
        let (browser, hint) = (first.path.display().to_string(), vendor.drivers.hint.into());
        return Err(HostError::DriverNotFound { browser, looked: drivers.looked, hint });
    };
    let pairs = binaries.programs.iter().flat_map(|binary| drivers.programs.iter().map(move |driver| (binary, driver)));
    let fits = |binary: &Program, driver: &Program| !vendor.one_version || binary.major() == driver.major();
    let fitting = pairs.into_iter().find(|(binary, driver)| fits(binary, driver));
    let found = match fitting {
        Some((binary, driver)) => Found { binary: binary.clone(), driver: driver.clone(), mismatched: false },
        // Whoever names a driver may know better.
        None if driver_named => Found { binary: first, driver: first_driver, mismatched: true },
        None => {
            return Err(HostError::VersionMismatch {
                binary: first.path,
                browser_version: first.version,
                driver: first_driver.path,
                driver_version: first_driver.version,
                hint: vendor.drivers.hint.into(),
            });
        }
    };
    if vendor.binaries.tells_version && found.binary.major() < vendor.first_version {
        let Program { path: binary, version: found } = found.binary;
        return Err(HostError::BrowserTooOld { binary, found, needed: vendor.first_version });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::chromium::CHROME;
    use crate::browser::firefox::FIREFOX;

    fn programs(list: &[(&str, &str)]) -> Candidates {
        let program = |(path, version): &(&str, &str)| Program { path: path.into(), version: (*version).to_owned() };
        Candidates { programs: list.iter().map(program).collect(), looked: vec!["somewhere".into()] }
    }

    #[test]
    fn versions_are_read_from_what_browsers_print() {
        assert_eq!(first_version("Chromium 156.0.8078.79 built on Debian"), Some("156.0.8078.79".into()));
        assert_eq!(first_version("Google Chrome 113.0.5672.63 \n"), Some("113.0.5672.63".into()));
        assert_eq!(first_version("ChromeDriver 156.0.1 (a21-refs/branch-heads/8078@{#1})"), Some("156.0.1".into()));
        assert_eq!(first_version("Mozilla Firefox 153.7.0esr"), Some("153.7.0".into()));
        assert_eq!(first_version("no version, e.g. none."), None);
    }

    #[test]
    fn the_pair_that_fits_wins_over_the_first() {
        let binaries = programs(&[("chrome", "155.0.1"), ("chromium", "156.0.2")]);
        let found = choose(&CHROME, binaries, programs(&[("chromedriver", "156.0.3")]), false).unwrap();
        assert_eq!((found.binary.path, found.mismatched), (PathBuf::from("chromium"), false));
    }

    #[test]
    fn a_mismatch_names_both_unless_the_driver_was_named() {
        let pair = || (programs(&[("chromium", "156.0.2")]), programs(&[("chromedriver", "154.0.0")]));
        let (binaries, drivers) = pair();
        let error = choose(&CHROME, binaries, drivers, false).unwrap_err();
        assert_eq!(error.to_string(), "chromedriver is version 154.0.0, but chromium is version 156.0.2");
        let (binaries, drivers) = pair();
        assert!(choose(&CHROME, binaries, drivers, true).unwrap().mismatched);
    }

    #[test]
    fn firefox_and_its_driver_have_versions_of_their_own() {
        let (binaries, drivers) = (programs(&[("firefox", "153.7.0")]), programs(&[("geckodriver", "0.37.1")]));
        let found = choose(&FIREFOX, binaries, drivers, false).unwrap();
        assert_eq!((found.driver.path, found.mismatched), (PathBuf::from("geckodriver"), false));
    }

    #[test]
    fn what_is_missing_or_too_old_is_named() {
        let none = || programs(&[]);
        let error = choose(&CHROME, none(), none(), false).unwrap_err();
        assert_eq!(
            (error.code().as_str(), error.to_string().contains("looked for somewhere")),
            ("browser_not_found", true)
        );
        assert!(error.hint().contains("apt-get install chromium"));
        assert_eq!(choose(&CHROME, programs(&[("c", "156.0")]), none(), false).unwrap_err().code(), "driver_not_found");
        let old = choose(&CHROME, programs(&[("c", "112.0")]), programs(&[("d", "112.0")]), false).unwrap_err();
        assert_eq!(old.to_string(), "c is version 112.0; version 113 or later is needed");
    }

    #[tokio::test]
    async fn a_named_binary_that_is_not_there_is_not_replaced() {
        let launch = LaunchOptions { browser_binary: Some("/nonexistent/chromium".into()), ..Default::default() };
        let HostError::BrowserNotFound { looked, .. } = find(&CHROME, &launch).await.unwrap_err() else {
            panic!("expected that it is not found");
        };
        assert_eq!(looked, ["/nonexistent/chromium"]);
    }
}
