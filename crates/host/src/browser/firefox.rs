//! Firefox: its places, and its preferences, each with its reason.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Map, Value, json};
use webnibble_common::options::GpuProfile;

use super::config::BrowserConfig;
use super::folder::TEMPORARY;
use super::gpu;
use super::program::Programs;
use super::vendor::{Ask, Headless, Port, Vendor};

/// Firefox.
pub(super) const FIREFOX: Vendor = Vendor {
    name: "Firefox",
    binaries: Programs {
        names: &["firefox", "firefox-esr"],
        places: &[
            "/usr/lib/firefox/firefox",
            "/usr/lib/firefox-esr/firefox-esr",
            "/snap/bin/firefox",
            "/Applications/Firefox.app/Contents/MacOS/firefox",
            r"C:\Program Files\Mozilla Firefox\firefox.exe",
        ],
        tells_version: true,
        hint: "install Firefox (Debian: `apt-get install firefox-esr mesa-vulkan-drivers`), or name one with \
            --browser-binary",
    },
    drivers: Programs {
        names: &["geckodriver"],
        places: &["/snap/bin/geckodriver", "/opt/homebrew/bin/geckodriver"],
        tells_version: true,
        hint: "run `webnibble drivers install --browser firefox` (`cargo install geckodriver`), or name one with --driver",
    },
    one_version: false,
    // The first with WebGPU on some system, and with all that the wasm agent needs on every one.
    first_version: 141,
    port: Port::Told,
    headless: Headless::Mode,
    process_id: Some("moz:processID"),
    driver_args: |_, _| Vec::new(),
    environment,
    capabilities,
};

/// Preferences that do not depend on the GPU.
fn preferences() -> Map<String, Value> {
    let preferences = json!({
        // WebGPU, also in Workers, and on systems and drivers where it is not on by default.
        "dom.webgpu.enabled": true,
        "dom.webgpu.workers.enabled": true,
        "gfx.webgpu.ignore-blocklist": true,
        // The console goes to the output, where it is read for errors.
        "devtools.console.stdout.content": true,
        // Timestamps in full, as far as the browser lets pages have them.
        "privacy.reduceTimerPrecision": false,
        // Nothing but our page is to use network, processor or memory while it is measured.
        "app.update.enabled": false,
        "datareporting.policy.dataSubmissionEnabled": false,
        "extensions.update.enabled": false,
        "browser.safebrowsing.malware.enabled": false,
        "browser.safebrowsing.phishing.enabled": false,
        "network.captive-portal-service.enabled": false,
        "network.connectivity-service.enabled": false,
        // A page in a window that nobody looks at must compute as fast as one in front.
        "dom.min_background_timeout_value": 4,
        "dom.timeout.enable_budget_timer_throttling": false,
    });
    match preferences {
        Value::Object(map) => map,
        other => unreachable!("written as an object, found {other}"),
    }
}

fn environment(config: &BrowserConfig, folder: &Path) -> Vec<(&'static str, OsString)> {
    let mut variables = Vec::new();
    if cfg!(target_os = "linux") {
        // The driver makes the profile in there.
        variables.push(("TMPDIR", folder.join(TEMPORARY).into_os_string()));
        // Crash reports and caches would go to the user's own folders.
        variables.push(("XDG_CACHE_HOME", folder.join("cache").into_os_string()));
        variables.push(("MOZ_CRASHREPORTER_DISABLE", "1".into()));
    }
    let driver = match config.gpu {
        GpuProfile::Software => gpu::lavapipe_icd(),
        GpuProfile::NvidiaHeadless => gpu::nvidia_icd(),
        GpuProfile::System => None,
    };
    variables.extend(driver.map(|icd| (gpu::VULKAN_DRIVERS, icd.into_os_string())));
    variables
}

fn capabilities(ask: &Ask<'_>) -> Value {
    let mut args = ask.config.launch.browser_args.clone().unwrap_or_default();
    if ask.config.headless {
        args.push("-headless".into());
    }
    let mut preferences = preferences();
    if let Some(origin) = ask.trusted_origin {
        let host = origin.trim_start_matches("http://").split(':').next().unwrap_or_default();
        preferences.insert("dom.securecontext.allowlist".into(), json!(host));
    } else {
        // The page comes from this machine, whatever proxy the system has: 0 is none.
        preferences.insert("network.proxy.type".into(), json!(0));
    }
    let mut asked = json!({ "args": args, "prefs": preferences });
    if let Some(binary) = ask.binary {
        asked["binary"] = json!(binary);
    }
    json!({ "browserName": "firefox", "moz:firefoxOptions": asked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webgpu_is_on_in_pages_and_workers() {
        let config = BrowserConfig::new(Default::default());
        let binary = Some(Path::new("/f/firefox"));
        let ask = Ask { config: &config, binary, folder: None, as_root: false, trusted_origin: None };
        let options = &capabilities(&ask)["moz:firefoxOptions"];
        assert_eq!((&options["binary"], &options["args"]), (&json!("/f/firefox"), &json!(["-headless"])));
        for name in ["dom.webgpu.enabled", "dom.webgpu.workers.enabled", "gfx.webgpu.ignore-blocklist"] {
            assert_eq!(options["prefs"][name], true, "{name}");
        }
        assert_eq!(options["prefs"]["network.proxy.type"], 0);
        let trusting = Ask { trusted_origin: Some("http://host.example:8000"), ..ask };
        let options = &capabilities(&trusting)["moz:firefoxOptions"];
        assert_eq!(options["prefs"]["dom.securecontext.allowlist"], "host.example");
        assert!(options["prefs"]["network.proxy.type"].is_null(), "what leads to another machine is its own affair");
    }
}
