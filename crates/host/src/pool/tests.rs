//! The pool with sessions that are none: what is lost, tried again, refused, and given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use webnibble_common::options::Options;
use webnibble_common::record::Status;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::station::Station;
use super::*;
use crate::browser::BrowserError;
use crate::run::{Input, not_started};

/// What all sessions of a test share.
#[derive(Default)]
struct World {
    opened: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    cancelled: AtomicUsize,
    /// Whether `waits` does.
    running: AtomicBool,
    /// Whether `kills-once` did.
    killed: AtomicBool,
    /// Sessions up to this number are lost.
    lost: watch::Sender<usize>,
}

/// Gives so many sessions, and refuses more.
struct Stations {
    world: Arc<World>,
    /// Sessions that there can be in all.
    most: usize,
    refusal: fn() -> HostError,
}

struct FakeStation {
    world: Arc<World>,
    number: usize,
    busy: AtomicBool,
    hangs: AtomicBool,
}

impl SessionSource for Stations {
    type Station = FakeStation;

    async fn open(&self) -> Result<FakeStation, HostError> {
        tokio::task::yield_now().await;
        let number = self.world.opened.fetch_add(1, Ordering::SeqCst) + 1;
        if number > self.most {
            return Err((self.refusal)());
        }
        let open = self.world.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.world.most_open.fetch_max(open, Ordering::SeqCst);
        let world = Arc::clone(&self.world);
        Ok(FakeStation { world, number, busy: AtomicBool::new(false), hangs: AtomicBool::new(false) })
    }
}

impl Station for FakeStation {
    async fn run(&self, work: &Work, stop: impl Future<Output = ()> + Send) -> Vec<RunRecord> {
        let [request, ..] = work.requests() else { panic!("nothing to run") };
        assert!(!self.busy.swap(true, Ordering::SeqCst), "one run at a time");
        tokio::task::yield_now().await;
        let fails = |code, message: &str| not_started(request, &RemoteError::new(code, message, "").into());
        let record = match request.model.as_str() {
            "bad" => fails(ErrorCode::BadInput, "an input that does not fit"),
            "kills" => fails(ErrorCode::Disconnected, "the page is gone"),
            "kills-once" if !self.world.killed.swap(true, Ordering::SeqCst) => {
                fails(ErrorCode::DeviceLost, "the device was lost")
            }
            "hangs" => {
                self.hangs.store(true, Ordering::SeqCst);
                fails(ErrorCode::Deadline, "the page did not answer")
            }
            "waits" => {
                self.world.running.store(true, Ordering::SeqCst);
                stop.await;
                self.world.cancelled.fetch_add(1, Ordering::SeqCst);
                fails(ErrorCode::Cancelled, "the run was cancelled")
            }
            _ => RunRecord { status: Status::Ok, error: None, ..fails(ErrorCode::Internal, "") },
        };
        self.busy.store(false, Ordering::SeqCst);
        work.requests().iter().map(|_| record.clone()).collect()
    }

    async fn ended(&self) -> String {
        let _ = self.world.lost.subscribe().wait_for(|lost| *lost >= self.number).await;
        "it went away".into()
    }

    async fn answers(&self) -> bool {
        !self.hangs.load(Ordering::SeqCst)
    }

    async fn close(self) {
        self.world.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn request(model: &str) -> RunRequest {
    RunRequest {
        model: model.into(),
        options: Options::default(),
        input: Input::ids(vec![vec![1]]),
        outputs: Vec::new(),
        generate: false,
        compare_f32: false,
        verbose: false,
        revision: String::new(),
        progress: None,
    }
}

fn rules(sessions: usize) -> Rules {
    let pause = Duration::from_millis(1);
    Rules {
        sessions,
        queue: 2,
        tries: 3,
        pause,
        longest_pause: pause,
        wait: Duration::from_millis(10),
        ..Rules::default()
    }
}

async fn pool(world: &Arc<World>, sessions: usize, most: usize, refusal: fn() -> HostError) -> Result<Pool, HostError> {
    Pool::start(Stations { world: Arc::clone(world), most, refusal }, rules(sessions)).await
}

fn full() -> HostError {
    BrowserError::NoFreeSlot { url: "http://grid".into(), browser: "chrome".into(), all: 2 }.into()
}

fn unreachable_server() -> HostError {
    BrowserError::WebDriverUnreachable { url: "http://grid".into(), reason: "connection refused".into() }.into()
}

#[tokio::test]
async fn runs_come_back_in_order_and_a_lost_session_loses_none() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 3, usize::MAX, full).await.unwrap();
    assert_eq!(pool.sessions(), 3);
    let models = (0..20).map(|i| if i == 7 { "kills-once".to_owned() } else { format!("m{i}") });
    let mut heard = Vec::new();
    let records = pool.run_all(models.map(|model| request(&model)), |index, _| heard.push(index)).await;
    assert_eq!(records.len(), 20);
    heard.sort_unstable();
    assert_eq!(heard, (0..20).collect::<Vec<_>>());
    for (index, record) in records.iter().enumerate() {
        assert_eq!((record.status, record.error.as_ref()), (Status::Ok, None), "{index}");
        assert!(record.options["sessions"].value.as_u64().unwrap() <= 3);
        let steps: Vec<_> = record.fallbacks.iter().map(|step| step.code.as_str()).collect();
        assert_eq!(steps, if index == 7 { vec!["device_lost"] } else { vec![] }, "{index}");
    }
    let step = &records[7].fallbacks[0];
    assert!(step.from.ends_with("attempt 1") && step.to == "another session, attempt 2", "{step:?}");
    assert_eq!(pool.lost(), 1);
    pool.shutdown().await;
    assert_eq!(world.open.load(Ordering::SeqCst), 0);
    assert_eq!(world.most_open.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_run_that_takes_every_session_with_it_is_given_up() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 2, usize::MAX, full).await.unwrap();
    let record = pool.run(request("kills")).await;
    assert_eq!(record.error.unwrap().code, "disconnected");
    assert_eq!((record.fallbacks.len(), pool.lost()), (2, 3), "three attempts took three sessions");
    assert_eq!(pool.run(request("fine")).await.error, None, "the pool goes on");
}

