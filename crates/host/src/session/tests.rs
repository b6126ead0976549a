//! Sessions against a fake agent: answers, order, loss, return, deadlines, cancelling.

use tokio_tungstenite::tungstenite::Message;
use webnibble_common::generate::Part;
use webnibble_common::options::Platform;
use webnibble_common::quant::Bits;
use webnibble_common::record::ImplementationType;
use webnibble_common::tensor::DType;
use webnibble_common::warmup::Warmup;
use webnibble_common::wire::frame::{self, Frame, FrameKind};
use webnibble_common::wire::{AgentMessage, Envelope, RunReport, Stage, TensorInfo, take_times};

use super::*;
use crate::fake_agent::{self, FakeAgent, PATIENCE};

/// Gives nothing up before the test does, however long this machine does something else.
fn patient() -> SessionConfig {
    SessionConfig { heartbeat: PATIENCE, grace: PATIENCE, progress: None, parts: None }
}

/// Pings soon, and gives a page up that is silent for 3 s.
fn watchful() -> SessionConfig {
    SessionConfig { heartbeat: Duration::from_secs(1), ..patient() }
}

/// Quick to give up a page that went away and does not come back.
fn quick() -> SessionConfig {
    SessionConfig { grace: Duration::from_millis(50), ..patient() }
}

async fn pair(config: SessionConfig) -> (Server, Session, FakeAgent) {
    let server = fake_agent::server().await;
    let session = Session::open(&server, config);
    let agent = FakeAgent::ready(&server, session.token()).await;
    assert!(session.capabilities(PATIENCE).await.expect("the agent told what it can do").is_ok());
    (server, session, agent)
}

fn load_options() -> LoadOptions {
    LoadOptions::on(Platform::Webgpu)
}

fn load_report() -> Box<LoadReport> {
    Box::new(LoadReport {
        implementation_type: ImplementationType::RealWasm,
        adapter: None,
        webnn: None,
        activation_bits: Bits::B32,
        total_ms: 1.0,
        fetch_ms: 1.0,
        upload_ms: 0.0,
        compile_ms: None,
        choosing_ms: None,
        package_bytes: 1,
        weights_bytes: 1,
        wasm_heap_bytes: 1,
    })
}

fn run_report(shapes: &[&[usize]]) -> Box<RunReport> {
    let info = |shape: &&[usize]| TensorInfo { name: "out".into(), dtype: DType::F32, shape: shape.to_vec() };
    Box::new(RunReport {
        implementation_type: ImplementationType::RealWasm,
        outputs: shapes.iter().map(info).collect(),
        token_counts: vec![],
        truncated: false,
        tokens_kept: vec![],
        prepare_ms: 0.0,
        first_ms: 1.0,
        warmup: Warmup { runs: 2, ms: 3.0, steady: None },
        run_ms: vec![1.0],
        generated: None,
        gpu_ms: None,
        kernels: None,
        webnn: None,
        variants: Default::default(),
        adjustments: Vec::new(),
        dispatches: None,
        gpu_peak_bytes: None,
        wasm_heap_bytes: 1,
    })
}

fn ran(report: Box<RunReport>) -> AgentMessage {
    AgentMessage::Ran { report, times: vec![] }
}

fn run(session: &Session) -> Pending<RunOutcome> {
    let input = Input::texts(vec!["a".into()]);
    session.run("m", input, RunOptions::default(), PATIENCE)
}

fn output(id: u64, part: u32, values: &[f32]) -> Message {
    let payload: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Message::Binary(frame::encode(Frame { kind: FrameKind::Output, id, part, payload: &payload }).unwrap().into())
}

#[tokio::test]
async fn load_reports_progress_and_is_answered() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let progress: ProgressSink = Arc::new(move |progress| sink.lock().unwrap().push(progress));
    let (_server, session, mut agent) = pair(SessionConfig { progress: Some(progress), ..patient() }).await;
    let pending = session.load("m", "/packages/d.safetensors", "d", load_options(), PATIENCE);
    let Envelope { id, body, .. } = agent.hear().await;
    let HostMessage::Load { model, url, digest, options } = body else { panic!("expected load") };
    assert_eq!((model.as_str(), url.as_str(), digest.as_str()), ("m", "/packages/d.safetensors", "d"));
    assert_eq!(options.deadline_ms, Some(20_000));
    agent.tell(id, AgentMessage::Progress { stage: Stage::Fetch, done: 1, total: 2 }).await;
    agent.tell(id + 100, AgentMessage::Progress { stage: Stage::Fetch, done: 9, total: 9 }).await;
    agent.tell(id, AgentMessage::Loaded { report: load_report() }).await;
    assert_eq!(pending.wait().await.unwrap(), *load_report());
    assert_eq!(*seen.lock().unwrap(), [Progress { request: id, stage: Stage::Fetch, done: 1, total: 2 }]);
}

