//! Processes of the system, found by what their command lines name.

use std::path::Path;

/// A process that is not a zombie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Its command line, words set apart by spaces.
    pub command: String,
}

impl Process {
    /// Whether it is a browser itself, and not one of its helpers, its driver or a shell.
    pub fn is_browser(&self) -> bool {
        let helpers = ["--type=", "chrome_crashpad_handler", "-contentproc", "crashhelper", "geckodriver"];
        let helper = helpers.iter().chain(&["/bin/sh", "sh -c"]).any(|part| self.command.contains(part));
        // Chromium, Firefox, WebKitGTK.
        let browser = ["--user-data-dir=", "--marionette", "/MiniBrowser"];
        browser.iter().any(|part| self.command.contains(part)) && !helper
    }

    /// Whether it is a helper of this kind: `renderer`, `gpu-process`.
    pub fn is_helper(&self, kind: &str) -> bool {
        self.command.contains(&format!("--type={kind}"))
    }
}

/// Every process whose command line or whose parent's names `path`, but for this one.
pub fn processes_naming(path: &Path) -> Vec<Process> {
    let path = path.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(Process, u32)> = ids.filter_map(|id| Some((read(id)?, parent(id)?))).collect();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let belongs = |(process, parent): &&(Process, u32)| {
            process.command.contains(&path) || found.iter().any(|one| one.id == *parent)
        };
        let is_new = |one: &&(Process, u32)| !found.contains(&one.0) && one.0.id != std::process::id();
        let more: Vec<Process> = all.iter().filter(belongs).filter(is_new).map(|one| one.0.clone()).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn read(id: u32) -> Option<Process> {
    let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    // A zombie has no command line.
    (!command.is_empty()).then_some(Process { id, command })
}

fn parent(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal by its name, `INT`, `TERM`, `HUP`, `KILL`, `STOP` or `CONT`. A process that is gone is no failure.
pub fn signal(id: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match name {
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no signal {other} here"),
    };
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("ids of processes are positive");
    let _ = kill_process(pid, signal);
}

/// Whether a client waits for a server at this loopback port to accept its connection.
pub fn client_waits(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // `sl local_address rem_address st tx_queue:rx_queue …`: of a listening socket, the second is the backlog.
        matches!(fields[..], [_, address, _, LISTEN, queues, ..]
            if address.ends_with(&local) && !queues.ends_with(":00000000"))
    })
}
