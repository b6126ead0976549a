//! Finding a browser and the driver that fits it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use webnibble_common::options::LaunchOptions;

use super::error::BrowserError;
use super::program::{Fit, FoundBrowser, PassedOver, Program, Programs};
use super::vendor::Vendor;
use crate::browsers::webnn_browser;
use crate::disk::cache_dir;
use crate::error::HostError;

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Finds a browser and its driver: the ones that the caller names, else the first pair of one version.
///
/// # Errors
/// Names what is missing or does not fit, and where it was looked for.
pub(super) async fn find(vendor: &Vendor, launch: &LaunchOptions) -> Result<FoundBrowser, HostError> {
    let binaries = candidates(&vendor.binaries, launch.browser_binary.as_deref(), "--browser-binary").await?;
    let drivers = candidates(&vendor.drivers, launch.driver.as_deref(), "--driver").await?;
    choose(vendor, binaries, drivers, launch.driver.is_some())
}

/// The browser alone, as [`find`] would take it where its driver did not decide.
pub(super) async fn find_browser(vendor: &Vendor, launch: &LaunchOptions) -> Option<Program> {
    let found = candidates(&vendor.binaries, launch.browser_binary.as_deref(), "--browser-binary").await;
    found.ok()?.programs.into_iter().next()
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

/// Programs that are there and run, those that do not, and every name and path that was tried.
#[derive(Default)]
struct Candidates {
    programs: Vec<Program>,
    passed_over: Vec<PassedOver>,
    looked: Vec<String>,
}

/// The programs of a kind, or the one that `option` names.
async fn candidates(programs: &Programs, named: Option<&str>, option: &'static str) -> Result<Candidates, HostError> {
    let Programs { names, places, tells_version, .. } = *programs;
    let (paths, looked) = match named {
        Some(named) => (vec![named_program(named, option)?], vec![named.to_owned()]),
        None => {
            let on_path = names.iter().flat_map(|name| all_on_path(name));
            let installed = names.iter().flat_map(|name| installed(name));
            let paths = on_path.chain(places.iter().map(PathBuf::from)).chain(installed).collect();
            let names = names.iter().map(|name| format!("{name} on PATH"));
            (each_once(paths), names.chain(places_of_this_system(places)).collect())
        }
    };
    let looking = paths.into_iter().map(|path| async {
        let version = match check_executable(&path) {
            Ok(()) if tells_version => version_of(&path).await,
            other => other.map(|()| String::new()),
        };
        (path, version)
    });
    let mut found = Candidates { looked, ..Candidates::default() };
    for (path, version) in futures_util::future::join_all(looking).await {
        match version {
            Ok(version) => found.programs.push(Program { path, version }),
            Err(reason) => found.passed_over.push(PassedOver { path, reason }),
        }
    }
    Ok(found)
}

/// Sees whether the programs that the caller names are there, before anything is done.
///
/// # Errors
/// [`BrowserError::NotThere`] with the option and what was named.
pub(super) fn check_named(launch: &LaunchOptions) -> Result<(), HostError> {
    let named = [("--browser-binary", &launch.browser_binary), ("--driver", &launch.driver)];
    named.into_iter().filter_map(|(option, named)| Some((option, named.as_deref()?))).try_for_each(|(option, named)| {
        named_program(named, option)?;
        Ok(())
    })
}

/// The path of a program that the caller names. A bare name is one on PATH.
fn named_program(named: &str, option: &'static str) -> Result<PathBuf, HostError> {
    let path = PathBuf::from(named);
    let bare = path.components().count() == 1;
    let found = if bare { on_path(named).unwrap_or(path) } else { path };
    let reason = match std::fs::metadata(&found) {
        Ok(metadata) if metadata.is_file() => return Ok(found),
        Ok(_) => "it is a folder, not a program".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && bare => "it is neither here nor on PATH".into(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such file".into(),
        Err(error) => error.to_string(),
    };
    Err(BrowserError::NotThere { option, named: named.to_owned(), reason }.into())
}

/// Files that are there, each once: folders of PATH may be links to one another.
fn each_once(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    let is_new = |path: &PathBuf| path.is_file() && seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone()));
    paths.into_iter().filter(is_new).collect()
}

fn places_of_this_system<'a>(places: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    places.iter().filter(|place| Path::new(place).is_absolute()).map(|&place| place.to_owned())
}

/// A program by its name: the first on PATH that may be executed.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    all_on_path(name).find(|path| check_executable(path).is_ok())
}

/// Every file of that name in the folders of PATH, in their order.
fn all_on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.into_iter().map(move |folder| folder.join(&file)).filter(|path| path.is_file())
}

/// Why a file is none that this user may execute.
fn check_executable(path: &Path) -> Result<(), String> {
    #[cfg(unix)]
    if let Err(error) = rustix::fs::access(path, rustix::fs::Access::EXEC_OK) {
        return Err(format!("it may not be executed: {}", std::io::Error::from(error)));
    }
    let _ = path;
    Ok(())
}

