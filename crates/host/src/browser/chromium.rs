//! Chrome, Chromium and Edge: one engine, one kind of driver, and one table of flags, each with its reason.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Value, json};
use webnibble_common::options::GpuProfile;

use super::config::BrowserConfig;
use super::folder::TEMPORARY;
use super::gpu;
use super::program::{Fit, FoundBrowser, Programs};
use super::vendor::{Ask, Headless, Port, Vendor};

/// Chrome or Chromium.
pub(super) const CHROME: Vendor = Vendor {
    name: "Chrome or Chromium",
    binaries: Programs {
        names: &["google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser"],
        places: &[
            "/opt/google/chrome/chrome",
            "/usr/lib/chromium/chromium",
            "/snap/bin/chromium",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
            r"C:\Program Files\Google\Chrome\Application\chrome.exe",
            r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
        ],
        tells_version: true,
        hint: "install Chromium (Debian: `apt-get install chromium chromium-driver`, or `make setup`), or name one with \
            --browser-binary",
    },
    drivers: Programs {
        names: &["chromedriver"],
        places: &[
            "/usr/lib/chromium/chromedriver",
            "/usr/lib/chromium-browser/chromedriver",
            "/snap/bin/chromium.chromedriver",
            "/opt/homebrew/bin/chromedriver",
        ],
        tells_version: true,
        hint: "run `webnibble drivers install --browser chrome` (Debian: `apt-get install chromium-driver`), or name one of \
            the browser's version with --driver",
    },
    one_version: true,
    first_version: 113,
    port: Port::Told,
    headless: Headless::Mode,
    process_id: Some("goog:processID"),
    driver_args,
    environment,
    capabilities: chrome_capabilities,
};

/// Microsoft Edge.
pub(super) const EDGE: Vendor = Vendor {
    name: "Edge",
    binaries: Programs {
        names: &["microsoft-edge", "microsoft-edge-stable", "msedge"],
        places: &[
            "/opt/microsoft/msedge/msedge",
            "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
            r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
            r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
        ],
        tells_version: true,
        hint: "install Microsoft Edge, or name one with --browser-binary",
    },
    drivers: Programs {
        names: &["msedgedriver"],
        places: &["/usr/local/bin/msedgedriver", "/opt/homebrew/bin/msedgedriver"],
        tells_version: true,
        hint: "run `webnibble drivers install --browser edge`, or name one of the browser's version with --driver",
    },
    // Its processes are found below the driver's.
    process_id: None,
    capabilities: edge_capabilities,
    ..CHROME
};

fn driver_args(config: &BrowserConfig, found: &FoundBrowser) -> Vec<&'static str> {
    let logs = config.verbose.then_some("--enable-chrome-logs");
    logs.into_iter().chain((found.fit != Fit::Fits).then_some("--disable-build-check")).collect()
}

fn chrome_capabilities(ask: &Ask<'_>) -> Value {
    let name = if ask.binary.is_some_and(is_headless_shell) { "chrome-headless-shell" } else { "chrome" };
    capabilities_of(name, ["goog", "chromeOptions"], ask)
}

fn edge_capabilities(ask: &Ask<'_>) -> Value {
    capabilities_of("MicrosoftEdge", ["ms", "edgeOptions"], ask)
}

fn capabilities_of(name: &str, [prefix, options]: [&str; 2], ask: &Ask<'_>) -> Value {
    let mut asked = json!({ "args": arguments(ask) });
    if let Some(binary) = ask.binary {
        asked["binary"] = json!(binary);
    }
    json!({
        "browserName": name,
        format!("{prefix}:{options}"): asked,
        format!("{prefix}:loggingPrefs"): { "browser": "ALL" },
    })
}

/// Whether a binary is Chrome without any window at all, by the name under which it is shipped. Drivers have another
/// name for it, and wait in vain for its first window under that of the whole browser.
fn is_headless_shell(binary: &Path) -> bool {
    let name = binary.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.replace('_', "-").contains("headless-shell")
}

/// Flags that do not depend on the GPU.
const COMMON: &[&str] = &[
    // A fresh profile asks questions otherwise.
    "--no-first-run",
    "--no-default-browser-check",
    // Nothing but our page is to use network, processor or memory while it is measured.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    // A page in a window that nobody looks at must compute as fast as one in front.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    // Names of adapters in full, and timestamps that are not rounded to 100 µs.
    "--enable-webgpu-developer-features",
];

