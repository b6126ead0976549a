//! A folder for the temporary files of one command, by which its processes are known too.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{PATIENCE, Process, packages, processes_naming, repository, signal, wait_until, webnibble};

/// How long the processes of a command that ended may take to be gone.
const CLEAN_LIMIT: Duration = Duration::from_secs(10);

/// A folder of its own for what a command writes, removed at the end. Packages are made once and shared by all.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    shares_packages: bool,
}

/// A command that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Capture,
    stderr: Capture,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
    /// How long its end was waited for.
    pub took: Duration,
}

/// Reads a pipe to its end, so that the command never waits for us.
#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(mut pipe: impl std::io::Read + Send + 'static) -> Self {
        let all = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&all);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                sink.lock().expect("nothing panics under this lock").extend_from_slice(&bytes[..count]);
            }
        });
        Self { bytes: all, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nothing panics under this lock")).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        let folder = tempfile::Builder::new().prefix("webnibble-test-").tempdir().expect("a temporary folder");
        Self { folder, shares_packages: true }
    }
}

impl Sandbox {
    /// One whose packages are its own: for tests that look at them or damage them.
    pub fn with_own_packages() -> Self {
        Self { shares_packages: false, ..Self::default() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its cache.
    pub fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// Its cache for a host in this process, with the packages that all tests share.
    pub fn cache_with_packages(&self) -> PathBuf {
        packages::share(&self.cache());
        self.cache()
    }

    /// The command line with these arguments, its temporary files and its cache in here.
    pub fn command(&self, args: &[&str]) -> Command {
        let (temporary, cache) = (self.path().join("tmp"), self.cache());
        std::fs::create_dir_all(&temporary).expect("the sandbox can be written");
        if self.shares_packages {
            packages::share(&cache.join("webnibble"));
        }
        let mut command = Command::new(webnibble());
        command.args(args).env("TMPDIR", temporary).env("XDG_CACHE_HOME", cache);
        command.env("WEBNIBBLE_ASSETS", repository()).env_remove("RUST_LOG");
        command.env("WEBNIBBLE_HISTORY", self.path().join("history.sqlite"));
        let models = crate::mini_lm().parent().map(Path::to_path_buf);
        command.env("WEBNIBBLE_MODELS", models.expect("the model lies in a folder"));
        // What a person has of the hub, and how they reach it, is no part of a test.
        command.env("HF_HOME", self.path().join("hub"));
        for name in ["HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the command line.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::of(self.command(args))
    }

    /// Runs the command line to its end.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.start(args).finish(PATIENCE)
    }

    /// Processes that were started in here.
    pub fn processes(&self) -> Vec<Process> {
        processes_naming(self.path())
    }

    /// Waits until no process is left, and checks that no temporary file is.
    #[track_caller]
    pub fn assert_clean(&self) {
        let mut left = Vec::new();
        let deadline = Instant::now() + CLEAN_LIMIT;
        loop {
            let files = std::fs::read_dir(self.path().join("tmp")).into_iter().flatten().flatten();
            left.clear();
            left.extend(files.map(|entry| entry.path().display().to_string()));
            left.extend(self.processes().into_iter().map(|process| format!("{} {}", process.id, process.command)));
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(crate::POLL);
        }
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }
}

impl Running {
    /// Starts a command of a [`Sandbox`].
    pub fn of(mut command: Command) -> Running {
        let mut child = command.spawn().expect("the command starts");
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        Running { child, stdout: Capture::of(stdout), stderr: Capture::of(stderr) }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// What it printed on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Waits until it says `words` on stderr.
    #[track_caller]
    pub fn wait_for_log(&mut self, words: &str) {
        wait_until(&format!("`{words}` on stderr"), PATIENCE, || {
            let ended = self.status().is_some();
            let said = if ended { self.stderr.all() } else { self.stderr() };
            assert!(!ended || said.contains(words), "it ended without saying `{words}`:\n{said}");
            said.contains(words)
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end.
    ///
    /// Panics with what it said when it does not end within `limit`.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.status() {
                break status;
            }
            assert!(began.elapsed() < limit, "it did not end within {} s:\n{}", limit.as_secs(), self.stderr());
            std::thread::sleep(crate::POLL);
        };
        let took = began.elapsed();
        Finished { code: status.code(), stdout: self.stdout.all(), stderr: self.stderr.all(), took }
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The document on stdout.
    ///
    /// Panics with everything that was printed when there is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(document) => document,
            Err(error) => panic!("stdout is no JSON document ({error}): {self:?}"),
        }
    }
}