fn part(index: u64, text: &str) -> AgentMessage {
    AgentMessage::Part { index, part: Part { text: text.into(), tokens: vec![index as u32] } }
}

#[tokio::test]
async fn pieces_are_heard_in_order_and_once() {
    let heard = Arc::new(std::sync::Mutex::new(String::new()));
    let sink = Arc::clone(&heard);
    let parts: PartSink = Arc::new(move |part| sink.lock().unwrap().push_str(&part.text));
    let (server, session, mut agent) = pair(SessionConfig { parts: Some(parts), ..patient() }).await;
    let pending = run(&session);
    let id = next_run(&mut agent).await;
    agent.tell(id, part(0, "Once")).await;
    agent.tell(id + 100, part(0, "another's")).await;
    agent.tell(id, part(1, " upon")).await;
    let key = agent.resume_key.clone();
    drop(agent);
    let mut agent = FakeAgent::connect(&server, "", Some(&key)).await;
    // What may have been lost is told again.
    agent.tell(id, part(1, " upon")).await;
    agent.tell(id, part(2, " a time")).await;
    agent.send(output(id, 0, &[1.0])).await;
    agent.tell(id, ran(run_report(&[&[1]]))).await;
    pending.wait().await.unwrap();
    assert_eq!(*heard.lock().unwrap(), "Once upon a time");
}

#[tokio::test]
async fn a_piece_that_is_missing_breaks_the_session() {
    let (_server, session, mut agent) = pair(quick()).await;
    let pending = run(&session);
    let id = next_run(&mut agent).await;
    agent.tell(id, part(0, "Once")).await;
    agent.tell(id, part(2, " a time")).await;
    let error = tokio::time::timeout(PATIENCE, pending.wait()).await.unwrap().unwrap_err();
    assert!(error.message.contains(&format!("piece 1 of request {id} should come, found 2")), "{error}");
}

#[tokio::test]
async fn outputs_come_with_their_answer_and_answers_in_any_order() {
    let (_server, session, mut agent) = pair(patient()).await;
    let (first, second) = (run(&session), run(&session));
    let (first_id, second_id) = (agent.hear().await.id, agent.hear().await.id);
    agent.send(output(second_id, 0, &[3.0])).await;
    agent.send(output(first_id, 0, &[1.0])).await;
    agent.send(output(first_id, 0, &[2.0])).await;
    agent.tell(second_id, ran(run_report(&[&[1]]))).await;
    agent.tell(first_id, ran(run_report(&[&[1, 2]]))).await;
    let (_, outputs) = first.wait().await.unwrap();
    assert_eq!(outputs, [("out".to_owned(), Tensor::f32([1, 2], vec![1.0, 2.0]).unwrap())]);
    assert_eq!(second.wait().await.unwrap().1[0].1, Tensor::f32([1], vec![3.0]).unwrap());
}

/// The page takes requests whose ids count up: one that came after a higher id would be lost. What is in the queue goes out in
/// its order.
#[tokio::test]
async fn requests_of_many_callers_are_queued_in_the_order_of_their_ids() {
    const CALLERS: usize = 8;
    const REQUESTS: usize = 20_000;
    let server = fake_agent::server().await;
    let ((events, mut queue), (_, state)) = (unbounded_channel(), watch::channel(PageState::Waiting));
    let (page_events, _from_page) = unbounded_channel();
    let (invitation, task) = (server.invite(page_events), tokio::spawn(std::future::pending()));
    let session = Session { events, state, next_id: Mutex::new(1), invitation, page_url: String::new(), task };
    let begin = std::sync::Barrier::new(CALLERS);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                begin.wait();
                (0..REQUESTS).for_each(|_| drop(session.unload("m", PATIENCE)));
            });
        }
    });
    let mut last = 0;
    while let Ok(event) = queue.try_recv() {
        let Event::Request(request) = event else { continue };
        let id = request.id;
        assert_eq!(id, last + 1, "requests come in the order of their ids");
        last = id;
    }
    assert_eq!(last, (CALLERS * REQUESTS) as u64);
}

