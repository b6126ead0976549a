//! `drivers install`, with programs that only pretend: nothing of this machine is changed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use webnibble_tests::{Finished, PATIENCE, Running, Sandbox};

/// A program in `folder` that runs `script`.
fn program(folder: &Path, name: &str, script: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script that writes a program which prints `version` to `path`.
fn writes(path: &str, version: &str) -> String {
    format!(
        "mkdir -p \"$(dirname \"{path}\")\"; printf '#!/bin/sh\\necho {version}\\n' > \"{path}\"; chmod 755 \"{path}\""
    )
}

/// Runs the command with nothing on PATH but `programs` of the sandbox and the shell's own.
fn run(sandbox: &Sandbox, programs: &Path, args: &[&str]) -> Finished {
    let shell = sandbox.path().join("shell");
    std::fs::create_dir_all(&shell).unwrap();
    for name in ["sh", "env", "mkdir", "dirname", "chmod", "printf", "echo"] {
        let _ = std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), shell.join(name));
    }
    let path = std::env::join_paths([programs, &shell]).unwrap();
    let mut command = sandbox.command(&[&["drivers", "install", "--json"], args].concat());
    // Nothing is fetched: nobody listens there.
    command.env("PATH", path).env("WEBNIBBLE_DRIVER_MIRROR", "http://127.0.0.1:1");
    Running::of(command).finish(PATIENCE)
}

#[test]
fn a_driver_of_another_version_is_replaced_by_the_systems_packages() {
    let sandbox = Sandbox::default();
    let programs = sandbox.path().join("chromium-bin");
    program(&programs, "chromium", "echo Chromium 999.0.1.2 built on Test");
    program(&programs, "chromedriver", "echo ChromeDriver 998.0.1.2");
    let calls = sandbox.path().join("calls");
    let driver = programs.join("chromedriver");
    let installing = writes(driver.to_str().unwrap(), "ChromeDriver 999.0.1.2");
    let installs = format!("echo \"$*\" >> {}\ncase $1 in install) {installing};; esac", calls.display());
    program(&programs, "apt-get", &installs);
    program(&programs, "sudo", "shift; exec \"$@\"");

    let planned = run(&sandbox, &programs, &["--browser", "chrome", "--dry-run"]);
    let report = &planned.json()[0];
    assert_eq!((planned.code, &report["status"]), (Some(0), &"planned".into()), "{planned:?}");
    assert_eq!((&report["route"], calls.exists()), (&"apt-get chromium-driver".into(), false));

    let done = run(&sandbox, &programs, &["--browser", "chrome"]);
    let report = &done.json()[0];
    assert_eq!((done.code, &report["status"]), (Some(0), &"installed".into()), "{done:?}");
    assert_eq!((&report["version"], &report["driver_version"]), (&"999.0.1.2".into(), &"999.0.1.2".into()));
    let called = std::fs::read_to_string(&calls).unwrap();
    assert!(called.contains("update") && called.contains("chromium-driver"), "{called}");

    let again = run(&sandbox, &programs, &["--browser", "chrome"]);
    assert_eq!((again.code, &again.json()[0]["status"]), (Some(0), &"ready".into()), "{again:?}");
}

#[test]
fn what_cargo_installs_is_found_where_no_package_manager_is() {
    let sandbox = Sandbox::default();
    let programs = sandbox.path().join("firefox-bin");
    program(&programs, "firefox", "echo Mozilla Firefox 999.0esr");
    program(
        &programs,
        "cargo",
        &format!("while [ \"$1\" != --root ]; do shift; done\n{}", writes("$2/bin/geckodriver", "geckodriver 0.99.0")),
    );
    let done = run(&sandbox, &programs, &["--browser", "firefox"]);
    let report = &done.json()[0];
    assert_eq!((done.code, &report["status"]), (Some(0), &"installed".into()), "{done:?}");
    assert_eq!((&report["route"], &report["driver_version"]), (&"cargo install geckodriver".into(), &"0.99.0".into()));
}

#[test]
fn routes_that_fail_are_named_with_what_they_said() {
    let sandbox = Sandbox::default();
    let programs = sandbox.path().join("chromium-bin");
    program(&programs, "chromium", "echo Chromium 999.0.1.2");
    program(&programs, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100");
    program(&programs, "sudo", "shift; exec \"$@\"");
    let failed = run(&sandbox, &programs, &["--browser", "chrome"]);
    let chrome = &failed.json()[0];
    assert_eq!((failed.code, &chrome["status"]), (Some(1), &"failed".into()), "{failed:?}");
    let reasons: Vec<_> =
        chrome["failed"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains("Unable to locate package"), "{reasons:?}");
    assert!(reasons[1].contains("LATEST_RELEASE_999"), "{reasons:?}");
    assert_eq!(chrome["error"]["code"], "driver_not_found");
}
