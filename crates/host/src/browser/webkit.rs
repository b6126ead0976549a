//! Safari, and WebKitGTK: Safari's engine on Linux.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};

use super::config::BrowserConfig;
use super::folder::TEMPORARY;
use super::process;
use super::program::Programs;
use super::vendor::{Ask, Headless, Port, Vendor};

/// Safari, on macOS. It has no headless mode.
pub(super) const SAFARI: Vendor = Vendor {
    name: "Safari",
    binaries: Programs {
        names: &[],
        places: &[
            "/Applications/Safari.app/Contents/MacOS/Safari",
            "/Applications/Safari Technology Preview.app/Contents/MacOS/Safari Technology Preview",
        ],
        // Asked for its version, it would open a window.
        tells_version: false,
        hint: "Safari comes with macOS; on Linux, --browser webkit runs its engine",
    },
    drivers: Programs {
        names: &["safaridriver"],
        places: &["/usr/bin/safaridriver"],
        tells_version: true,
        hint: "safaridriver comes with macOS: `safaridriver --enable` allows it once",
    },
    one_version: false,
    first_version: 0,
    port: Port::Given,
    headless: Headless::Never,
    process_id: None,
    driver_args: |_, _| Vec::new(),
    environment: |_, _| Vec::new(),
    capabilities: |_| json!({ "browserName": "safari" }),
};

/// WebKitGTK's MiniBrowser.
pub(super) const WEBKIT_GTK: Vendor = Vendor {
    name: "WebKitGTK's MiniBrowser",
    binaries: Programs {
        names: &[],
        places: &[
            "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
            "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.0/MiniBrowser",
            "/usr/lib/x86_64-linux-gnu/webkitgtk-6.0/MiniBrowser",
            "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
            "/usr/libexec/webkit2gtk-4.1/MiniBrowser",
            "/usr/libexec/webkitgtk-6.0/MiniBrowser",
            "/usr/lib/webkit2gtk-4.1/MiniBrowser",
        ],
        // It wants a display even for that.
        tells_version: false,
        hint: "install WebKitGTK (Debian: `apt-get install webkit2gtk-driver xvfb`), or name its MiniBrowser with \
            --browser-binary",
    },
    drivers: Programs {
        names: &["WebKitWebDriver"],
        places: &["/usr/libexec/webkit2gtk-4.1/WebKitWebDriver"],
        tells_version: false,
        hint: "run `webnibble drivers install --browser webkit` (Debian: `apt-get install webkit2gtk-driver`), or name it \
            with --driver",
    },
    one_version: false,
    first_version: 0,
    port: Port::Given,
    headless: Headless::OwnDisplay,
    process_id: None,
    driver_args: |_, _| Vec::new(),
    environment,
    capabilities,
};

fn environment(_config: &BrowserConfig, folder: &Path) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![("TMPDIR", folder.join(TEMPORARY).into_os_string())];
    for (name, within) in [("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")] {
        variables.push((name, folder.join(within).into_os_string()));
    }
    if process::is_root() {
        // Its sandbox refuses to work for root.
        variables.push(("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1".into()));
    }
    variables
}

fn capabilities(ask: &Ask<'_>) -> Value {
    let args = ask.config.launch.browser_args.clone().unwrap_or_default();
    let args: Vec<String> = std::iter::once("--automation".to_owned()).chain(args).collect();
    let mut asked = json!({ "args": args });
    if let Some(binary) = ask.binary {
        asked["binary"] = json!(binary);
    }
    json!({ "browserName": "MiniBrowser", "webkitgtk:browserOptions": asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safari_and_webkit_are_asked_for_in_their_words() {
        let config = BrowserConfig::new(Default::default());
        let binary = Some(Path::new("/w/MiniBrowser"));
        let ask = Ask { config: &config, binary, folder: None, as_root: false, trusted_origin: None };
        let webkit = (WEBKIT_GTK.capabilities)(&ask);
        assert_eq!(webkit["webkitgtk:browserOptions"], json!({ "binary": "/w/MiniBrowser", "args": ["--automation"] }));
        assert_eq!((SAFARI.capabilities)(&ask), json!({ "browserName": "safari" }));
    }
}
