//! A real Selenium Grid on this machine: a hub and nodes, each a process with all of its files in a folder of its own, so
//! that a node can be killed with its drivers and browsers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, Process, browser_available, cache, on_path, processes_naming, signal, wait_until};

/// As `scripts/fetch-selenium-grid.sh` names it.
const JAR: &str = "selenium-server-4.20.0.jar";

/// How long a server may take for its status.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// A grid. Dropping it kills all of its processes.
#[derive(Debug)]
pub struct Grid {
    url_port: u16,
    // Nodes before the hub that they talk to, processes before their files.
    nodes: Vec<Node>,
    _hub: Server,
    _folder: TempDir,
}

/// A node of a grid, for Chromium.
#[derive(Debug)]
pub struct Node {
    server: Server,
}

/// A Java process with its folder.
#[derive(Debug)]
struct Server {
    child: Child,
    folder: PathBuf,
}

/// Whether a grid can be started here, with Chromium on its nodes.
///
/// # Errors
/// The reason why not.
pub fn grid_available() -> Result<(), String> {
    browser_available()?;
    on_path("java").ok_or("no java on PATH (make setup)")?;
    if jar().is_file() { Ok(()) } else { Err(format!("no {} (scripts/fetch-selenium-grid.sh)", jar().display())) }
}

fn jar() -> PathBuf {
    let tools = std::env::var_os("WEBNIBBLE_TOOLS").filter(|path| !path.is_empty());
    tools.map_or_else(|| cache().join("webnibble/tools"), PathBuf::from).join(JAR)
}

impl Grid {
    /// Starts a hub and nodes with so many slots each, and waits until all of them are there.
    pub fn start(slots: &[usize]) -> Self {
        let folder = tempfile::Builder::new().prefix("webnibble-grid-").tempdir().expect("a temporary folder");
        let [url_port, publish, subscribe] = free_ports();
        let bus = ["--publish-events", &tcp(publish), "--subscribe-events", &tcp(subscribe)].map(str::to_owned);
        let mut hub = vec!["hub".to_owned(), "--port".into(), url_port.to_string()];
        // A node that does not answer is taken off the grid soon.
        hub.extend(["--healthcheck-interval".into(), "2".into()]);
        hub.extend(bus.clone());
        let hub = Server::start(folder.path().join("hub"), &hub);
        let node =
            |(index, slots): (usize, &usize)| Node::start(folder.path().join(format!("node{index}")), *slots, &bus);
        let nodes = slots.iter().enumerate().map(node).collect();
        let grid = Self { url_port, nodes, _hub: hub, _folder: folder };
        let all = slots.iter().sum::<usize>();
        wait_until("all nodes are on the grid", PATIENCE, || grid.slots().is_some_and(|slots| slots.len() == all));
        grid
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.url_port)
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Sessions that the grid knows of; `None` where it does not say.
    pub fn sessions(&self) -> Option<usize> {
        Some(self.slots()?.iter().filter(|slot| !slot["session"].is_null()).count())
    }

    /// Slots for Chrome on nodes that are up; `None` where the grid does not say.
    fn slots(&self) -> Option<Vec<Value>> {
        let status = self.status()?;
        let up = status["value"]["nodes"].as_array()?.iter().filter(|node| node["availability"] == "UP");
        Some(up.flat_map(|node| node["slots"].as_array().cloned().unwrap_or_default()).collect())
    }

    fn status(&self) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.url_port)).ok()?;
        stream.set_read_timeout(Some(STATUS_LIMIT)).ok()?;
        write!(stream, "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let (from, to) = (answer.find('{')?, answer.rfind('}')?);
        serde_json::from_str(&answer[from..=to]).ok()
    }
}

impl Node {
    fn start(folder: PathBuf, slots: usize, bus: &[String]) -> Self {
        let [port] = free_ports();
        let driver = on_path("chromedriver").expect("looked for before");
        let args = ["node", "--port", &port.to_string(), "--detect-drivers", "false", "--selenium-manager", "false"];
        let more = ["--max-sessions", &slots.to_string(), "--override-max-sessions", "true", "--heartbeat-period", "2"];
        let driver = [
            "--driver-configuration".to_owned(),
            "display-name=chrome".into(),
            format!("max-sessions={slots}"),
            format!("webdriver-path={}", driver.display()),
            r#"stereotype={"browserName":"chrome"}"#.into(),
        ];
        let mut all: Vec<String> = args.iter().chain(&more).map(|&arg| arg.to_owned()).collect();
        all.extend(bus.iter().cloned().chain(driver));
        Self { server: Server::start(folder, &all) }
    }

    /// Its browsers.
    pub fn browsers(&self) -> Vec<Process> {
        processes_naming(&self.server.folder).into_iter().filter(Process::is_browser).collect()
    }

    /// Kills the node with all that runs on it, as when its machine dies.
    pub fn kill(&self) {
        self.server.kill();
    }
}

impl Server {
    fn start(folder: PathBuf, args: &[String]) -> Self {
        std::fs::create_dir_all(&folder).expect("the grid's folder can be written");
        let log = std::fs::File::create(folder.join("log")).expect("the grid's folder can be written");
        let mut command = Command::new("java");
        // A quick start counts here, not a long life.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
        command.arg(format!("-Djava.io.tmpdir={}", folder.display())).arg("-jar").arg(jar()).args(args);
        command.args(["--host", "127.0.0.1", "--tracing", "false"]);
        // Its manager of browsers would ask the network at every start.
        command.env("TMPDIR", &folder).env("SE_OFFLINE", "true").env("SE_AVOID_STATS", "true");
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("files can be shared")).stdout(log);
        let child = command.process_group(0).spawn().expect("java starts");
        Self { child, folder }
    }

    fn kill(&self) {
        wait_until("the killed processes are gone", PATIENCE, || {
            let left = processes_naming(&self.folder);
            left.iter().for_each(|process| signal(process.id, "KILL"));
            left.is_empty()
        });
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
        #[expect(clippy::print_stdout, reason = "a test that failed shows what the grid said")]
        if std::thread::panicking() {
            println!("--- log of {}:\n{}", self.folder.display(), self.log());
        }
    }
}

fn tcp(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

/// Ports that were free a moment ago, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
