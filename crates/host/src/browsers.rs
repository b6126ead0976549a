//! Which browsers a command looks at: those that were named, or all that can be here, and beside them the one with WebNN
//! that was fetched.

use std::path::PathBuf;

use webnibble_common::options::{BrowserKind, LaunchOptions};

use crate::disk::cache_dir;

/// The script of the repository that fetches a browser with WebNN.
pub const WEBNN_SCRIPT: &str = "scripts/fetch-webnn-browser.sh";

/// Browsers that can be on this system.
pub fn possible() -> impl Iterator<Item = BrowserKind> {
    let here = |kind: &BrowserKind| match kind {
        BrowserKind::Safari => cfg!(target_os = "macos"),
        BrowserKind::Webkit => cfg!(target_os = "linux"),
        BrowserKind::Chrome | BrowserKind::Firefox | BrowserKind::Edge => true,
    };
    BrowserKind::ALL.iter().copied().filter(here)
}

/// The browsers that were named, each as it is started; where none was, [`browsers_here`]. A binary or a driver that is named
/// is one browser's: Chrome's, unless said otherwise.
pub fn browsers_for(named: &[BrowserKind], launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let of = |kind: &BrowserKind| LaunchOptions { browser: Some(*kind), ..launch.clone() };
    match named {
        [] if launch.browser_binary.is_some() || launch.driver.is_some() => vec![of(&BrowserKind::Chrome)],
        [] => browsers_here(launch),
        named => named.iter().map(of).collect(),
    }
}

/// The browsers of this system, and the one with WebNN that was fetched beside them, each as it is started.
pub fn browsers_here(launch: &LaunchOptions) -> Vec<LaunchOptions> {
    let of = |kind: BrowserKind| LaunchOptions { browser: Some(kind), ..launch.clone() };
    let mut browsers: Vec<_> = possible().map(of).collect();
    // A WebDriver server elsewhere has none of the files here.
    if let (Some(binary), None) = (webnn_browser(), &launch.webdriver) {
        let binary = Some(binary.display().to_string());
        browsers.insert(1, LaunchOptions { browser_binary: binary, ..of(BrowserKind::Chrome) });
    }
    browsers
}

/// What to say where no browser with WebNN was fetched, on the one system for which there is one to fetch.
pub fn webnn_browser_missing() -> Option<String> {
    (can_be_fetched() && webnn_browser().is_none()).then(|| {
        format!("no browser with a WebNN backend was fetched: `{WEBNN_SCRIPT}` fetches a Chromium that has one (70 MB)")
    })
}

/// Whether [`WEBNN_SCRIPT`] has a browser for this system.
pub(crate) const fn can_be_fetched() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

/// A browser as tables name it: its kind, with the file where it is not the one that is found by itself.
pub fn name_of(launch: &LaunchOptions) -> String {
    let kind = launch.browser.unwrap_or(BrowserKind::Chrome);
    match launch.browser_binary.as_deref() {
        Some(path) => format!("{kind} ({})", path.rsplit(['/', '\\']).next().unwrap_or(path)),
        None => kind.to_string(),
    }
}

/// The browser that `$WEBNIBBLE_WEBNN_BROWSER` names, or that the script fetched to where it fetches to.
pub(crate) fn webnn_browser() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    set("WEBNIBBLE_WEBNN_BROWSER").or_else(|| {
        let folder = set("WEBNIBBLE_BROWSERS").unwrap_or_else(|| cache_dir().join("browsers"));
        fetched(&folder)
    })
}

/// The newest browser in a folder that the script fetches to.
fn fetched(folder: &std::path::Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(folder).ok()?;
    let binaries = folders.flatten().map(|folder| folder.path().join("chrome-headless-shell"));
    binaries.filter(|binary| binary.is_file()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_named_is_looked_at_and_nobody_else() {
        let launch = LaunchOptions::default();
        let kinds = |named: &[BrowserKind], launch: &LaunchOptions| {
            browsers_for(named, launch).iter().map(|one| one.browser.unwrap()).collect::<Vec<_>>()
        };
        let named = [BrowserKind::Firefox, BrowserKind::Chrome];
        assert_eq!(kinds(&named, &launch), named);
        let binary = LaunchOptions { browser_binary: Some("/b".into()), ..LaunchOptions::default() };
        assert_eq!(kinds(&[], &binary), [BrowserKind::Chrome]);
        assert_eq!(kinds(&[BrowserKind::Edge], &binary), [BrowserKind::Edge]);
        let elsewhere = LaunchOptions { webdriver: Some("http://grid".into()), ..LaunchOptions::default() };
        assert_eq!(kinds(&[], &elsewhere), possible().collect::<Vec<_>>());
    }

    #[test]
    fn what_the_script_fetched_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fetched(folder.path()), None);
        for version in ["152.0.0", "153.0.0"] {
            let browser = folder.path().join(format!("webnn-chromium-{version}"));
            std::fs::create_dir(&browser).unwrap();
            std::fs::write(browser.join("chrome-headless-shell"), "").unwrap();
        }
        let newest = folder.path().join("webnn-chromium-153.0.0/chrome-headless-shell");
        assert_eq!(fetched(folder.path()), Some(newest.clone()));
        let launch = LaunchOptions { browser_binary: Some(newest.display().to_string()), ..LaunchOptions::default() };
        assert_eq!(name_of(&launch), "chrome (chrome-headless-shell)");
        assert_eq!(name_of(&LaunchOptions::default()), "chrome");
    }
}