#[tokio::test]
async fn input_tensors_follow_their_request() {
    let (_server, session, mut agent) = pair(patient()).await;
    let inputs = vec![
        ("ids".to_owned(), Tensor::u32([1, 2], vec![101, 102]).unwrap()),
        ("mask".to_owned(), Tensor::u32([1, 2], vec![1, 1]).unwrap()),
    ];
    let input = Input::Tensors { tensors: inputs.clone() };
    let pending = session.run("m", input, RunOptions::default(), PATIENCE);
    let Envelope { id, body, .. } = agent.hear().await;
    let HostMessage::Run { input: Input::Tensors { tensors }, .. } = body else { panic!("expected run on tensors") };
    let mut assembler = frame::FrameAssembler::new(FrameKind::Input, id);
    while !assembler.is_complete(&tensors) {
        let Some(Message::Binary(bytes)) = agent.next().await else { panic!("expected a frame") };
        assembler.push(frame::decode(&bytes).unwrap()).unwrap();
    }
    let expected: Vec<_> = inputs.into_iter().map(|(_, tensor)| tensor).collect();
    assert_eq!(assembler.finish(&tensors).unwrap(), expected);
    let error = RemoteError::new(ErrorCode::BadInput, "no", "other input");
    agent.tell(id, AgentMessage::Error { error: error.clone() }).await;
    assert_eq!(pending.wait().await.unwrap_err(), error);
}

#[tokio::test]
async fn outputs_that_do_not_fit_their_report_are_an_error() {
    let (_server, session, mut agent) = pair(patient()).await;
    let pending = run(&session);
    let id = agent.hear().await.id;
    agent.send(output(id, 0, &[1.0, 2.0])).await;
    agent.tell(id, ran(run_report(&[&[3]]))).await;
    let error = pending.wait().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);
    assert!(error.message.contains("holds 3 elements, found 2"), "{error}");
    // The session goes on.
    let pending = run(&session);
    let id = agent.hear().await.id;
    agent.tell(id, ran(run_report(&[]))).await;
    assert!(pending.wait().await.is_ok());
}

#[tokio::test]
async fn times_of_many_runs_come_whole() {
    // In text they would have more bytes than a text frame may.
    const RUNS: usize = 400_000;
    let (_server, session, mut agent) = pair(SessionConfig { heartbeat: PATIENCE, ..quick() }).await;
    let pending = run(&session);
    let id = agent.hear().await.id;
    let run_ms: Vec<f64> = (0..RUNS).map(|index| f64::from(index as f32 / 1024.0)).collect();
    let mut report = run_report(&[&[1]]);
    (report.run_ms, report.gpu_ms) = (run_ms.clone(), Some(run_ms.clone()));
    let (times, tensors) = take_times(&mut report);
    agent.send(output(id, 0, &[7.0])).await;
    for (part, tensor) in (1..).zip(&tensors) {
        for bytes in frame::split(FrameKind::Output, id, part, &tensor.to_le_bytes()) {
            agent.send(Message::Binary(bytes.into())).await;
        }
    }
    agent.tell(id, AgentMessage::Ran { report, times }).await;
    let (report, outputs) = pending.wait().await.unwrap();
    assert!(report.run_ms == run_ms && report.gpu_ms == Some(run_ms), "{} times", report.run_ms.len());
    assert_eq!(outputs, [("out".to_owned(), Tensor::f32([1], vec![7.0]).unwrap())]);
    // Lists that a report does not have.
    let pending = run(&session);
    let id = agent.hear().await.id;
    let times = vec![TensorInfo { name: "cpu_ms".into(), dtype: DType::F32, shape: vec![1] }];
    agent.send(output(id, 0, &[7.0])).await;
    agent.tell(id, AgentMessage::Ran { report: run_report(&[]), times }).await;
    let error = pending.wait().await.unwrap_err();
    assert!(error.code == ErrorCode::Protocol && error.message.contains("`cpu_ms`"), "{error}");
}

#[tokio::test]
async fn frames_out_of_order_fail_the_request_and_close_the_socket() {
    let (_server, session, mut agent) = pair(patient()).await;
    let pending = run(&session);
    let id = agent.hear().await.id;
    agent.send(output(id, 1, &[1.0])).await;
    let error = pending.wait().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Protocol);
    assert!(error.message.contains("out of order"), "{error}");
    while agent.next().await.is_some() {}
}