/// Features of Chromium that are off by default. One flag holds all of them: the last of several would win.
const FEATURES: &[&str] = &["WebMachineLearningNeuralNetwork"];

/// `/dev/shm` is small in containers, and a page that does not fit crashes.
const LINUX: &[&str] = &["--disable-dev-shm-usage"];

/// What makes Chromium find its GPU.
struct GpuFlags {
    profile: GpuProfile,
    args: &'static [&'static str],
    features: &'static [&'static str],
    /// Whether the Vulkan loader is to see NVIDIA's driver alone.
    nvidia_driver: bool,
}

const GPU: &[GpuFlags] = &[
    GpuFlags {
        profile: GpuProfile::Software,
        args: &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
        features: &[],
        nvidia_driver: false,
    },
    GpuFlags {
        profile: GpuProfile::System,
        args: &["--enable-unsafe-webgpu", "--ignore-gpu-blocklist"],
        features: &[],
        nvidia_driver: false,
    },
    GpuFlags {
        profile: GpuProfile::NvidiaHeadless,
        args: &[
            "--enable-unsafe-webgpu",
            "--ignore-gpu-blocklist",
            "--use-angle=vulkan",
            "--disable-vulkan-surface",
            // Dawn keeps `shader-f16` from NVIDIA's driver without these.
            "--enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis",
        ],
        features: &["Vulkan"],
        nvidia_driver: true,
    },
];

/// The arguments of Chromium, the caller's own last.
fn arguments(ask: &Ask<'_>) -> Vec<String> {
    let mut more = ask.config.launch.browser_args.clone().unwrap_or_default();
    if ask.config.verbose {
        more.push("--enable-logging=stderr".into());
    }
    let row = row_of(ask.config.gpu);
    let mut args: Vec<String> = COMMON.iter().chain(row.args).map(|&arg| arg.to_owned()).collect();
    if cfg!(target_os = "linux") {
        args.extend(LINUX.iter().map(|&arg| arg.to_owned()));
    }
    if ask.config.headless {
        args.push("--headless=new".into());
    }
    if ask.as_root {
        // Chromium's sandbox refuses to work for root.
        args.push("--no-sandbox".into());
    }
    args.extend(ask.folder.map(|folder| format!("--user-data-dir={}", folder.join("profile").display())));
    match ask.trusted_origin {
        Some(origin) => args.push(format!("--unsafely-treat-insecure-origin-as-secure={origin}")),
        // The page comes from this machine, whatever proxy the system has.
        None if !more.iter().any(|arg| arg.starts_with("--proxy-")) => args.push("--no-proxy-server".into()),
        None => {}
    }
    let mut features: Vec<&str> = FEATURES.iter().chain(row.features).copied().collect();
    for arg in &more {
        match arg.strip_prefix("--enable-features=") {
            Some(theirs) => features.extend(theirs.split(',')),
            None => args.push(arg.clone()),
        }
    }
    args.push(format!("--enable-features={}", features.join(",")));
    args
}

/// Variables of the environment that the browser needs beside its flags.
fn environment(config: &BrowserConfig, folder: &Path) -> Vec<(&'static str, OsString)> {
    // Crash reports go away with the folder, and their handler can be told from other browsers'.
    let mut variables = vec![("BREAKPAD_DUMP_LOCATION", folder.join("crashes").into_os_string())];
    if cfg!(target_os = "linux") {
        // A browser that is killed leaves its temporary files. Elsewhere it takes the system's folder, as far as we know.
        variables.push(("TMPDIR", folder.join(TEMPORARY).into_os_string()));
    }
    if row_of(config.gpu).nvidia_driver {
        variables.extend(gpu::nvidia_icd().map(|icd| (gpu::VULKAN_DRIVERS, icd.into_os_string())));
    }
    variables
}

fn row_of(gpu: GpuProfile) -> &'static GpuFlags {
    GPU.iter().find(|row| row.profile == gpu).expect("every profile has a row")
}

#[cfg(test)]
mod tests {
    use webnibble_common::options::LaunchOptions;

    use super::*;

