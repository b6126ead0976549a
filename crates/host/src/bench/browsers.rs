//! Browsers of this machine.

use std::path::PathBuf;

use webnibble_common::options::{BrowserKind, LaunchOptions};

/// The browsers of this system, and the one with WebNN that was fetched beside them, each as it is started.
pub fn browsers_here(launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let of = |kind: BrowserKind| LaunchOptions { browser: Some(kind), ..launch.clone() };
    let mut browsers: Vec<_> = crate::doctor::possible().map(of).collect();
    if let Some(binary) = webnn_browser() {
        let driver = launch.driver.clone().or_else(|| Some("chromedriver".into()));
        let binary = Some(binary.display().to_string());
        browsers.insert(1, LaunchOptions { browser_binary: binary, driver, ..of(BrowserKind::Chrome) });
    }
    browsers
}

/// The browser that `scripts/fetch-webnn-browser.sh` fetches, or that `$WEBNIBBLE_WEBNN_BROWSER` names.
fn webnn_browser() -> Option<PathBuf> {
    let named = std::env::var_os("WEBNIBBLE_WEBNN_BROWSER").filter(|path| !path.is_empty()).map(PathBuf::from);
    let fetched = || {
        let folders = std::fs::read_dir(crate::loader::cache_dir().join("browsers")).ok()?;
        let binaries = folders.flatten().map(|folder| folder.path().join("chrome-headless-shell"));
        binaries.into_iter().filter(|binary| binary.is_file()).max()
    };
    named.or_else(fetched)
}
