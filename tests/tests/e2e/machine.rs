//! Machines as people have them: a proxy, a long or full folder for temporary files, an odd driver on PATH, little address
//! space, no display, a home that cannot be written; and what they type that is not there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use webnibble_tests::{
    Finished, PATIENCE, Running, Sandbox, browser_available, chromium, firefox, golden_bert, skip_unless, wait_until,
    webkit, webnn_browser,
};

/// A server on loopback that notes the first line of every request, and refuses all.
struct Refuser {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Refuser {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                let _ = BufReader::new(&stream).read_line(&mut line);
                noted.lock().unwrap().push(line.trim().to_owned());
                let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Whether it was asked for something at `host`.
    fn was_asked_for(&self, host: &str) -> bool {
        self.requests().iter().any(|request| request.contains(host))
    }
}

fn finish(command: Command) -> Finished {
    Running::of(command).finish(PATIENCE)
}

/// The command line with variables of its own.
fn run_with(sandbox: &Sandbox, args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = sandbox.command(args);
    command.envs(variables.iter().copied());
    finish(command)
}

/// Runs a command of a sandbox below a shell script, which ends in `exec "$@"`.
fn run_below(script: &str, inner: &Command) -> Finished {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    finish_piped(command)
}

fn finish_piped(mut command: Command) -> Finished {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

/// The golden model on three tokens, on a platform that every browser has.
fn golden_args(sandbox: &Sandbox) -> Vec<String> {
    golden_args_on(sandbox, "wasm")
}

/// The same on a platform.
fn golden_args_on(sandbox: &Sandbox, platform: &str) -> Vec<String> {
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3").unwrap();
    let (bert, ids) = (golden_bert().display().to_string(), ids.display().to_string());
    let args = ["run", "--json", "--gpu", "software", "--platform", platform, "--runs", "1", "--model", &bert];
    args.into_iter().chain(["--ids", &ids]).map(str::to_owned).collect()
}

fn script(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// PATH with these folders before it.
fn path_after(folders: &[PathBuf]) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folders.iter().cloned().chain(std::env::split_paths(&path))).unwrap()
}

/// Every spelling of the variables that name a proxy.
const SPELLINGS: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

fn a_browser_starts_behind_a_proxy(browser: &[String], variables: &[&[&str]]) {
    let (sandbox, proxy) = (Sandbox::default(), Refuser::start());
    let args = [golden_args(&sandbox), browser.to_vec()].concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    for names in variables {
        let mut command = sandbox.command(&args);
        for name in SPELLINGS.iter().chain(&["NO_PROXY", "no_proxy"]) {
            command.env_remove(name);
        }
        for name in *names {
            let value = if name.eq_ignore_ascii_case("NO_PROXY") { "elsewhere.example" } else { &proxy.url };
            command.env(name, value);
        }
        let finished = finish(command);
        assert_eq!(finished.code, Some(0), "{names:?}: {finished:?}");
        assert_eq!(finished.json()["implementation_type"], "REAL_WASM", "{names:?}: {finished:?}");
        assert_eq!(proxy.requests(), [] as [String; 0], "{names:?}");
    }
    sandbox.assert_clean();
}

#[test]
fn chromium_starts_behind_a_proxy_in_every_spelling() {
    skip_unless!(chromium());
    let (upper, lower) =
        (&["HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"][..], &["http_proxy", "all_proxy", "https_proxy"][..]);
    let spared = &["http_proxy", "HTTP_PROXY", "NO_PROXY"][..];
    a_browser_starts_behind_a_proxy(&chromium().unwrap(), &[upper, lower, &["ALL_PROXY"], spared]);
}

#[test]
fn firefox_starts_behind_a_proxy() {
    skip_unless!(firefox());
    a_browser_starts_behind_a_proxy(&firefox().unwrap(), &[&SPELLINGS]);
}

#[test]
fn webkit_starts_behind_a_proxy() {
    skip_unless!(webkit());
    a_browser_starts_behind_a_proxy(&webkit().unwrap(), &[&SPELLINGS]);
}

#[test]
fn downloads_and_servers_elsewhere_are_asked_through_the_proxy_and_those_here_are_not() {
    let proxy = Refuser::start();
    let sandbox = Sandbox::default();
    let proxied = [("http_proxy", proxy.url.as_str()), ("NO_PROXY", ""), ("no_proxy", "")];
    let with = |more: &[(&'static str, &str)], args: &[&str]| {
        let finished = run_with(&sandbox, args, &[&proxied[..], more].concat());
        assert_ne!(finished.code, Some(0), "the proxy refuses all: {finished:?}");
    };
    let model = ["run", "--text", "a", "--model", "an/unknown-model", "--platform", "wasm"];
    with(&[("HF_ENDPOINT", "http://hub.invalid")], &model);
    assert!(proxy.was_asked_for("hub.invalid"), "{:?}", proxy.requests());
    with(&[], &["run", "--text", "a", "--webdriver", "http://grid.invalid:4444"]);
    assert!(proxy.was_asked_for("grid.invalid"), "{:?}", proxy.requests());

    let (before, here) = (proxy.requests(), Refuser::start());
    with(&[("HF_ENDPOINT", &here.url)], &model);
    assert!(here.was_asked_for("an/unknown-model"), "{:?}", here.requests());
    let asked = here.requests().len();
    with(&[], &["run", "--text", "a", "--webdriver", &here.url]);
    assert!(here.requests().len() > asked && here.was_asked_for("/status"), "{:?}", here.requests());
    assert_eq!(proxy.requests(), before);
}

#[test]
fn the_mirror_of_drivers_is_asked_through_the_proxy_unless_it_is_here() {
    let sandbox = Sandbox::default();
    let programs = sandbox.path().join("chrome-bin");
    script(&programs.join("google-chrome"), "echo Google Chrome 999.0.1.2", 0o755);
    let proxy = Refuser::start();
    let install = |mirror: &str| {
        let mut command = sandbox.command(&["drivers", "install", "--browser", "chrome"]);
        // Without cargo, apt-get and their like: the mirror is all that is left.
        command.env("PATH", &programs).env("WEBNIBBLE_DRIVER_MIRROR", mirror);
        command.env("http_proxy", &proxy.url).env("NO_PROXY", "").env("no_proxy", "");
        finish(command)
    };
    let failed = install("http://mirror.invalid");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(proxy.was_asked_for("mirror.invalid"), "{:?}", proxy.requests());
    let (before, here) = (proxy.requests(), Refuser::start());
    install(&here.url);
    assert!(here.was_asked_for("LATEST_RELEASE_999"), "{:?}", here.requests());
    assert_eq!(proxy.requests(), before);
}

#[test]
fn a_browser_starts_where_the_path_of_temporary_files_is_long() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let long = sandbox.path().join("x".repeat(60));
    std::fs::create_dir(&long).unwrap();
    let args = [golden_args(&sandbox), vec!["--verbose".into()]].concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let finished = run_with(&sandbox, &args, &[("TMPDIR", long.to_str().unwrap())]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.json()["implementation_type"], "REAL_WASM");
    let (_, folder) = finished.stderr.split_once("the browser's files go into ").expect("their folder is logged");
    let folder = PathBuf::from(folder.lines().next().unwrap());
    assert!(!folder.starts_with(&long) && !folder.exists(), "{} is elsewhere, and gone", folder.display());
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
}

/// Whether file systems can be mounted for one command.
fn can_mount() -> Result<(), String> {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("no file system can be mounted here (root, unshare)".into()),
    }
}