#[tokio::test]
async fn malformed_messages_fail_what_was_waiting() {
    for bad in [Message::Text("{}".into()), Message::Binary(vec![0; 30].into())] {
        let (_server, session, mut agent) = pair(patient()).await;
        let pending = run(&session);
        agent.hear().await;
        agent.send(bad).await;
        assert_eq!(pending.wait().await.unwrap_err().code, ErrorCode::Protocol);
    }
}

/// The next `run` that the host asks for.
async fn next_run(agent: &mut FakeAgent) -> u64 {
    let Envelope { id, body, .. } = agent.hear().await;
    assert!(matches!(body, HostMessage::Run { .. }), "expected run, found {body:?}");
    id
}

#[tokio::test]
async fn a_page_that_comes_back_finds_its_requests() {
    let (server, session, mut agent) = pair(patient()).await;
    let before = run(&session);
    let id = next_run(&mut agent).await;
    agent.send(output(id, 0, &[1.0])).await;
    let key = agent.resume_key.clone();
    drop(agent);
    // May go into the broken socket, or wait for the next one.
    let meanwhile = run(&session);
    let mut agent = FakeAgent::connect(&server, "", Some(&key)).await;
    // Nobody knows what the broken socket swallowed: both requests come again.
    assert_eq!(next_run(&mut agent).await, id);
    let second_id = next_run(&mut agent).await;
    // And the page begins its outputs anew.
    agent.send(output(id, 0, &[2.0])).await;
    agent.tell(id, ran(run_report(&[&[1]]))).await;
    agent.tell(id, ran(run_report(&[&[1]]))).await;
    agent.tell(second_id, ran(run_report(&[]))).await;
    assert_eq!(before.wait().await.unwrap().1[0].1.as_f32().unwrap(), [2.0]);
    assert!(meanwhile.wait().await.is_ok());
}

#[tokio::test]
async fn a_request_that_the_page_works_on_is_not_sent_again() {
    let seen = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&seen);
    let progress: ProgressSink = Arc::new(move |_| notify.notify_one());
    let (server, session, mut agent) = pair(SessionConfig { progress: Some(progress), ..patient() }).await;
    let pending = run(&session);
    let id = next_run(&mut agent).await;
    agent.tell(id, AgentMessage::Progress { stage: Stage::Run, done: 1, total: 9 }).await;
    seen.notified().await;
    let key = agent.resume_key.clone();
    drop(agent);
    let mut agent = FakeAgent::connect(&server, "", Some(&key)).await;
    pending.cancel();
    assert_eq!(agent.hear().await.body, HostMessage::Cancel { request: id }, "and not the request");
}

#[tokio::test]
async fn a_page_that_closes_for_good_ends_the_session() {
    let (server, session, mut agent) = pair(quick()).await;
    let pending = run(&session);
    agent.hear().await;
    let key = agent.resume_key.clone();
    drop(agent);
    let error = tokio::time::timeout(PATIENCE, pending.wait()).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::Disconnected);
    assert_eq!(run(&session).wait().await.unwrap_err().code, ErrorCode::Disconnected, "later requests fail at once");
    let mut late = FakeAgent::dial(&server, None).await.unwrap();
    assert!(matches!(late.hello("", Some(&key)).await, HostMessage::Refused { .. }), "too late");
}

#[tokio::test]
async fn a_silent_page_is_lost() {
    let (_server, session, agent) = pair(SessionConfig { heartbeat: Duration::from_millis(500), ..quick() }).await;
    // The socket stays open, but nobody answers the pings.
    let error = tokio::time::timeout(PATIENCE, session.ended()).await.unwrap();
    assert_eq!(error.code, ErrorCode::Disconnected);
    assert!(error.message.contains("silent"), "{error}");
    drop(agent);
}

