//! Browsers: found, started with a fresh profile through their driver, watched, and gone without a trace.
//!
//! A [`Browser`] owns its driver's process group and its files. Dropping it (on success, error or panic alike) kills the
//! group and removes the files; should this process be killed, a watch in the group does it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use thirtyfour::WebDriver;
use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions};

use crate::error::HostError;

mod chromium;
mod driver;
mod find;
mod firefox;
mod gpu;
mod process;
mod vendor;
mod webkit;

pub use find::{Found, Program};
pub use gpu::default_gpu_profile;

use driver::{Driver, DriverStart, Log};
use vendor::{Vendor, vendor};

/// How long a browser may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long one command of the driver may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

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

/// What to start.
#[derive(Clone, Debug)]
pub struct BrowserConfig {
    /// Which browser.
    pub kind: BrowserKind,
    /// Without a window.
    pub headless: bool,
    /// What makes it find its GPU.
    pub gpu: GpuProfile,
    /// The caller's paths and arguments.
    pub launch: LaunchOptions,
    /// Whether the browser is to print what it logs.
    pub verbose: bool,
}

impl BrowserConfig {
    /// Chromium by default, without a window, with the GPU that this machine seems to have.
    pub fn new(launch: LaunchOptions) -> Self {
        let headless = launch.headless.unwrap_or(true);
        Self {
            kind: launch.browser.unwrap_or(BrowserKind::Chrome),
            headless,
            gpu: launch.gpu.unwrap_or_else(|| default_gpu_profile(headless)),
            launch,
            verbose: false,
        }
    }
}

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    // Before the driver: a WebDriver that is dropped without being let go would talk to it.
    webdriver: Option<WebDriver>,
    console: Log,
    driver: Driver,
    process: u32,
    /// Name by its driver: `chrome`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Path of its binary.
    pub binary: PathBuf,
}

/// Finds the browser that is asked for, and the driver that fits it.
///
/// # Errors
/// Names what is missing or does not fit.
pub async fn find(kind: BrowserKind, launch: &LaunchOptions) -> Result<Found, HostError> {
    if launch.webdriver.is_some() {
        let what = "a remote WebDriver (--webdriver)".into();
        return Err(HostError::NotYet { what, instead: "leave it out: the browser of this machine is started".into() });
    }
    find::find(vendor(kind), launch).await
}

