//! A driver's process: started on a free port, in a process group of its own, and killed with all it started.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::error::BrowserError;
use super::vendor::Port;
use super::{folder, process};
use crate::error::HostError;
use crate::proxy;

/// How long a driver may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long the last words of a driver may take.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);

/// How often it is tried whether a driver listens that does not tell.
const LISTEN_POLL: Duration = Duration::from_millis(20);

/// Lines kept of what driver and browser print.
const KEPT_LINES: usize = 40;

/// Keeps watch in case this process is killed without a chance to clean up: its end of the pipe closes then, and a shell
/// in the driver's group ends the group and removes the browser's files (`$0`), once more after that from outside the group:
/// a browser that is slow to end writes on. Otherwise it is killed with the group.
#[cfg(unix)]
const WATCH: &str = r#"exec 3<&0
(trap "" TERM; read _ <&3; kill -TERM 0; sleep 1; rm -rf "$0"
setsid sh -c 'sleep 2; rm -rf "$0"' "$0" & sleep 1; kill -KILL 0) &
exec "$@" </dev/null 3<&-"#;

/// Starts an X server without a screen first, which goes with the group too. It leaves no socket and, started by root, no
/// lock file behind: clients reach it by its abstract socket.
#[cfg(unix)]
const DISPLAY: &str = r#"mkfifo "$TMPDIR/display"
Xvfb -displayfd 3 -screen 0 1280x1024x24 -nolock -nolisten tcp -nolisten unix 3>"$TMPDIR/display" >/dev/null 2>&1 &
read -r number <"$TMPDIR/display"
unset WAYLAND_DISPLAY
GDK_BACKEND=x11 DISPLAY=":$number" exec "$@""#;

/// How a driver is started.
pub(super) struct DriverStart<'a> {
    /// The driver.
    pub(super) program: &'a Path,
    /// How it comes to its port.
    pub(super) port: Port,
    /// More arguments.
    pub(super) args: &'a [&'a str],
    /// Whether it is to have a display of its own.
    pub(super) display: bool,
}

/// A driver that listens on loopback, with a folder for the files of its browser. Dropping it kills both and removes it.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    /// Held open: its end tells the watch that this process is gone.
    _lifeline: ChildStdin,
    group: u32,
    port: u16,
    log: Log,
    // After the process: it must be gone before its files are.
    folder: TempDir,
}

