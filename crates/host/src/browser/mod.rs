//! Browsers: found, started with a fresh profile through their driver, watched, and gone without a trace.
//!
//! A [`Browser`] owns its driver's process group and its files. Dropping it (on success, error or panic alike) kills the
//! group and removes the files; should this process be killed, a watch in the group does it.

use std::time::Duration;

use serde_json::Value;
use thirtyfour::WebDriver;
use webnibble_common::options::{BrowserKind, LaunchOptions};

use crate::error::{HostError, limits};
use crate::proxy;

mod chromium;
mod config;
mod display;
mod driver;
mod error;
mod find;
mod firefox;
mod folder;
mod gpu;
mod process;
mod program;
mod remote;
mod table;
mod vendor;
mod webdriver;
mod webkit;

pub use config::BrowserConfig;
pub use error::BrowserError;
pub(crate) use find::{drivers_dir, on_path as find_program};
pub use gpu::default_gpu_profile;
pub use process::BrowserMemory;
pub use program::{Fit, FoundBrowser, PassedOver, Program};
pub(crate) use remote::{Slots, wait_for_owed_sessions};

pub(crate) use process::is_root;

use display::{check_display, display, has_display, is_headless, own_display};
use driver::{Driver, DriverStart, Log};
use table::vendor;
use vendor::Ask;
use webdriver::{COMMAND_LIMIT, START_LIMIT, message_of, open_session};

/// How long the driver may take to hand over the console; in an error nobody wants to wait for it.
const CONSOLE_LIMIT: Duration = Duration::from_secs(2);

/// How long a browser may take to quit by itself.
const QUIT_LIMIT: Duration = Duration::from_secs(3);

/// How often it is looked whether the browser lives.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// How often a console that is followed is read.
const CONSOLE_INTERVAL: Duration = Duration::from_millis(500);

/// Lines of the console in an error.
const CONSOLE_LINES: usize = 12;

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    // Before the driver: a WebDriver that is dropped without being let go would talk to it.
    webdriver: Option<WebDriver>,
    console: Log,
    place: Place,
    /// Name by its driver: `chrome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it was started so that nobody sees a window of it, whatever was asked for.
    pub headless: bool,
}

/// Finds the browser that is asked for, and the driver that fits it.
///
/// # Errors
/// Names what is missing or does not fit.
pub async fn find(kind: BrowserKind, launch: &LaunchOptions) -> Result<FoundBrowser, HostError> {
    find::find(vendor(kind), launch).await
}

/// Finds the browser alone; `None` where it is not here.
pub(crate) async fn find_browser(kind: BrowserKind, launch: &LaunchOptions) -> Option<Program> {
    find::find_browser(vendor(kind), launch).await
}

/// Sees whether what the caller named is there: the browser's file, its driver's, or the WebDriver server. That takes
/// little time, and is to be known before a model is fetched.
///
/// # Errors
/// [`BrowserError::NotThere`] with the option and what was named, [`BrowserError::WebDriverUnreachable`] when no server answers.
pub async fn check_named(launch: &LaunchOptions) -> Result<(), HostError> {
    let Some(url) = &launch.webdriver else { return find::check_named(launch) };
    // Paths are those of the server's machine.
    remote::check_url(url)?;
    remote::slots(url, "").await.map(drop)
}

/// The slots of the grid that this browser is asked of, and its name there; `None` where there is no grid, or where it does
/// not tell.
///
/// # Errors
/// [`BrowserError::WebDriverUnreachable`] when no server answers.
pub(crate) async fn grid_slots(launch: &LaunchOptions) -> Result<Option<(String, Slots)>, HostError> {
    let Some(url) = &launch.webdriver else { return Ok(None) };
    let config = BrowserConfig::new(launch.clone());
    let asked = (vendor(config.kind).capabilities)(&Ask {
        config: &config,
        binary: None,
        folder: None,
        as_root: false,
        trusted_origin: None,
    });
    let name = asked["browserName"].as_str().unwrap_or_default().to_owned();
    Ok(remote::slots(url, &name).await?.map(|slots| (name, slots)))
}

/// Where a browser runs.
#[derive(Debug)]
enum Place {
    /// On this machine, below a driver of ours. Both end when this is dropped.
    Here {
        driver: Box<Driver>,
        /// Process id of the browser.
        process: u32,
    },
    /// Behind a WebDriver server that runs already, which ends it when its session is deleted.
    Remote {
        /// Address of the server.
        url: String,
    },
}

