//! `make soak`: many runs in a row leave no process and no folder behind, and the host's memory where it was.
//!
//! `$SOAK_RUNS` runs (200) in this one process, each with a browser of its own, so that what the host keeps adds up; then a
//! tenth as many by the command line. One run in 20 is Firefox's, one in ten on WebGPU; one in 25 fails on purpose, since
//! what goes wrong is cleaned up elsewhere than what goes right. Exit status 1 when anything is left, fails or grows.

#![expect(clippy::print_stdout, reason = "a program that prints what it finds")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use webnibble_common::options::{BrowserKind, GpuProfile, LaunchOptions, MeasureOptions, Options, Platform, Settings};
use webnibble_common::quant::Bits;
use webnibble_common::record::RunRecord;
use webnibble_host::run::{Input, RunRequest, run};
use webnibble_tests::{Sandbox, browser_available, firefox, golden_bert, processes_naming};

/// Runs unless `$SOAK_RUNS` says otherwise.
const RUNS: usize = 200;

/// Runs after which memory should no longer grow, where there are enough of them; else a quarter.
const WARM_UP: usize = 20;

/// How much it may grow all the same: allocators keep what they may need again.
const GROWTH_LIMIT: f64 = 0.10;

/// Faults after which there is nothing more to learn.
const MOST_FAULTS: usize = 10;

/// Runs in a row of which the median counts.
const MEDIAN_OF: usize = 5;

/// How many more files may be open at the end: connections that are being closed.
const OPEN_FILES_LIMIT: usize = 8;

/// How long what was told to end may take.
const VANISH_LIMIT: Duration = Duration::from_secs(10);

/// Every so many runs is Firefox's, the rarest kind.
const FIREFOX_EVERY: usize = 20;

/// Names in the system's folders by which browsers leave something there.
const BROWSERS_NAMES: [&str; 6] = ["org.chromium", "org.mozilla", "mozprofile", "mozrunner", "Temp-", "MiniBrowser"];

/// What one run is.
#[derive(Clone, Copy)]
struct Kind {
    browser: BrowserKind,
    platform: Platform,
    /// Whether its input does not fit.
    bad: bool,
}

impl Kind {
    fn of(index: usize, firefox: bool) -> Self {
        let browser = if firefox && index % FIREFOX_EVERY == 9 { BrowserKind::Firefox } else { BrowserKind::Chrome };
        let platform = if index % 10 == 4 { Platform::Webgpu } else { Platform::Wasm };
        Self { browser, platform, bad: index % 25 == 17 }
    }

    fn request(self) -> RunRequest {
        let launch =
            LaunchOptions { browser: Some(self.browser), gpu: Some(GpuProfile::Software), ..LaunchOptions::default() };
        let options = Options {
            platform: Some(self.platform),
            settings: Settings { bits: Some(Bits::B8), ..Settings::default() },
            fallback: Some(false),
            measure: MeasureOptions { warmup: Some(1), runs: Some(3), profile: None },
            launch,
            ..Options::default()
        };
        // No vocabulary has that many words.
        let ids = if self.bad { vec![vec![1, u32::MAX]] } else { vec![vec![1, 2, 3, 4, 5]] };
        RunRequest {
            model: golden_bert().display().to_string(),
            options,
            input: Input::ids(ids),
            outputs: Vec::new(),
            generate: false,
            compare_f32: false,
            verbose: false,
            revision: String::new(),
            progress: None,
        }
    }

    /// Why a record is not what was to come of this run.
    fn fault(self, record: &RunRecord) -> Option<String> {
        match (&record.error, self.bad) {
            (Some(error), true) if error.code == "bad_input" => None,
            (Some(error), _) => Some(format!("{}: {}", error.code, error.message)),
            (None, true) => Some("an input that does not fit was taken".into()),
            (None, false) => {
                let cosine = record.performance_metrics.quantization_error.as_ref().map(|error| error.cosine);
                (!cosine.is_some_and(|cosine| cosine > 0.99)).then(|| format!("a wrong answer: cosine {cosine:?}"))
            }
        }
    }
}

/// What this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    rss_bytes: u64,
    open_files: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        Self {
            rss_bytes: number("VmRSS:") * 1024,
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            threads: number("Threads:") as usize,
        }
    }
}

/// Everything that went wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        println!("FAULT {fault}");
        self.0.push(fault);
    }
}