#[test]
fn a_folder_that_is_full_or_cannot_be_written_is_named() {
    skip_unless!(browser_available(), can_mount());
    let sandbox = Sandbox::default();
    let place = sandbox.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let args = golden_args(&sandbox);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    for (options, words) in [("size=1m", "it is full"), ("ro", "may not write there")] {
        let mut inner = sandbox.command(&args);
        inner.env("TMPDIR", &place);
        let mount = format!("mount -t tmpfs -o {options} none \"$TMPDIR\" && exec \"$@\"");
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", &mount, "sh"]).arg(inner.get_program()).args(inner.get_args());
        shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let finished = finish_piped(shell);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let error = finished.json()["error"].clone();
        assert_eq!(error["code"], "browser_folder", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(place.to_str().unwrap()) && message.contains(words), "{message}");
        assert!(error["hint"].as_str().unwrap().contains("TMPDIR"), "{error}");
    }
}

#[test]
fn a_fitting_driver_behind_others_on_path_is_taken_and_not_installed_again() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let [old, broken] = ["old", "broken"].map(|name| sandbox.path().join(name));
    script(&old.join("chromedriver"), "echo ChromeDriver 99.0.1.2", 0o755);
    script(&broken.join("chromedriver"), "echo ChromeDriver 99.0.1.2", 0o644);
    let path = path_after(&[broken.clone(), old.clone()]);
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env("PATH", &path);
        finish(command)
    };
    let found = run(&["doctor", "--chrome", "--json"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let examination = &found.json()[0];
    let driver = PathBuf::from(examination["driver"].as_str().unwrap());
    assert!(!driver.starts_with(&old) && !driver.starts_with(&broken), "{examination}");
    let told = examination["passed_over"].to_string();
    let reason = |folder: &Path| {
        let all = examination["passed_over"].as_array().unwrap();
        let of = all.iter().find(|one| Path::new(one["path"].as_str().unwrap()).starts_with(folder));
        of.unwrap_or_else(|| panic!("{} is not told: {told}", folder.display()))["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason(&old).contains("99.0.1.2") && reason(&broken).contains("may not be executed"), "{told}");

    let installed = run(&["drivers", "install", "--browser", "chrome", "--json"]);
    let report = &installed.json()[0];
    assert_eq!(
        (installed.code, &report["status"], &report["failed"]),
        (Some(0), &"ready".into(), &serde_json::json!([]))
    );
}

#[test]
fn what_is_typed_and_not_there_exits_with_2_in_every_command() {
    let sandbox = Sandbox::default();
    let run = golden_args(&sandbox);
    let run: Vec<_> = run.iter().map(String::as_str).filter(|arg| *arg != "--json").collect();
    let bert = golden_bert();
    let bert = bert.to_str().unwrap();
    let commands = [
        &run[..],
        &["doctor"],
        &["verify"],
        &["demo", "--model", bert],
        &["bench", "--model", bert],
        &["bench", "--vs", "onnxruntime-web", "--model", bert],
        &["eval", "--data", "/no/such/data", "--platform", "wasm"],
    ];
    for command in commands {
        for (option, value, code) in [
            ("--browser-binary", "/no/such/browser", "not_there"),
            ("--browser-binary", "/", "not_there"),
            ("--driver", "no-such-driver", "not_there"),
            ("--webdriver", "localhost", "not_there"),
            ("--webdriver", "http://127.0.0.1:1", "webdriver_unreachable"),
        ] {
            let finished = sandbox.run(&[command, &["--json", option, value]].concat());
            assert_eq!(finished.code, Some(2), "{command:?} {option} {value}: {finished:?}");
            let document = finished.json();
            assert_eq!(
                (&document["status"], &document["error"]["code"]),
                (&"error".into(), &code.into()),
                "{document}"
            );
            assert!(document["error"]["message"].as_str().unwrap().contains(value), "{document}");
            assert!(!document["error"]["hint"].as_str().unwrap().is_empty(), "{document}");
        }
    }
    sandbox.assert_clean();
}

#[test]
fn what_is_typed_and_does_not_start_exits_with_1_and_nothing_stands_in() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let [old, broken, silent, driver] = ["old", "broken", "silent", "driver"].map(|name| sandbox.path().join(name));
    script(&old, "echo Chromium 99.0.1.2", 0o755);
    script(&broken, "echo Chromium 99.0.1.2", 0o644);
    script(&silent, "exit 3", 0o755);
    script(&driver, "[ \"$1\" = --version ] && echo ChromeDriver 99.0.1.2 || exit 3", 0o755);
    let server = Refuser::start();
    // A platform that is simulated where no browser is found.
    let run = golden_args_on(&sandbox, "webgpu");
    let run: Vec<_> = run.iter().map(String::as_str).collect();
    for (option, value, code) in [
        ("--browser-binary", old.to_str().unwrap(), "version_mismatch"),
        ("--browser-binary", broken.to_str().unwrap(), "browser_start"),
        ("--browser-binary", silent.to_str().unwrap(), "browser_start"),
        ("--driver", driver.to_str().unwrap(), "browser_start"),
        ("--webdriver", &server.url, "browser_start"),
    ] {
        let finished = sandbox.run(&[&run[..], &[option, value]].concat());
        assert_eq!(finished.code, Some(1), "{option} {value}: {finished:?}");
        let record = finished.json();
        assert_eq!(record["error"]["code"], code, "{option} {value}: {record}");
        assert!(record["implementation_type"].is_null() && record["output"].is_null(), "{record}");
        // A log that goes into a file has no colours.
        assert!(!finished.stderr.contains('\x1b'), "{finished:?}");
        assert!(option != "--driver" || finished.stderr.contains("trying all the same"), "{finished:?}");
        for other in [&["verify", "--json"][..], &["demo", "--json", "--model", golden_bert().to_str().unwrap()]] {
            let finished = sandbox.run(&[other, &[option, value]].concat());
            assert_eq!(finished.code, Some(1), "{other:?} {option} {value}: {finished:?}");
        }
    }
    sandbox.assert_clean();
}

#[test]
fn little_address_space_is_named_as_the_reason() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    let inner = sandbox.command(&["doctor", "--chrome", "--json"]);
    let finished = run_below("ulimit -v 20000000 && exec \"$@\"", &inner);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let error = &finished.json()[0]["error"];
    assert_eq!(error["code"], "browser_start", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("20.5 GB for address space (ulimit -v)") && !message.contains("not found"), "{message}");
    assert!(error["hint"].as_str().unwrap().contains("ulimit -v unlimited"), "{error}");
    sandbox.assert_clean();
}

#[test]
fn a_window_without_a_display_is_an_error_that_says_what_helps() {
    skip_unless!(browser_available());
    let sandbox = Sandbox::default();
    // A platform that is simulated where no browser is found.
    let run = golden_args_on(&sandbox, "webgpu");
    let run: Vec<_> = run.iter().map(String::as_str).chain(["--headed"]).collect();
    for (display, code, words) in [("", "no_display", "xvfb-run"), (":77", "browser_start", "DISPLAY=:77")] {
        let finished = run_with(&sandbox, &run, &[("DISPLAY", display), ("WAYLAND_DISPLAY", "")]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let error = finished.json()["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        let told = format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
        assert!(told.contains(words), "{told}");
        assert!(!error["message"].as_str().unwrap().contains('\n') && !told.contains("Stacktrace"), "{told}");
    }
    sandbox.assert_clean();
}

/// Whether commands can be run as a user without rights, who can read what they need.
fn can_be_nobody() -> Result<(), String> {
    let read = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x"])
        .arg(webnibble_tests::webnibble())
        .args(["-a", "-r"])
        .arg(golden_bert().join("config.json"))
        .output();
    match read {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("commands cannot be run as another user here (root, setpriv, a repository that all may read)".into()),
    }
}

#[test]
fn a_home_that_cannot_be_written_is_told_with_what_moves_the_cache() {
    skip_unless!(can_be_nobody());
    let sandbox = Sandbox::default();
    std::fs::set_permissions(sandbox.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let home = sandbox.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let args = golden_args(&sandbox);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut inner = sandbox.command(&args);
    inner.env("HOME", &home).env_remove("XDG_CACHE_HOME").env("TMPDIR", "/tmp");
    let finished = run_below("exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"", &inner);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let error = finished.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().contains(home.to_str().unwrap()), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("XDG_CACHE_HOME"), "{error}");
}

#[test]
fn firefox_starts_where_the_home_cannot_be_written() {
    skip_unless!(firefox());
    let sandbox = Sandbox::default();
    let args = [golden_args(&sandbox), firefox().unwrap()].concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let finished = run_with(&sandbox, &args, &[("HOME", "/proc/self")]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.json()["implementation_type"], "REAL_WASM");
    sandbox.assert_clean();
}

#[test]
fn the_browser_with_webnn_is_driven_by_a_newer_driver_without_a_warning() {
    skip_unless!(webnn_browser());
    let sandbox = Sandbox::default();
    let browser = webnn_browser().unwrap();
    // Its path alone: which driver drives it is known.
    let binary = &browser[1];
    let finished = run_with(&sandbox, &["doctor", "--browser-binary", binary], &[("WEBNIBBLE_WEBNN_BROWSER", binary)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!finished.stderr.contains("trying all the same"), "{finished:?}");
}

#[test]
fn serve_listens_at_a_name() {
    let sandbox = Sandbox::default();
    let running = sandbox.start(&["serve", "--addr", "localhost:0"]);
    wait_until("the URL is printed", PATIENCE, || running.stdout().contains('\n'));
    let url = running.stdout().lines().next().unwrap().to_owned();
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    assert!(address.ip().is_loopback(), "{url}");
    std::net::TcpStream::connect(address).unwrap();
}