impl Browser {
    /// Starts a browser with an empty page. `origin` is that of the pages that it will be sent to.
    ///
    /// # Errors
    /// Names what is missing, or what was seen when it did not start.
    pub async fn start(config: &BrowserConfig, origin: &str) -> Result<Self, HostError> {
        match &config.launch.webdriver {
            Some(url) => Self::start_remote(config, url, origin).await,
            None => Self::start_here(config).await,
        }
    }

    async fn start_here(config: &BrowserConfig) -> Result<Self, HostError> {
        let found = find(config.kind, &config.launch).await?;
        tracing::debug!("{} {}, driver {}", found.binary.path.display(), found.binary.version, found.driver.version);
        for PassedOver { path, reason } in &found.passed_over {
            tracing::debug!("not taken: {}: {reason}", path.display());
        }
        if found.fit == Fit::Untried {
            let (binary, driver) = (&found.binary.version, &found.driver.version);
            tracing::warn!("the driver is version {driver}, the browser {binary}: trying all the same");
        }
        if let Some(told) = limits::described() {
            tracing::warn!("{told}: browsers may need more");
        }
        let vendor = vendor(config.kind);
        check_display(vendor, config.headless, has_display())?;
        let start = DriverStart {
            program: &found.driver.path,
            port: vendor.port,
            args: &(vendor.driver_args)(config, &found),
            display: own_display(vendor, config.headless, has_display(), || find::on_path("Xvfb").is_some())?,
        };
        let headless = is_headless(vendor, config.headless, start.display);
        if headless != config.headless {
            let (name, windows) = (vendor.name, if headless { "no window that is seen" } else { "a window" });
            tracing::warn!("{name} has {windows}: it has no headless mode, and what is asked for cannot be had here");
        }
        let driver = Driver::start(start, |folder| (vendor.environment)(config, folder)).await?;
        let asked = (vendor.capabilities)(&Ask {
            config,
            binary: Some(&found.binary.path),
            folder: Some(driver.folder()),
            as_root: process::is_root(),
            trusted_origin: None,
        });
        let failed = |reason: String| not_started(&found.binary, config.headless, &driver, reason);
        let webdriver = open_session(&driver.url(), asked, START_LIMIT).await.map_err(failed)?;
        let process = vendor
            .process_id
            .and_then(|name| webdriver.handle().capabilities().get(name)?.as_u64())
            .and_then(|id| u32::try_from(id).ok())
            .or_else(|| process::child_running(driver.id(), &found.binary.path))
            // Then the driver is watched in its place: it ends soon after its browser.
            .unwrap_or(driver.id());
        Ok(Self::new(webdriver, Place::Here { driver: Box::new(driver), process }, headless))
    }

    async fn start_remote(config: &BrowserConfig, url: &str, origin: &str) -> Result<Self, HostError> {
        let on_loopback = proxy::is_loopback(origin);
        let asked = (vendor(config.kind).capabilities)(&Ask {
            config,
            binary: config.launch.browser_binary.as_deref().map(std::path::Path::new),
            folder: None,
            // A page that is reached by loopback is shown by a browser of this machine, and of this user for all we know.
            as_root: on_loopback && process::is_root(),
            trusted_origin: (!on_loopback).then_some(origin),
        });
        let failed = |reason: String| BrowserError::Start {
            browser: format!("{} at {url}", vendor(config.kind).name),
            reason,
            log: Vec::new(),
        };
        remote::slots(url, "").await?;
        let webdriver = remote::connect(url, asked).await.map_err(failed)?;
        // What displays the other machine has is its own affair.
        let headless = is_headless(vendor(config.kind), config.headless, false);
        Ok(Self::new(webdriver, Place::Remote { url: url.to_owned() }, headless))
    }