    fn config(gpu: GpuProfile, more: &[&str]) -> BrowserConfig {
        let browser_args = Some(more.iter().map(|&arg| arg.to_owned()).collect());
        BrowserConfig::new(LaunchOptions { gpu: Some(gpu), browser_args, ..LaunchOptions::default() })
    }

    fn ask(config: &BrowserConfig) -> Ask<'_> {
        let (binary, folder) = (Some(Path::new("/e/browser")), Some(Path::new("/p")));
        Ask { config, binary, folder, as_root: true, trusted_origin: None }
    }

    fn of(gpu: GpuProfile, more: &[&str]) -> Vec<String> {
        arguments(&ask(&config(gpu, more)))
    }

    #[test]
    fn the_software_profile_asks_for_swiftshader() {
        let args = of(GpuProfile::Software, &[]);
        for arg in [
            "--use-webgpu-adapter=swiftshader",
            "--headless=new",
            "--no-sandbox",
            "--user-data-dir=/p/profile",
            "--no-proxy-server",
        ] {
            assert!(args.iter().any(|one| one == arg), "no {arg} in {args:?}");
        }
        assert!(!args.iter().any(|arg| arg.contains("vulkan")));
    }

    #[test]
    fn features_are_one_flag_with_the_callers_among_them() {
        let args = of(GpuProfile::NvidiaHeadless, &["--enable-features=A,B", "--x"]);
        let features: Vec<_> = args.iter().filter(|arg| arg.starts_with("--enable-features=")).collect();
        assert_eq!(features, ["--enable-features=WebMachineLearningNeuralNetwork,Vulkan,A,B"]);
        assert!(args.iter().any(|arg| arg == "--x"));
        assert!(args.iter().any(|arg| arg.contains("vulkan_enable_f16_on_nvidia")));
    }

    #[test]
    fn a_window_and_a_sandbox_are_kept_where_they_can_be() {
        let config = BrowserConfig { headless: false, ..config(GpuProfile::System, &[]) };
        let args = arguments(&Ask { as_root: false, ..ask(&config) });
        assert!(!args.iter().any(|arg| arg.starts_with("--headless") || arg == "--no-sandbox"));
    }

    #[test]
    fn the_headless_shell_is_known_by_its_name() {
        for name in ["/opt/chrome-headless-shell", "/a/headless_shell", "C:/chrome-headless-shell.exe"] {
            assert!(is_headless_shell(name.as_ref()), "{name}");
        }
        assert!(!is_headless_shell("/usr/bin/chromium".as_ref()));
        assert!(!is_headless_shell("/opt/headless-shell/chrome".as_ref()));
    }

    #[test]
    fn edge_is_asked_for_in_its_own_words() {
        let config = config(GpuProfile::System, &[]);
        let edge = edge_capabilities(&ask(&config));
        assert_eq!(
            (&edge["browserName"], &edge["ms:edgeOptions"]["binary"]),
            (&json!("MicrosoftEdge"), &json!("/e/browser"))
        );
        assert_eq!(edge["ms:loggingPrefs"]["browser"], "ALL");
        let chrome = chrome_capabilities(&ask(&config));
        assert!(chrome["goog:chromeOptions"]["args"].is_array() && chrome["goog:loggingPrefs"].is_object());
    }

    #[test]
    fn a_remote_browser_has_its_own_place_and_trusts_our_origin() {
        let config = config(GpuProfile::Software, &[]);
        let remote = Ask {
            binary: None,
            folder: None,
            as_root: false,
            trusted_origin: Some("http://host.example:8000"),
            ..ask(&config)
        };
        let options = &chrome_capabilities(&remote)["goog:chromeOptions"];
        assert!(options["binary"].is_null());
        let args: Vec<_> = options["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        assert!(args.contains(&"--unsafely-treat-insecure-origin-as-secure=http://host.example:8000"), "{args:?}");
        let of_this_machine = ["--user-data-dir", "--no-sandbox", "--no-proxy-server"];
        assert!(!args.iter().any(|arg| of_this_machine.iter().any(|own| arg.starts_with(own))), "{args:?}");
    }

    #[test]
    fn every_profile_has_a_row() {
        for gpu in GpuProfile::ALL {
            assert!(!of(*gpu, &[]).is_empty());
        }
    }
}
