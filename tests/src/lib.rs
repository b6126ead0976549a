//! Harness of the end-to-end tests: the command line in a sandbox of its own, and what it leaves behind.
//!
//! A test that cannot run here prints `skipped: <reason>` and passes; see [`skip_unless!`].
//!
//! Unix only: signals and `/proc` tell what is left behind.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

mod grid;
mod packages;
mod processes;
mod sandbox;

pub use grid::{Grid, Node, grid_available};
pub use processes::{Process, client_waits, processes_naming, signal};
pub use sandbox::{Finished, Running, Sandbox};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Ends a test with the reason why it cannot run here.
#[macro_export]
macro_rules! skip_unless {
    ($($available:expr),+ $(,)?) => {
        $(if let Err(reason) = $available {
            println!("skipped: {reason}");
            return;
        })+
    };
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository").to_owned()
}

/// The command line: `$WEBNIBBLE_BIN`, else built from this repository, so that no older one is tested.
pub fn webnibble() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("WEBNIBBLE_BIN").map_or_else(built, PathBuf::from))
}

/// The command line, built once for all tests of one run of nextest, each of which is a process of its own.
fn built() -> PathBuf {
    let Some(run) = std::env::var_os("NEXTEST_RUN_ID") else { return build() };
    let folder = repository().join("target/tests/built");
    let of_run = folder.join(run);
    if let Ok(path) = std::fs::read_link(&of_run) {
        return path;
    }
    let binary = build();
    // Those of earlier runs are of no use. Two tests that begin at once do the same.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("target/ can be written");
    let _ = std::os::unix::fs::symlink(&binary, &of_run);
    binary
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // With an example, and of the whole workspace: so the features of dependencies are those of the tests, and nothing
    // is built twice.
    build.current_dir(repository()).args(["build", "--quiet", "--message-format=json"]);
    build.args(["--workspace", "--bin", "webnibble", "--example", "soak"]);
    let output = build.output().expect("cargo runs");
    assert!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str().filter(|_| message["target"]["name"] == "webnibble");
        executable.map(PathBuf::from)
    });
    executable.expect("cargo names the executable that it built")
}

/// Whether a browser, its driver and the built page are here.
///
/// # Errors
/// The reason why not.
pub fn browser_available() -> Result<(), String> {
    if !["chromium", "google-chrome", "chromium-browser"].iter().any(|name| on_path(name).is_some()) {
        return Err("no Chromium on PATH (make setup)".into());
    }
    if on_path("chromedriver").is_none() {
        return Err("no chromedriver on PATH (make setup)".into());
    }
    if !repository().join("pkg/baseline/webnibble_agent_bg.wasm").is_file() {
        return Err("no pkg/baseline/webnibble_agent_bg.wasm (make wasm)".into());
    }
    Ok(())
}

/// Chromium and its driver, as arguments: none, since it is what is taken unless another is named.
///
/// # Errors
/// The reason why there is none.
pub fn chromium() -> Result<Vec<String>, String> {
    browser_available().map(|()| Vec::new())
}

/// The browser with a WebNN backend, as `scripts/fetch-webnn-browser.sh` puts it, or `$WEBNIBBLE_WEBNN_BROWSER`; its
/// driver is the one on PATH, whatever its version.
///
/// # Errors
/// The reason why there is none.
pub fn webnn_browser() -> Result<Vec<String>, String> {
    browser_available()?;
    let named = std::env::var_os("WEBNIBBLE_WEBNN_BROWSER").filter(|path| !path.is_empty()).map(PathBuf::from);
    let browser =
        named.unwrap_or_else(|| cache().join("webnibble/browsers/webnn-chromium-153.0.0/chrome-headless-shell"));
    if !browser.is_file() {
        return Err(format!("no browser with WebNN in {} (scripts/fetch-webnn-browser.sh)", browser.display()));
    }
    let driver = on_path("chromedriver").ok_or("no chromedriver on PATH (make setup)")?;
    let text = |path: &Path| path.display().to_string();
    Ok(vec!["--browser-binary".into(), text(&browser), "--driver".into(), text(&driver)])
}

/// Whether Node.js is here.
///
/// # Errors
/// The reason why not.
pub fn node_available() -> Result<(), String> {
    on_path("node").map(drop).ok_or_else(|| "no node on PATH (make setup)".into())
}

/// Firefox and its driver, as arguments.
///
/// # Errors
/// The reason why there is none.
pub fn firefox() -> Result<Vec<String>, String> {
    browser_available()?;
    on_path("firefox").or_else(|| on_path("firefox-esr")).ok_or("no Firefox on PATH (make setup)")?;
    on_path("geckodriver").ok_or("no geckodriver on PATH (make setup)")?;
    Ok(vec!["--browser".into(), "firefox".into()])
}

/// WebKitGTK and its driver, as arguments.
///
/// # Errors
/// The reason why there is none.
pub fn webkit() -> Result<Vec<String>, String> {
    browser_available()?;
    on_path("WebKitWebDriver").ok_or("no WebKitWebDriver on PATH (make setup)")?;
    on_path("Xvfb").ok_or("no Xvfb on PATH, without which it has windows that are seen (make setup)")?;
    Ok(vec!["--browser".into(), "webkit".into()])
}

/// The folder of a family's committed model with random weights, and its answers.
pub fn golden_model(family: &str) -> PathBuf {
    repository().join("tests/data/goldens").join(family)
}

/// The folder of the committed classifier of digits, with its test set.
pub fn digits() -> PathBuf {
    repository().join("tests/data/digits")
}

/// That of BERT.
pub fn golden_bert() -> PathBuf {
    golden_model("bert")
}

/// Whether the real model is here, as `scripts/fetch-models.sh` puts it.
///
/// # Errors
/// The reason why not.
pub fn mini_lm_available() -> Result<(), String> {
    let folder = mini_lm();
    if folder.join("model.safetensors").is_file() {
        return Ok(());
    }
    Err(format!("no all-MiniLM-L6-v2 in {} (make model)", folder.display()))
}

/// The folder of the real model.
pub fn mini_lm() -> PathBuf {
    models().join("all-MiniLM-L6-v2")
}

/// Whether a real model of text is there (`scripts/fetch-models.sh smollm2`), on which tests show that an answer makes sense.
///
/// # Errors
/// The reason why not.
pub fn smol_lm_available() -> Result<(), String> {
    let file = smol_lm();
    if file.is_file() { Ok(()) } else { Err(format!("no {} (scripts/fetch-models.sh smollm2)", file.display())) }
}

/// The real model of text.
pub fn smol_lm() -> PathBuf {
    models().join("SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn models() -> PathBuf {
    let models = std::env::var_os("WEBNIBBLE_MODELS").filter(|path| !path.is_empty());
    models.map_or_else(|| cache().join("webnibble/models"), PathBuf::from)
}

/// A program on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The folder of caches, before a sandbox has one of its own.
fn cache() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cache");
    std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map_or_else(home, PathBuf::from)
}

/// Waits until `condition` holds.
///
/// Panics when it does not within `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {} s", limit.as_secs());
        std::thread::sleep(POLL);
    }
}