    fn new(webdriver: WebDriver, place: Place, headless: bool) -> Self {
        let told = webdriver.handle().capabilities();
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, version) = (text("browserName"), text("browserVersion"));
        Self { webdriver: Some(webdriver), console: Log::default(), place, name, version, headless }
    }

    /// Opens a page.
    ///
    /// # Errors
    /// Fails when the browser does not load it.
    pub async fn open(&self, url: &str) -> Result<(), HostError> {
        let failed = |reason: String| BrowserError::Start {
            browser: self.name.clone(),
            reason: format!("the page did not open: {reason}"),
            log: self.place.log(),
        };
        match tokio::time::timeout(COMMAND_LIMIT, self.webdriver().goto(url)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(message_of(&error)).into()),
            Err(_) => Err(failed(format!("no answer from the driver within {} s", COMMAND_LIMIT.as_secs())).into()),
        }
    }

    /// The end of the console, or else of what the browser printed, for an error.
    pub async fn last_words(&self) -> Vec<String> {
        read_console(self.webdriver(), &self.console).await;
        let console = self.console.lines();
        let lines = if console.is_empty() { self.place.log() } else { console };
        lines[lines.len().saturating_sub(CONSOLE_LINES)..].to_vec()
    }

    /// Passes the console on to this process's log, until the returned task is aborted.
    pub(crate) fn follow_console(&self) -> tokio::task::JoinHandle<()> {
        let (webdriver, console) = (self.webdriver().clone(), self.console.clone());
        tokio::spawn(async move {
            loop {
                read_console(&webdriver, &console).await;
                tokio::time::sleep(CONSOLE_INTERVAL).await;
            }
        })
    }

    /// Memory of the browser's processes; of a remote one nothing is known.
    pub fn memory(&self) -> BrowserMemory {
        match &self.place {
            Place::Here { process, .. } => process::memory(*process),
            Place::Remote { .. } => BrowserMemory::default(),
        }
    }

    /// Calls `gone` once when the browser dies, or when the server of a remote one no longer has it. The watch ends with
    /// the returned task, or with the runtime.
    pub(crate) fn watch(&self, gone: impl FnOnce(String) + Send + 'static) -> tokio::task::JoinHandle<()> {
        let Place::Here { driver, process } = &self.place else {
            return tokio::spawn(remote::keep_alive(self.webdriver().clone(), gone));
        };
        let (id, name, log) = (*process, self.name.clone(), driver.log().clone());
        tokio::spawn(async move {
            while process::is_alive(id) {
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
            let last = log.lines().pop().map(|line| format!("; its last line: {line}")).unwrap_or_default();
            gone(format!("{name} (process {id}) ended unexpectedly{last}"));
        })
    }

    /// Quits the browser in the orderly way, as far as it will.
    pub async fn quit(mut self) {
        let Some(webdriver) = self.webdriver.take() else { return };
        let keep = webdriver.clone();
        match tokio::time::timeout(QUIT_LIMIT, webdriver.quit()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("{} did not quit: {error}", self.name),
            Err(_) => tracing::debug!("{} did not quit within {} s", self.name, QUIT_LIMIT.as_secs()),
        }
        // Whoever did not quit when asked is not asked again, which dropping it would do, and wait for minutes.
        let _ = keep.leak();
    }

    /// The session with its driver, to look at the page and to act on it as a person would.
    pub fn webdriver(&self) -> &WebDriver {
        self.webdriver.as_ref().expect("taken only when the browser quits")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let Some(webdriver) = self.webdriver.take() else { return };
        match &self.place {
            // It would quit by a blocking request otherwise; the driver's end does the same at once.
            Place::Here { .. } => drop(webdriver.leak()),
            // Nobody else ends it.
            Place::Remote { url } => remote::end(webdriver, url),
        }
    }
}

impl Place {
    /// Last lines of driver and browser.
    fn log(&self) -> Vec<String> {
        match self {
            Place::Here { driver, .. } => driver.log().lines(),
            Place::Remote { .. } => Vec::new(),
        }
    }
}

/// Why a browser did not start: what its driver said, or what is known to keep browsers from starting.
fn not_started(binary: &Program, headless: bool, driver: &Driver, reason: String) -> HostError {
    if let Err(reason) = folder::has_space(driver.folder()) {
        let place = driver.folder().parent().unwrap_or(driver.folder());
        return folder::not_usable(vec![(place.to_owned(), reason)]);
    }
    let display = ["WAYLAND_DISPLAY", "DISPLAY"].iter().find_map(|name| Some((name, display(name)?)));
    let reason = match display {
        Some((name, value)) if !headless => {
            format!(
                "{reason}; its window was to be on {name}={value}: see that this user may use that, or leave --headed out"
            )
        }
        _ => reason,
    };
    BrowserError::Start { browser: binary.path.display().to_string(), reason, log: driver.log().lines() }.into()
}

/// Adds what the console got since the last call to `log`; nothing where the browser does not answer.
async fn read_console(webdriver: &WebDriver, log: &Log) {
    let entries = tokio::time::timeout(CONSOLE_LIMIT, webdriver.browser_log()).await;
    for entry in entries.ok().and_then(Result::ok).unwrap_or_default() {
        tracing::debug!(target: "console", "{}: {}", entry.level, entry.message);
        log.push(format!("{}: {}", entry.level, entry.message));
    }
}