/// The last lines that driver and browser printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// Adds a line; the oldest goes where there are too many.
    pub(super) fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Driver {
    /// Starts a driver with a fresh folder for the browser's files.
    pub(super) async fn start(
        start: DriverStart<'_>,
        environment: impl FnOnce(&Path) -> Vec<(&'static str, OsString)>,
    ) -> Result<Self, HostError> {
        let DriverStart { program, args, .. } = start;
        let folder = folder::make()?;
        tracing::debug!("the browser's files go into {}", folder.path().display());
        let given = match start.port {
            Port::Told => None,
            Port::Given => Some(free_port().map_err(HostError::io("cannot find a free port"))?),
        };
        let mut command = command(program, folder.path(), start.display);
        command.arg(format!("--port={}", given.unwrap_or(0))).args(args).envs(environment(folder.path()));
        // What driver and browser have to do with each other, and with us, is on this machine.
        for name in proxy::VARIABLES {
            command.env_remove(name);
        }
        if !can_write_home() {
            // Firefox waits for ever for a home that it cannot write.
            command.env("HOME", folder.path());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |reason: String, log: &Log| BrowserError::Start {
            browser: program.display().to_string(),
            reason,
            log: log.lines(),
        };
        let log = Log::default();
        let mut child = command.spawn().map_err(|error| failed(error.to_string(), &log))?;
        let group = child.id().expect("a child that was not waited for has an id");
        let lifeline = child.stdin.take().expect("piped");
        let (ports, mut port_found) = unbounded_channel();
        let readers = [
            read_lines(child.stdout.take().expect("piped"), log.clone(), Some(ports)),
            read_lines(child.stderr.take().expect("piped"), log.clone(), None),
        ];
        let mut driver = Self { child, _lifeline: lifeline, group, port: 0, log, folder };
        let listening = async {
            match given {
                Some(port) => Some(listens(port).await),
                None => port_found.recv().await,
            }
        };
        let reason = tokio::select! {
            Some(port) = listening => {
                tracing::debug!("{} listens on port {port}", program.display());
                driver.port = port;
                return Ok(driver);
            }
            status = driver.child.wait() => match status {
                Ok(status) => format!("the driver ended at once: {status}"),
                Err(error) => format!("the driver cannot be waited for: {error}"),
            },
            () = tokio::time::sleep(START_LIMIT) => {
                format!("the driver did not listen within {} s", START_LIMIT.as_secs())
            }
        };
        let log = driver.log.clone();
        drop(driver);
        // With the processes gone, the pipes end, and the last words are there.
        let _ = tokio::time::timeout(LAST_WORDS_LIMIT, futures_util::future::join_all(readers)).await;
        Err(failed(reason, &log).into())
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of the browser's files: it goes away with the driver.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What driver and browser printed last.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Process id of the driver, which is that of its group too.
    pub(super) fn id(&self) -> u32 {
        self.group
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        process::kill_browser(self.group, self.folder.path());
        // Takes the exit status, so that no zombie stays while this process lives.
        let _ = self.child.try_wait();
    }
}

/// Whether this user may write the home that the environment names, where there is one.
fn can_write_home() -> bool {
    #[cfg(unix)]
    return std::env::home_dir().is_some_and(|home| rustix::fs::access(home, rustix::fs::Access::WRITE_OK).is_ok());
    #[cfg(not(unix))]
    return true;
}

/// A port that was free a moment ago: for drivers that do not tell which one they took.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until somebody listens at a loopback port.
async fn listens(port: u16) -> u16 {
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(LISTEN_POLL).await;
    }
    port
}

#[cfg(unix)]
fn command(program: &Path, folder: &Path, display: bool) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(WATCH).arg(folder);
    if display {
        command.args(["/bin/sh", "-c", DISPLAY, "display"]);
    }
    command.arg(program).process_group(0);
    command
}

#[cfg(not(unix))]
fn command(program: &Path, _folder: &Path, _display: bool) -> Command {
    Command::new(program)
}

/// Reads lines until the stream ends; the port in the first that tells one goes to `ports`.
fn read_lines(
    stream: impl AsyncRead + Unpin + Send + 'static,
    log: Log,
    mut ports: Option<UnboundedSender<u16>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // Browsers may print anything: bytes, not text.
        while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            tracing::debug!(target: "browser", "{text}");
            if let Some(port) = port_in(&text)
                && let Some(ports) = ports.take()
            {
                let _ = ports.send(port);
            }
            log.push(text);
        }
    })
}

/// The port in `ChromeDriver was started successfully on port 44533.` or `geckodriver INFO Listening on 127.0.0.1:44533`.
fn port_in(line: &str) -> Option<u16> {
    let (_, chrome) = line.split_once("started successfully on port ").unwrap_or_default();
    let (_, gecko) = line.rsplit_once("Listening on 127.0.0.1:").unwrap_or_default();
    chrome.trim_end_matches('.').parse().or_else(|_| gecko.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line_that_tells_it() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 44533."), Some(44533));
        assert_eq!(port_in("Starting ChromeDriver 156.0 on port 0"), None);
        assert_eq!(port_in("1795311309989\tgeckodriver\tINFO\tListening on 127.0.0.1:39011"), Some(39011));
    }

    #[test]
    fn the_log_keeps_the_last_lines() {
        let log = Log::default();
        (0..KEPT_LINES + 2).for_each(|i| log.push(i.to_string()));
        assert_eq!((log.lines().len(), log.lines()[0].as_str()), (KEPT_LINES, "2"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_driver_that_ends_at_once_is_an_error_with_its_words() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("driver");
        std::fs::write(&program, "#!/bin/sh\necho cannot work >&2; exit 1\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        for port in [Port::Told, Port::Given] {
            let start = DriverStart { program: &program, port, args: &[], display: false };
            let error = Driver::start(start, |_| vec![]).await.unwrap_err();
            assert!(error.to_string().contains("ended at once"), "{error}");
            assert!(error.hint().contains("cannot work"), "{}", error.hint());
        }
    }
}