impl Browser {
    /// Starts a browser with an empty page.
    ///
    /// # Errors
    /// Names what is missing, or what was seen when it did not start.
    pub async fn start(config: &BrowserConfig) -> Result<Self, HostError> {
        let found = find(config.kind, &config.launch).await?;
        tracing::debug!("{} {}, driver {}", found.binary.path.display(), found.binary.version, found.driver.version);
        if found.mismatched {
            let (binary, driver) = (&found.binary.version, &found.driver.version);
            tracing::warn!("the driver is version {driver}, the browser {binary}: trying all the same");
        }
        let vendor = vendor(config.kind);
        let start = DriverStart {
            program: &found.driver.path,
            port: vendor.port,
            args: &(vendor.driver_args)(config, &found),
            display: needs_display(vendor)?,
        };
        let driver = Driver::start(start, |folder| (vendor.environment)(config, folder)).await?;
        let Value::Object(capabilities) = (vendor.capabilities)(config, &found, driver.folder()) else {
            unreachable!("every browser's capabilities are written as an object");
        };
        let builder = WebDriver::builder(driver.url(), thirtyfour::Capabilities::from(capabilities));
        // Our own limit comes first: its words say more than those of an HTTP client.
        let started = tokio::time::timeout(START_LIMIT, builder.request_timeout(START_LIMIT * 2).connect()).await;
        let failed = |reason: String| HostError::BrowserStart {
            browser: found.binary.path.display().to_string(),
            reason,
            log: driver.log().lines(),
        };
        let webdriver = match started {
            Ok(Ok(webdriver)) => webdriver,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("no answer from the driver within {} s", START_LIMIT.as_secs()))),
        };
        let told = webdriver.handle().capabilities();
        let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, version) = (text("browserName"), text("browserVersion"));
        let told = vendor.process_id.and_then(|name| told.get(name)).and_then(Value::as_u64);
        let process = told
            .and_then(|id| u32::try_from(id).ok())
            .or_else(|| process::child_running(driver.id(), &found.binary.path))
            // Then the driver is watched in its place: it ends soon after its browser.
            .unwrap_or(driver.id());
        Ok(Self {
            webdriver: Some(webdriver),
            console: Log::default(),
            driver,
            process,
            name,
            version,
            binary: found.binary.path,
        })
    }

    /// Opens a page.
    ///
    /// # Errors
    /// Fails when the browser does not load it.
    pub async fn open(&self, url: &str) -> Result<(), HostError> {
        let failed = |reason: String| HostError::BrowserStart {
            browser: self.name.clone(),
            reason: format!("the page did not open: {reason}"),
            log: self.driver.log().lines(),
        };
        match tokio::time::timeout(COMMAND_LIMIT, self.webdriver().goto(url)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer from the driver within {} s", COMMAND_LIMIT.as_secs()))),
        }
    }

    /// The end of the console, or else of what the browser printed, for an error.
    pub async fn last_words(&self) -> Vec<String> {
        read_console(self.webdriver(), &self.console).await;
        let console = self.console.lines();
        let lines = if console.is_empty() { self.driver.log().lines() } else { console };
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

    /// Resident memory of the browser's processes in bytes, where the system tells. Pages that they share are counted in
    /// each of them.
    pub fn resident_bytes(&self) -> Option<u64> {
        process::resident_bytes(self.process)
    }

    /// Process id of the browser.
    pub fn process_id(&self) -> u32 {
        self.process
    }

    /// Calls `gone` once when the browser dies. The watch ends with the returned task, or with the runtime.
    pub(crate) fn watch(&self, gone: impl FnOnce(String) + Send + 'static) -> tokio::task::JoinHandle<()> {
        let (id, name, log) = (self.process, self.name.clone(), self.driver.log().clone());
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
        if let Some(webdriver) = self.webdriver.take() {
            let keep = webdriver.clone();
            if tokio::time::timeout(QUIT_LIMIT, webdriver.quit()).await.is_err() {
                tracing::debug!("{} did not quit within {} s, and is killed", self.name, QUIT_LIMIT.as_secs());
                let _ = keep.leak();
            }
        }
    }

    fn webdriver(&self) -> &WebDriver {
        self.webdriver.as_ref().expect("taken only when the browser quits")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(webdriver) = self.webdriver.take() {
            // It would quit by a blocking request otherwise; the driver's end does the same at once.
            let _ = webdriver.leak();
        }
    }
}

/// Adds what the console got since the last call to `log`; nothing where the browser does not answer.
async fn read_console(webdriver: &WebDriver, log: &Log) {
    let entries = tokio::time::timeout(CONSOLE_LIMIT, webdriver.browser_log()).await;
    for entry in entries.ok().and_then(Result::ok).unwrap_or_default() {
        tracing::debug!(target: "console", "{}: {}", entry.level, entry.message);
        log.push(format!("{}: {}", entry.level, entry.message));
    }
}

/// Whether a browser that has windows whatever it is told must be given a display of its own.
fn needs_display(vendor: &Vendor) -> Result<bool, HostError> {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !vendor.display || has_display {
        return Ok(false);
    }
    if find::on_path("Xvfb").is_none() {
        return Err(HostError::BrowserNotFound {
            browser: format!("Xvfb, the display that {} needs where there is none", vendor.name),
            looked: vec!["Xvfb on PATH".into()],
            hint: "install it (Debian: `apt-get install xvfb`), or set DISPLAY".into(),
        });
    }
    Ok(true)
}