/// What `--version` prints, down to the number.
///
/// # Errors
/// Says what a program does in place of that.
async fn version_of(path: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(VERSION_LIMIT, command.output()).await {
        Ok(output) => output.map_err(|error| format!("it does not run: {error}"))?,
        Err(_) => return Err(format!("asked for its version, it did not answer within {} s", VERSION_LIMIT.as_secs())),
    };
    let version = first_version(&String::from_utf8_lossy(&output.stdout));
    version.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        let last = last.map(|line| format!(", and said: {line}")).unwrap_or_default();
        format!("asked for its version, it told none ({}){last}", output.status)
    })
}

/// The first word that is a version; Firefox adds letters to some (`153.7.0esr`).
fn first_version(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    let words = text.split_whitespace().map(|word| word.trim_end_matches(|c: char| c.is_ascii_alphabetic()));
    words.into_iter().find(is_version).map(str::to_owned)
}

fn choose(
    vendor: &Vendor,
    binaries: Candidates,
    drivers: Candidates,
    driver_named: bool,
) -> Result<FoundBrowser, HostError> {
    let binary_hint = vendor.binaries.hint;
    let Some(first) = binaries.programs.first() else {
        let looked = binaries.looked;
        let not_found = || BrowserError::NotFound { browser: vendor.name.into(), looked, hint: binary_hint.into() };
        return Err(does_not_run(&binaries.passed_over, binary_hint).unwrap_or_else(not_found).into());
    };
    let Some(first_driver) = drivers.programs.first() else {
        let (browser, looked, hint) = (first.path.display().to_string(), drivers.looked, vendor.drivers.hint);
        let not_found = || BrowserError::DriverNotFound { browser, looked, hint: hint.into() };
        return Err(does_not_run(&drivers.passed_over, hint).unwrap_or_else(not_found).into());
    };
    let fits = |binary: &Program, driver: &Program| !vendor.one_version || binary.major() == driver.major();
    let pairs =
        || binaries.programs.iter().flat_map(|binary| drivers.programs.iter().map(move |driver| (binary, driver)));
    let fitting = pairs().find(|(binary, driver)| fits(binary, driver));
    let (binary, driver, fit) = match fitting {
        Some((binary, driver)) => (binary, driver, Fit::Fits),
        None if is_webnn_browser(&first.path) => (first, first_driver, Fit::KnownToWork),
        // Whoever names a driver may know better.
        None if driver_named => (first, first_driver, Fit::Untried),
        None => {
            let mismatch = BrowserError::VersionMismatch {
                binary: first.path.clone(),
                browser_version: first.version.clone(),
                driver: first_driver.path.clone(),
                driver_version: first_driver.version.clone(),
                hint: vendor.drivers.hint.into(),
            };
            return Err(mismatch.into());
        }
    };
    if vendor.binaries.tells_version && binary.major() < vendor.first_version {
        let (binary, found) = (binary.path.clone(), binary.version.clone());
        return Err(BrowserError::TooOld { binary, found, needed: vendor.first_version }.into());
    }
    let (binary, driver) = (binary.clone(), driver.clone());
    let passed_over = passed_over(&binaries, &drivers, &binary, &driver);
    Ok(FoundBrowser { binary, driver, fit, passed_over })
}

/// What does not run, and what comes before the programs that are taken, and does not fit them.
fn passed_over(binaries: &Candidates, drivers: &Candidates, binary: &Program, driver: &Program) -> Vec<PassedOver> {
    let before = |all: &Candidates, taken: &Program, kind: &str, other: &Program| -> Vec<PassedOver> {
        let told = |one: &Program| {
            let reason = format!("it is version {}, and the {kind} is version {}", one.version, other.version);
            PassedOver { path: one.path.clone(), reason }
        };
        all.programs.iter().take_while(|one| *one != taken).map(told).collect()
    };
    let unfit = [before(binaries, binary, "driver", driver), before(drivers, driver, "browser", binary)];
    [binaries.passed_over.clone(), drivers.passed_over.clone()].into_iter().chain(unfit).flatten().collect()
}

/// What to say where programs are there, and none of them runs.
fn does_not_run(passed_over: &[PassedOver], hint: &str) -> Option<BrowserError> {
    let first = passed_over.first()?;
    let more: Vec<_> = passed_over[1..].iter().map(|one| format!("{}: {}", one.path.display(), one.reason)).collect();
    let more = if more.is_empty() { String::new() } else { format!("; nor does {}", more.join("; nor does ")) };
    let reason = format!("{}{more}", first.reason);
    Some(BrowserError::DoesNotRun { program: first.path.clone(), reason, hint: hint.into() })
}