#[tokio::test]
async fn runs_in_turns_are_tried_again_together() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 2, usize::MAX, full).await.unwrap();
    let requests = vec![request("kills-once"), request("fine")];
    let records = pool.run_in_turns(requests, Arc::default()).await;
    assert_eq!(records.len(), 2);
    for record in records {
        assert_eq!((record.error, record.fallbacks.len()), (None, 1));
    }
}

#[tokio::test]
async fn failures_of_the_work_are_no_reason_to_try_again() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 1, usize::MAX, full).await.unwrap();
    let record = pool.run(request("bad")).await;
    assert_eq!((record.error.unwrap().code.as_str(), record.fallbacks.len()), ("bad_input", 0));
    assert_eq!((pool.lost(), world.opened.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn a_page_that_hangs_is_left_and_its_run_not_tried_again() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 1, usize::MAX, full).await.unwrap();
    let record = pool.run(request("hangs")).await;
    assert_eq!((record.error.unwrap().code.as_str(), record.fallbacks.len()), ("deadline", 0));
    assert_eq!(pool.run(request("fine")).await.error, None);
    assert_eq!((pool.lost(), world.opened.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn sessions_that_are_lost_while_they_wait_are_replaced() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 2, usize::MAX, full).await.unwrap();
    world.lost.send_replace(2);
    let mut states = pool.shared.states.subscribe();
    let replaced = states.wait_for(|states| pool.lost() == 2 && states.iter().all(|state| *state == LaneState::Ready));
    replaced.await.unwrap();
    assert_eq!(world.opened.load(Ordering::SeqCst), 4);
    assert_eq!(pool.run(request("fine")).await.error, None);
}

#[tokio::test]
async fn fewer_sessions_than_asked_for_do_all_the_work() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 4, 2, full).await.unwrap();
    assert_eq!(pool.sessions(), 2);
    let records = pool.run_all((0..10).map(|_| request("fine")), |_, _| {}).await;
    assert!(records.iter().all(|record| record.error.is_none()));
    assert_eq!(world.most_open.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_session_at_all_is_the_error_of_the_server() {
    for (refusal, code) in [(unreachable_server as fn() -> HostError, "webdriver_unreachable"), (full, "no_free_slot")]
    {
        let world = Arc::new(World::default());
        let error = pool(&world, 2, 0, refusal).await.unwrap_err();
        assert_eq!(error.code(), code);
        let asked = world.opened.load(Ordering::SeqCst);
        // Slots become free; a server that is not there is not waited for.
        assert!(if code == "no_free_slot" { asked == 6 } else { asked <= 4 }, "{code}: asked {asked} times");
    }
}

#[tokio::test]
async fn when_the_last_session_is_gone_every_run_says_so() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 2, 2, unreachable_server).await.unwrap();
    let records = pool.run_all((0..8).map(|_| request("kills")), |_, _| {}).await;
    assert_eq!(records.len(), 8);
    for record in &records {
        let error = record.error.as_ref().unwrap();
        assert_eq!(error.code, "no_session");
        assert!(error.message.contains("connection refused"), "{}", error.message);
    }
    assert_eq!(
        records.iter().map(|record| record.fallbacks.len()).sum::<usize>(),
        2,
        "each session took one run with it"
    );
    assert_eq!(pool.run(request("late")).await.error.unwrap().code, "no_session");
    assert_eq!(pool.sessions(), 0);
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_is_cancelled() {
    let world = Arc::new(World::default());
    let pool = pool(&world, 1, 1, full).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), pool.run(request("waits"))).await.is_err());
    assert_eq!(pool.run(request("fine")).await.error, None, "the same session goes on");
    assert_eq!(world.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_pool_ends_its_sessions() {
    let world = Arc::new(World::default());
    let pool = Arc::new(pool(&world, 3, usize::MAX, full).await.unwrap());
    let busy = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.run(request("waits")).await }
    });
    while !world.running.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    busy.abort();
    let _ = busy.await;
    assert_eq!(world.open.load(Ordering::SeqCst), 3);
    drop(pool);
    assert_eq!(world.open.load(Ordering::SeqCst), 0);
}