#[tokio::test]
async fn both_sides_answer_pings() {
    let (_server, session, mut agent) = pair(watchful()).await;
    let answering = tokio::spawn(async move {
        agent.tell(77, AgentMessage::Ping { payload: "are you there".into() }).await;
        let (mut pongs, mut pings) = (0, 0);
        // Some silence makes the host ping by itself, too.
        while pongs < 1 || pings < 2 {
            let Some(Message::Text(text)) = agent.next().await else { panic!("expected text") };
            let Envelope { id, body, .. } = Envelope::<HostMessage>::from_text(&text).unwrap();
            match body {
                HostMessage::Pong { payload } => {
                    assert_eq!((id, payload.as_str()), (77, "are you there"));
                    pongs += 1;
                }
                HostMessage::Ping { payload } => {
                    agent.tell(id, AgentMessage::Pong { payload }).await;
                    pings += 1;
                }
                other => panic!("expected ping or pong, found {other:?}"),
            }
        }
        agent
    });
    assert!(session.ping(PATIENCE).await.unwrap() < PATIENCE);
    let agent = tokio::time::timeout(PATIENCE, answering).await.unwrap().unwrap();
    assert!(session.is_connected());
    drop(agent);
}

#[tokio::test]
async fn a_worker_that_is_stuck_is_told_from_one_that_works() {
    let (_server, session, mut agent) = pair(patient()).await;
    let (working, works) = tokio::sync::watch::channel(false);
    let page = tokio::spawn(async move {
        loop {
            let Envelope { id, body, .. } = agent.hear().await;
            match body {
                HostMessage::Ping { payload } => agent.tell(id, AgentMessage::Pong { payload }).await,
                HostMessage::Unload { .. } if *works.borrow() => {
                    let error = RemoteError::new(ErrorCode::UnknownModel, "there is none", "");
                    agent.tell(id, AgentMessage::Error { error }).await;
                }
                _ => {}
            }
        }
    });
    assert!(!session.takes_requests(Duration::from_millis(50)).await);
    assert!(session.ping(PATIENCE).await.is_ok(), "the page answers all the same");
    working.send_replace(true);
    assert!(session.takes_requests(PATIENCE).await);
    page.abort();
}

#[tokio::test]
async fn requests_can_be_cancelled() {
    let (_server, session, mut agent) = pair(patient()).await;
    let pending = run(&session);
    let id = agent.hear().await.id;
    pending.cancel();
    assert_eq!(agent.hear().await.body, HostMessage::Cancel { request: id });
    let error = RemoteError::new(ErrorCode::Cancelled, "stopped", "");
    agent.tell(id, AgentMessage::Error { error }).await;
    assert_eq!(pending.wait().await.unwrap_err().code, ErrorCode::Cancelled);
    // A request that nobody waits for is cancelled too.
    drop(run(&session));
    let id = agent.hear().await.id;
    assert_eq!(agent.hear().await.body, HostMessage::Cancel { request: id });
}

#[tokio::test]
async fn deadlines_hold_even_when_the_page_ignores_them() {
    // The page's socket lives, and it never answers.
    let (_server, session, mut agent) = pair(patient()).await;
    let input = Input::ids(vec![]);
    let pending = session.run("m", input, RunOptions::default(), Duration::from_millis(50));
    let id = agent.hear().await.id;
    let error = tokio::time::timeout(PATIENCE, pending.wait()).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::Deadline);
    assert_eq!(agent.hear().await.body, HostMessage::Cancel { request: id });
}

#[tokio::test]
async fn a_dead_browser_fails_requests_at_once() {
    let (_server, session, mut agent) = pair(patient()).await;
    let pending = run(&session);
    agent.hear().await;
    session.browser_gone()("chromium was killed".into());
    let error = pending.wait().await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (ErrorCode::Disconnected, "chromium was killed"));
}

#[tokio::test]
async fn a_page_that_fails_before_it_is_ready_says_why() {
    let server = fake_agent::server().await;
    let session = Session::open(&server, patient());
    assert!(session.capabilities(Duration::from_millis(10)).await.is_none(), "nobody is there yet");
    let mut agent = FakeAgent::connect(&server, session.token(), None).await;
    let error = RemoteError::new(ErrorCode::Internal, "wasm did not compile", "");
    agent.tell(0, AgentMessage::Error { error: error.clone() }).await;
    assert_eq!(session.capabilities(PATIENCE).await.unwrap().unwrap_err(), error);
}

#[tokio::test]
async fn shutdown_is_told_to_the_page() {
    let (_server, session, mut agent) = pair(patient()).await;
    session.shutdown().await;
    assert_eq!(agent.hear().await.body, HostMessage::Shutdown);
    assert!(agent.next().await.is_none(), "then the socket closes");
}