/// Whether a browser is the one with WebNN that the repository's script fetches.
fn is_webnn_browser(path: &Path) -> bool {
    webnn_browser().is_some_and(|known| known == path || known.canonicalize().ok() == path.canonicalize().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::chromium::CHROME;
    use crate::browser::firefox::FIREFOX;

    fn programs(list: &[(&str, &str)]) -> Candidates {
        let program = |(path, version): &(&str, &str)| Program { path: path.into(), version: (*version).to_owned() };
        let programs = list.iter().map(program).collect();
        Candidates { programs, passed_over: Vec::new(), looked: vec!["somewhere".into()] }
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
        assert_eq!((found.binary.path, found.fit), (PathBuf::from("chromium"), Fit::Fits));
        let reason = "it is version 155.0.1, and the driver is version 156.0.3".to_owned();
        assert_eq!(found.passed_over, [PassedOver { path: "chrome".into(), reason }]);
    }

    #[test]
    fn a_driver_behind_one_that_does_not_fit_is_taken_and_that_one_is_told() {
        let mut drivers = programs(&[("/a/chromedriver", "155.0.1"), ("/b/chromedriver", "156.0.3")]);
        drivers.passed_over = vec![PassedOver { path: "/0/chromedriver".into(), reason: "broken".into() }];
        let found = choose(&CHROME, programs(&[("chromium", "156.0.2")]), drivers, false).unwrap();
        assert_eq!((found.driver.path, found.fit), (PathBuf::from("/b/chromedriver"), Fit::Fits));
        let paths: Vec<_> = found.passed_over.iter().map(|one| one.path.display().to_string()).collect();
        assert_eq!(paths, ["/0/chromedriver", "/a/chromedriver"]);
        assert!(found.passed_over[1].reason.contains("155.0.1") && found.passed_over[1].reason.contains("156.0.2"));
    }

    #[test]
    fn programs_that_are_there_and_do_not_run_are_not_called_missing() {
        let broken = |path: &str| Candidates {
            passed_over: vec![PassedOver { path: path.into(), reason: "it may not be executed".into() }],
            ..Candidates::default()
        };
        let error = choose(&CHROME, broken("/c"), programs(&[("d", "156.0")]), false).unwrap_err();
        assert_eq!((error.code().as_str(), error.to_string().contains("/c does not run")), ("browser_start", true));
        let error = choose(&CHROME, programs(&[("c", "156.0")]), broken("/d"), false).unwrap_err();
        assert!(error.to_string().contains("/d does not run") && error.hint().contains("drivers install"), "{error}");
    }

    #[test]
    fn a_mismatch_names_both_unless_the_driver_was_named() {
        let pair = || (programs(&[("chromium", "156.0.2")]), programs(&[("chromedriver", "154.0.0")]));
        let (binaries, drivers) = pair();
        let error = choose(&CHROME, binaries, drivers, false).unwrap_err();
        assert_eq!(error.to_string(), "chromedriver is version 154.0.0, but chromium is version 156.0.2");
        let (binaries, drivers) = pair();
        assert_eq!(choose(&CHROME, binaries, drivers, true).unwrap().fit, Fit::Untried);
    }

    #[test]
    fn firefox_and_its_driver_have_versions_of_their_own() {
        let (binaries, drivers) = (programs(&[("firefox", "153.7.0")]), programs(&[("geckodriver", "0.37.1")]));
        let found = choose(&FIREFOX, binaries, drivers, false).unwrap();
        assert_eq!((found.driver.path, found.fit), (PathBuf::from("geckodriver"), Fit::Fits));
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
    async fn a_named_program_that_is_not_there_is_not_replaced() {
        for launch in [
            LaunchOptions { browser_binary: Some("/nonexistent/chromium".into()), ..Default::default() },
            LaunchOptions { driver: Some("no-such-driver".into()), ..Default::default() },
            LaunchOptions { browser_binary: Some("/".into()), ..Default::default() },
        ] {
            let early = check_named(&launch).unwrap_err();
            let error = find(&CHROME, &launch).await.unwrap_err();
            assert_eq!((error.to_string(), error.is_usage()), (early.to_string(), true));
            assert_eq!(error.code(), "not_there", "{error}");
        }
        check_named(&LaunchOptions { driver: Some("sh".into()), ..Default::default() }).unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_named_program_that_does_not_run_says_why() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("chromium");
        let launch = LaunchOptions { browser_binary: Some(program.display().to_string()), ..Default::default() };
        for (script, mode, words) in [
            ("#!/bin/sh\necho 156.0", 0o644, "may not be executed"),
            ("#!/bin/sh\necho no memory >&2; exit 3", 0o755, "exit status: 3), and said: no memory"),
            ("#!/bin/sh\nkill -TRAP $$", 0o755, "SIGTRAP"),
        ] {
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = find(&CHROME, &launch).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!((error.code().as_str(), error.is_usage()), ("browser_start", false));
        }
    }
}
