//! Which browsers, and how they are started.

use clap::{ArgGroup, Args};
use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions};

use super::switch::switch;

/// One browser, and how it is started.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Browser")]
#[command(group = ArgGroup::new("which_browser").args(["browser", "chrome", "firefox", "edge", "safari"]))]
pub(crate) struct LaunchArgs {
    /// chrome (or Chromium), firefox, edge, safari, webkit
    #[arg(long, value_name = "BROWSER")]
    browser: Option<BrowserKind>,
    #[command(flatten)]
    short: ShortArgs,
    #[command(flatten)]
    start: StartArgs,
}

impl LaunchArgs {
    /// The options that were typed.
    pub(crate) fn options(&self) -> LaunchOptions {
        LaunchOptions { browser: self.browser.or_else(|| self.short.kinds().next()), ..self.start.options() }
    }
}

/// Some browsers, and how they are started.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Browser")]
pub(crate) struct BrowsersArgs {
    /// chrome (or Chromium), firefox, edge, safari, webkit; several: chrome,firefox
    #[arg(long, alias = "browsers", value_name = "BROWSER,…", value_delimiter = ',', num_args = 1..)]
    browser: Vec<BrowserKind>,
    #[command(flatten)]
    short: ShortArgs,
    #[command(flatten)]
    start: StartArgs,
}

impl BrowsersArgs {
    /// The browsers that were named, each once.
    pub(crate) fn kinds(&self) -> Vec<BrowserKind> {
        let mut found = Vec::new();
        for kind in self.browser.iter().copied().chain(self.short.kinds()) {
            if !found.contains(&kind) {
                found.push(kind);
            }
        }
        found
    }

    /// How each is started; which they are, [`Self::kinds`] says.
    pub(crate) fn options(&self) -> LaunchOptions {
        self.start.options()
    }
}

/// Browsers by flags of their own.
#[derive(Clone, Debug, Args)]
struct ShortArgs {
    /// Short for --browser chrome
    #[arg(long)]
    chrome: bool,
    /// Short for --browser firefox
    #[arg(long)]
    firefox: bool,
    /// Short for --browser edge
    #[arg(long)]
    edge: bool,
    /// Short for --browser safari
    #[arg(long)]
    safari: bool,
}

impl ShortArgs {
    fn kinds(&self) -> impl Iterator<Item = BrowserKind> + use<> {
        let typed = [
            (self.chrome, BrowserKind::Chrome),
            (self.firefox, BrowserKind::Firefox),
            (self.edge, BrowserKind::Edge),
            (self.safari, BrowserKind::Safari),
        ];
        typed.into_iter().filter_map(|(typed, kind)| typed.then_some(kind))
    }
}

/// How a browser is started.
#[derive(Clone, Debug, Args)]
struct StartArgs {
    /// Without a window (the default)
    #[arg(long, overrides_with = "headed")]
    headless: bool,
    /// With a window
    #[arg(long)]
    headed: bool,
    /// Path of the browser
    #[arg(long, value_name = "FILE")]
    browser_binary: Option<String>,
    /// Path of its driver
    #[arg(long, value_name = "FILE")]
    driver: Option<String>,
    /// More arguments for the browser; give it as --browser-arg=--flag
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    browser_arg: Vec<String>,
    /// Where WebGPU runs: software, system, nvidia-headless
    #[arg(long, value_name = "PROFILE")]
    gpu: Option<GpuProfile>,
    /// A WebDriver server or Selenium Grid that runs already: http://127.0.0.1:4444
    #[arg(long, value_name = "URL")]
    webdriver: Option<String>,
    /// Host name by which a browser on another machine reaches this one
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
}

impl StartArgs {
    fn options(&self) -> LaunchOptions {
        LaunchOptions {
            browser: None,
            headless: switch(self.headless, self.headed),
            gpu: self.gpu,
            browser_binary: self.browser_binary.clone(),
            driver: self.driver.clone(),
            browser_args: (!self.browser_arg.is_empty()).then(|| self.browser_arg.clone()),
            webdriver: self.webdriver.clone(),
            advertise: self.advertise.clone(),
        }
    }
}
