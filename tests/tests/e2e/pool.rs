//! The pool on a real Selenium Grid: nodes that die, browsers that crash, grids that are full or not there.

use std::collections::BTreeMap;

use webnibble_common::options::{LaunchOptions, MeasureOptions, Options, Platform};
use webnibble_common::record::RunRecord;
use webnibble_host::Pool;
use webnibble_host::run::{Input, RunRequest};
use webnibble_tests::{
    Grid, PATIENCE, Running, Sandbox, browser_available, golden_bert, grid_available, signal, skip_unless, wait_until,
};

use crate::golden::{answer, error, golden};
use crate::opened::own_cache;

/// The golden model as a package, its inputs and its answer.
struct Golden {
    package: String,
    input: Input,
    expected: Vec<f32>,
}

impl Golden {
    fn new(sandbox: &Sandbox) -> Self {
        let (input, expected) = golden();
        let package = sandbox.path().join("bert.safetensors").display().to_string();
        let made = sandbox.run(&["quantize", golden_bert().to_str().unwrap(), &package, "--bits", "32"]);
        assert_eq!(made.code, Some(0), "{made:?}");
        Self { package, input: Input::Tensors { tensors: input }, expected }
    }

    fn request(&self) -> RunRequest {
        let options = Options {
            platform: Some(Platform::Wasm),
            measure: MeasureOptions { warmup: Some(1), runs: Some(500), profile: None },
            ..Options::default()
        };
        RunRequest {
            model: self.package.clone(),
            options,
            input: self.input.clone(),
            outputs: Vec::new(),
            generate: false,
            compare_f32: false,
            verbose: false,
            revision: String::new(),
            progress: None,
        }
    }

    #[track_caller]
    fn check(&self, record: &RunRecord) {
        assert_eq!(record.error, None);
        let found = error(&answer(record), &self.expected);
        assert!(found <= 1e-3, "{found:.2e}");
    }
}

/// How a browser of the grid is started. The page is reached by another name than that of this machine's loopback, as from
/// another machine; the browser is then no relation of ours, and whoever runs its node as root says so.
fn launch(grid: &str) -> LaunchOptions {
    LaunchOptions {
        webdriver: Some(grid.to_owned()),
        advertise: Some("127.0.0.2".into()),
        browser_args: Some(vec!["--no-sandbox".into()]),
        ..LaunchOptions::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// After a pool has ended: the grid has no session, and the nodes that live have no browser.
fn assert_no_session(grid: &Grid) {
    wait_until("the grid has no session", PATIENCE, || grid.sessions() == Some(0));
    wait_until("the nodes have no browser", PATIENCE, || grid.nodes().iter().all(|node| node.browsers().is_empty()));
}

#[test]
fn forty_runs_on_four_sessions_survive_a_dead_node_and_a_crashed_browser() {
    const RUNS: usize = 40;
    skip_unless!(grid_available());
    let sandbox = own_cache();
    let golden = Golden::new(&sandbox);
    let grid = Grid::start(&[2, 1, 1]);
    runtime().block_on(async {
        let pool = Pool::builder().launch(launch(&grid.url())).sessions(4).start().await.unwrap();
        assert_eq!((pool.sessions(), grid.sessions()), (4, Some(4)));
        let mut done = 0;
        let harm = |_: usize, _: &RunRecord| {
            done += 1;
            match done {
                3 => signal(grid.nodes()[0].browsers()[0].id, "KILL"),
                5 => grid.nodes()[1].kill(),
                _ => {}
            }
        };
        let began = std::time::Instant::now();
        let records = pool.run_all((0..RUNS).map(|_| golden.request()), harm).await;
        let took = began.elapsed();
        assert_eq!(records.len(), RUNS);
        records.iter().for_each(|record| golden.check(record));
        let steps: Vec<_> = records.iter().flat_map(|record| &record.fallbacks).collect();
        println!("{RUNS} runs in {:.1} s", took.as_secs_f64());
        steps.iter().for_each(|step| println!("  {} → {}: {}", step.from, step.to, step.reason));
        // A session may also be harmed between two runs, and then has none to lose.
        assert!(steps.len() <= 2 && steps.iter().all(|step| step.code == "disconnected"), "{steps:?}");
        println!("runs by the sessions there were: {:?}", sessions_beside(&records));
        // A page may come back for a while: a session that had no run to lose is given up after the last run was answered.
        wait_until("both losses are counted", PATIENCE, || pool.lost() == 2);
        wait_until("the crashed browser is replaced", PATIENCE, || pool.sessions() == 3);
        pool.shutdown().await;
    });
    assert_no_session(&grid);
}

/// How many runs had how many sessions beside them.
fn sessions_beside(records: &[RunRecord]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for record in records {
        *counts.entry(record.options["sessions"].value.as_u64().unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn a_grid_with_fewer_slots_than_sessions_does_all_runs() {
    skip_unless!(grid_available());
    let sandbox = own_cache();
    let golden = Golden::new(&sandbox);
    let grid = Grid::start(&[2]);
    runtime().block_on(async {
        let pool = Pool::builder().launch(launch(&grid.url())).sessions(4).start().await.unwrap();
        assert_eq!(pool.sessions(), 2);
        let records = pool.run_all((0..6).map(|_| golden.request()), |_, _| {}).await;
        records.iter().for_each(|record| golden.check(record));
        // Dropped, as by a panic or Ctrl-C.
        drop(pool);
    });
    assert_no_session(&grid);
}

#[test]
fn a_grid_that_is_not_there_is_a_clear_error() {
    skip_unless!(browser_available());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let error = runtime().block_on(Pool::builder().launch(launch(&url)).sessions(2).start()).unwrap_err();
    assert_eq!(error.code(), "webdriver_unreachable");
    assert!(error.to_string().contains(&url) && error.hint().contains("/status"), "{error}: {}", error.hint());
}

/// Rows on the grid, until they are done or stopped.
fn bench(sandbox: &Sandbox, grid: &Grid, runs: &str) -> Running {
    let (bert, url) = (golden_bert(), grid.url());
    let args = ["bench", "--json", "--verbose", "--sessions", "2", "--webdriver", &url, "--platform", "wasm"];
    let more = ["--model", bert.to_str().unwrap(), "--tokens", "5", "--bits", "16,8,4,2", "--runs", runs];
    sandbox.start(&[&args[..], &more].concat())
}

#[test]
fn a_matrix_is_spread_over_sessions_and_a_signal_leaves_none() {
    skip_unless!(grid_available());
    let sandbox = Sandbox::default();
    let grid = Grid::start(&[2]);
    let finished = bench(&sandbox, &grid, "3").finish(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let records: Vec<RunRecord> = serde_json::from_str(&finished.stdout).unwrap();
    let bits: Vec<_> = records.iter().map(|record| record.quantization.as_ref().unwrap().bits.count()).collect();
    assert_eq!(bits, [16, 8, 4, 2], "in the order of the matrix");
    assert!(records.iter().all(|record| record.options["sessions"].value == 2));
    assert_no_session(&grid);

    let mut stopped = bench(&sandbox, &grid, "100000000");
    stopped.wait_for_log("request 2: run");
    assert!(grid.sessions() > Some(0));
    stopped.signal("INT");
    assert_eq!(stopped.finish(PATIENCE).code, Some(130));
    assert_no_session(&grid);
    sandbox.assert_clean();
}