fn main() -> ExitCode {
    if let Err(reason) = browser_available() {
        println!("soak cannot run: {reason}");
        return ExitCode::FAILURE;
    }
    let runs = std::env::var("SOAK_RUNS").ok().map_or(RUNS, |text| text.parse().expect("SOAK_RUNS is a number"));
    let sandbox = Sandbox::default();
    let temporary = sandbox.path().join("host");
    std::fs::create_dir(&temporary).expect("the sandbox can be written");
    webnibble_host::loader::use_cache(sandbox.cache());
    // Where browsers' folders go.
    let _ = tempfile::env::override_temp_dir(&temporary);
    let before = left_by_browsers();
    let (began, mut faults) = (Instant::now(), Faults::default());

    let held = in_one_process(runs, &temporary, &mut faults);
    let host_s = began.elapsed().as_secs_f64();
    by_the_command_line(runs.div_ceil(10), &sandbox, &mut faults);

    let left = wait_for_less(|| left_behind(&sandbox, &temporary));
    let shared: Vec<_> = left_by_browsers().difference(&before).cloned().collect();
    // Other browsers of this machine have their files there too; ours would have one a run, of one kind at least.
    if shared.len() >= runs.div_ceil(FIREFOX_EVERY).max(2) {
        faults.add(format!("left behind in folders of the system: {shared:?}"));
    } else if !shared.is_empty() {
        println!("new in folders of the system, by whatever browser: {shared:?}");
    }
    left.iter().for_each(|one| faults.add(format!("left behind: {one}")));
    summary(runs, &held, &mut faults);
    // Once more, below the figures: whoever has only the end of a long log must find them.
    faults.0.iter().for_each(|fault| println!("FAULT {fault}"));
    println!(
        "soak: {runs} runs in one process in {host_s:.0} s, {} by the command line in {:.0} s; {} left behind, {} faults",
        runs.div_ceil(10),
        began.elapsed().as_secs_f64() - host_s,
        left.len(),
        faults.0.len()
    );
    if faults.0.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs with a browser each; what this process held at first and after each.
fn in_one_process(runs: usize, temporary: &Path, faults: &mut Faults) -> Vec<Held> {
    let runtime = runtime();
    let with_firefox = firefox().inspect_err(|reason| println!("without Firefox: {reason}")).is_ok();
    let mut held = vec![Held::now()];
    for index in 0..runs {
        if faults.0.len() >= MOST_FAULTS {
            println!("given up after {index} runs");
            break;
        }
        let kind = Kind::of(index, with_firefox);
        let record = runtime.block_on(run(kind.request()));
        if let Some(fault) = kind.fault(&record) {
            faults.add(format!("run {index}: {fault}"));
        }
        let left = wait_for_less(|| left_of(temporary));
        if !left.is_empty() {
            faults.add(format!("run {index} left behind: {}", left.join(", ")));
        }
        held.push(Held::now());
        if (index + 1) % 20 == 0 {
            println!("{:4} runs: {}", index + 1, told(held[index + 1]));
        }
    }
    held
}

/// A runtime of few threads. Allocators keep what was freed for each thread, and a thread's share shows only once it had
/// its turn: with few of them, what grows after the warm-up is what the host keeps.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(4).enable_all().build().expect("a runtime starts")
}

/// The same by processes of their own.
fn by_the_command_line(runs: usize, sandbox: &Sandbox, faults: &mut Faults) {
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3 4 5").expect("the sandbox can be written");
    let (bert, ids) = (golden_bert().display().to_string(), ids.display().to_string());
    for index in 0..runs {
        let args =
            ["run", "--json", "--platform", "wasm", "--runs", "3", "--bits", "8", "--model", &bert, "--ids", &ids];
        let finished = sandbox.run(&args);
        if finished.code != Some(0) {
            faults.add(format!("command {index}: {finished:?}"));
        }
        let left = wait_for_less(|| left_of(&sandbox.path().join("tmp")));
        if !left.is_empty() {
            faults.add(format!("command {index} left behind: {}", left.join(", ")));
        }
    }
}

/// Processes that name a folder, and what is in it.
fn left_of(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.map(|entry| entry.path().display().to_string());
    let processes = processes_naming(folder).into_iter();
    files.chain(processes.map(|process| format!("process {}: {}", process.id, process.command))).collect()
}

/// All that is left at the end, in the folders of the runs and below this process.
fn left_behind(sandbox: &Sandbox, temporary: &Path) -> Vec<String> {
    let mut left = left_of(temporary);
    left.extend(left_of(&sandbox.path().join("tmp")));
    left.extend(children().into_iter().map(|id| format!("process {id} below this one")));
    left
}

/// Processes right below this one, zombies among them.
fn children() -> Vec<u32> {
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.flat_map(|task| of(task).split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// What browsers have in the folders that they share with everybody.
fn left_by_browsers() -> BTreeSet<PathBuf> {
    let entries = ["/tmp", "/dev/shm"].into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| BROWSERS_NAMES.iter().any(|name| path.to_string_lossy().contains(name))).collect()
}

/// What is still there when it had time to go.
fn wait_for_less(mut left: impl FnMut() -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + VANISH_LIMIT;
    loop {
        let found = left();
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Prints what was held, and finds fault where it grew.
fn summary(runs: usize, held: &[Held], faults: &mut Faults) {
    let warm_up = WARM_UP.min(runs.div_ceil(4)).min(held.len() - 1);
    let around = |last: usize| median(&held[(last + 1).saturating_sub(MEDIAN_OF)..=last]);
    let (warm, end) = (around(warm_up), around(held.len() - 1));
    let most = held.iter().max_by_key(|held| held.rss_bytes).copied().unwrap_or(warm);
    for (when, held) in [("at first", held[0]), ("warm", warm), ("at the end", end), ("at most", most)] {
        println!("{when:>10}: {}", told(held));
    }
    let growth = end.rss_bytes as f64 / warm.rss_bytes.max(1) as f64 - 1.0;
    println!("{:>10}: {:+.1} % from run {warm_up} to the last, medians of {MEDIAN_OF} runs", "growth", growth * 100.0);
    if warm.rss_bytes == 0 || growth > GROWTH_LIMIT {
        faults.add(format!("memory grew by {:.1} %, allowed are {:.0} %", growth * 100.0, GROWTH_LIMIT * 100.0));
    }
    if end.open_files > warm.open_files + OPEN_FILES_LIMIT {
        faults.add(format!("{} files are open, {} were", end.open_files, warm.open_files));
    }
}

/// Each figure's median.
fn median(held: &[Held]) -> Held {
    fn middle<T: Ord + Copy>(held: &[Held], figure: impl Fn(&Held) -> T) -> T {
        let mut figures: Vec<T> = held.iter().map(figure).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    }
    Held {
        rss_bytes: middle(held, |held| held.rss_bytes),
        open_files: middle(held, |held| held.open_files),
        threads: middle(held, |held| held.threads),
    }
}

fn told(held: Held) -> String {
    let Held { rss_bytes, open_files, threads } = held;
    format!("{:.1} MB resident, {open_files} open files, {threads} threads", rss_bytes as f64 / 1e6)
}
