//! Processes of the system, as far as starting and ending browsers needs them.
//!
//! Linux tells through `/proc` which processes belong to a browser; elsewhere only groups and single processes are known.

use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to vanish before their files are removed all the same.
const VANISH_LIMIT: Duration = Duration::from_secs(3);

/// How often it is looked whether they have.
const VANISH_POLL: Duration = Duration::from_millis(10);

/// Whether this process has all rights.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    return false;
}

/// Kills a process group, and every other process whose command line names `folder`; waits until two looks in a row find
/// none: a process that is just being started has no command line for a moment.
/// Blocks for that long: it runs where nothing can be awaited, when a browser is dropped.
pub(super) fn kill_browser(group: u32, folder: &Path) {
    let deadline = Instant::now() + VANISH_LIMIT;
    let mut looks_without_any = 0;
    loop {
        kill_group(group);
        let left: Vec<u32> = all().into_iter().filter(|process| process.is_of(group, folder)).map(|p| p.id).collect();
        left.iter().for_each(|id| kill(*id));
        looks_without_any = if left.is_empty() { looks_without_any + 1 } else { 0 };
        if looks_without_any == 2 {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!("processes {left:?} of the browser did not end within {} s", VANISH_LIMIT.as_secs());
            return;
        }
        std::thread::sleep(VANISH_POLL);
    }
}

/// Whether a process is there and not a zombie. Where the system does not tell, `true`.
pub(super) fn is_alive(id: u32) -> bool {
    #[cfg(target_os = "linux")]
    return Process::read(id).is_some();
    #[cfg(all(unix, not(target_os = "linux")))]
    return pid(id).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    #[cfg(not(unix))]
    return id != 0;
}

/// The process right below `parent` whose command line names `program`.
pub(super) fn child_running(parent: u32, program: &Path) -> Option<u32> {
    all().into_iter().find(|process| process.parent == parent && process.names(program)).map(|process| process.id)
}

/// Memory of a process and all below it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrowserMemory {
    /// Resident pages; those that processes share are counted in each. `None` where the system does not tell.
    pub resident_bytes: Option<u64>,
    /// Resident pages, each divided among the processes that have it. `None` where the system does not tell.
    pub proportional_bytes: Option<u64>,
}

/// Memory of a process and all below it. A process that ends while it is looked at is left out.
pub(super) fn memory(root: u32) -> BrowserMemory {
    let family = family(root);
    let sum = |of: fn(u32) -> Option<u64>| family.iter().filter_map(|id| of(*id)).reduce(|sum, bytes| sum + bytes);
    BrowserMemory { resident_bytes: sum(resident_bytes_of), proportional_bytes: sum(proportional_bytes_of) }
}

/// A process and all below it.
fn family(root: u32) -> Vec<u32> {
    let processes = all();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(processes.iter().filter(|process| process.parent == parent).map(|process| process.id));
        next += 1;
    }
    family
}

/// `VmRSS` of one process, in bytes.
fn resident_bytes_of(id: u32) -> Option<u64> {
    bytes_in(&format!("/proc/{id}/status"), "VmRSS:")
}

/// `Pss` of one process, in bytes.
fn proportional_bytes_of(id: u32) -> Option<u64> {
    bytes_in(&format!("/proc/{id}/smaps_rollup"), "Pss:")
}

/// The figure after `name` in a file of `/proc`, which gives it in KiB.
fn bytes_in(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A process that is not a zombie.
struct Process {
    id: u32,
    parent: u32,
    group: u32,
}

impl Process {
    /// From `/proc/ID/stat`: `id (name) state parent group …`; the name may hold spaces and brackets.
    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!is_dead).then_some(Self { id, parent, group })
    }

    fn is_of(&self, group: u32, folder: &Path) -> bool {
        self.group == group || self.names(folder)
    }

    /// Whether the command line names a path.
    fn names(&self, path: &Path) -> bool {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.id)).unwrap_or_default();
        let path = path.as_os_str().as_encoded_bytes();
        // Never this process itself: a test may have been given the path.
        self.id != std::process::id() && command.windows(path.len()).any(|window| window == path)
    }
}

/// Every process that the system tells of; none where there is no `/proc`.
fn all() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(unix)]
fn pid(id: u32) -> Option<rustix::process::Pid> {
    i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
}

#[cfg(unix)]
fn kill_group(group: u32) {
    if let Some(pid) = pid(group) {
        // Gone already is as good.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(unix)]
fn kill(id: u32) {
    if let Some(pid) = pid(id) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
fn kill_group(id: u32) {
    // The driver's process ends with its tree.
    let _ = std::process::Command::new("taskkill").args(["/F", "/T", "/PID", &id.to_string()]).output();
}

#[cfg(not(unix))]
fn kill(_id: u32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn groups_and_those_who_name_the_folder_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut leader = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        // As a crash handler does: in a group of its own, but naming the folder.
        let mut stray = Command::new("sleep").arg0(folder.path()).arg("600").process_group(0).spawn().unwrap();
        let mut other = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        assert!(is_alive(leader.id()) && is_alive(stray.id()));
        // Its program runs once it can be named: until then it is a copy of this process.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !Process::read(stray.id()).is_some_and(|stray| stray.names(folder.path())) {
            assert!(Instant::now() < deadline, "the stray never names its folder");
            std::thread::yield_now();
        }
        kill_browser(leader.id(), folder.path());
        assert!(!is_alive(leader.id()) && !is_alive(stray.id()), "both are gone, or zombies");
        assert!(is_alive(other.id()), "nobody else is");
        other.kill().unwrap();
        for child in [&mut leader, &mut stray, &mut other] {
            child.wait().unwrap();
        }
    }

    #[test]
    fn memory_of_a_family_is_more_than_that_of_its_head() {
        let mut shell = Command::new("sh").args(["-c", "sleep 600 & wait"]).process_group(0).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while memory(shell.id()).resident_bytes <= resident_bytes_of(shell.id()) {
            assert!(Instant::now() < deadline, "the shell has no child");
            std::thread::yield_now();
        }
        let found = memory(shell.id());
        assert!(found.proportional_bytes > proportional_bytes_of(shell.id()), "{found:?}");
        // Both of them have the C library: it is counted once in one sum, and twice in the other.
        assert!(found.proportional_bytes < found.resident_bytes, "{found:?}");
        kill_group(shell.id());
        shell.wait().unwrap();
        assert_eq!(memory(shell.id()), BrowserMemory::default());
    }
}
