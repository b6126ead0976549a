//! What `auto` measures, what it believes, and what it gives back at once.

use webnibble_common::options::Engine;
use webnibble_common::quant::{Bits, Granularity};
use webnibble_common::record::RunRecord;
use webnibble_common::tensor::Tensor;

use super::*;
use crate::run::prepared::resolve_each;
use crate::run::record::{Answer, record};
use crate::run::testing::{Fault, Small, Step, code, page, request};

fn memory() -> Measurements {
    let candidates = vec![
        (Platform::Webgpu, Ok(20.5)),
        (Platform::Webnn, Err("no navigator.ml".to_owned())),
        (Platform::Wasm, Ok(9.25)),
    ];
    Measurements { timestamp: "2026-01-02T03:04:05Z".into(), candidates }
}

#[test]
fn the_fastest_that_runs_is_chosen_and_the_rest_is_told() {
    assert_eq!(memory().best(), Some(Platform::Wasm));
    let choice = memory().choice(false);
    let told = "wasm is the fastest, measured now: webgpu 20.50 ms, webnn does not run (no navigator.ml), wasm 9.25 ms";
    assert_eq!(choice.reason, told);
    assert_eq!(choice.candidates[1], Candidate { platform: Platform::Webnn, ms: None });
    let none = Measurements { candidates: vec![(Platform::Wasm, Err("it broke".into()))], ..memory() };
    assert_eq!(none.best(), None);
}

#[test]
fn a_choice_is_remembered_and_a_damaged_file_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("choices").join("k.json");
    assert_eq!(read(&file), None);
    write(&file, &memory()).unwrap();
    assert_eq!(read(&file), Some(memory()));
    assert!(memory().choice(true).reason.contains("remembered from 2026-01-02T03:04:05Z"));
    std::fs::write(&file, "{").unwrap();
    assert_eq!(read(&file), None);
}

#[test]
fn a_choice_holds_for_inputs_of_one_shape() {
    let small = Small::new();
    let info =
        BrowserInfo { name: "b".into(), version: "1".into(), headless: true, user_agent: String::new(), start_ms: 1.0 };
    let key_of = |input: Input| {
        let request = RunRequest { input, ..request(Platform::Auto, Engine::Native) };
        key(&small.package(), &request, &info, &Capabilities::default())
    };
    let texts = |count: usize, text: &str| Input::texts(vec![text.to_owned(); count]);
    let ids = |count: usize, length: usize| Input::ids(vec![vec![1; length]; count]);
    let (word, page) = ("hi", "a word ".repeat(512));
    assert_eq!(key_of(texts(1, word)), key_of(texts(1, "ho")));
    assert_eq!(key_of(texts(60, &page)), key_of(texts(64, &page)));
    assert_eq!(key_of(ids(1, 100)), key_of(ids(1, 128)));
    let different =
        [texts(1, word), texts(64, word), texts(1, &page), texts(64, &page), ids(1, 2), ids(1, 128), ids(64, 2)];
    let mut keys: Vec<String> = different.into_iter().map(key_of).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 7);
    let tensor = |rows: usize| vec![("ids".to_owned(), Tensor::u32([rows, 8], vec![0; rows * 8]).unwrap())];
    assert_eq!(shape_class(&Input::Tensors { tensors: tensor(3) }), [4, 8]);
    assert_ne!(
        shape_class(&Input::Tensors { tensors: tensor(1) }),
        shape_class(&Input::Tensors { tensors: tensor(64) })
    );
}

#[tokio::test]
async fn what_is_measured_is_the_engine_that_runs() {
    let small = Small::new();
    for engine in [Engine::TransformersJs, Engine::Native] {
        let (host, loads) = page(&[]).await;
        let request = request(Platform::Wasm, engine);
        measure(Assignment { host: &host, request: &request, prepared: &small.prepared(&request) }).await.unwrap();
        let loads: Vec<_> = loads.lock().unwrap().iter().map(|options| options.engine).collect();
        assert_eq!(loads, [engine]);
    }
}

/// `auto` on the small package with faults of the page, and what was loaded.
async fn auto(faults: &[Fault], file: &Path) -> (RunRecord, usize) {
    let (host, loads) = page(faults).await;
    let (small, request) = (Small::new(), request(Platform::Auto, Engine::Native));
    let mut known = Known::begin();
    let outcome = match follow_with(file, &host, &mut known, &request, &small.opened(&request), None).await {
        Ok((prepared, answered)) => {
            let work = Assignment { host: &host, request: &request, prepared: &prepared };
            Ok::<Answer, _>(crate::run::complete(work, answered).await)
        }
        Err(error) => Err(error),
    };
    let loads = loads.lock().unwrap().len();
    (record(&request, &known, outcome), loads)
}

#[tokio::test]
async fn an_error_of_the_input_is_no_candidate_and_measures_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("choice.json");
    let faults = [(Route::Native, Step::Run, ErrorCode::BadInput)];
    let (record, loads) = auto(&faults, &file).await;
    assert_eq!((code(&record).as_str(), loads, file.exists()), ("bad_input", 1, false));
    // The same where the platform is remembered.
    write(&file, &memory()).unwrap();
    let (record, loads) = auto(&faults, &file).await;
    assert_eq!((code(&record).as_str(), loads), ("bad_input", 1));
    assert!(record.choice.unwrap().reason.contains("remembered"));
    assert_eq!(read(&file), Some(memory()));
}

#[tokio::test]
async fn a_platform_that_fails_is_a_candidate_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("choice.json");
    let (record, _) = auto(&[], &file).await;
    assert_eq!(record.error, None);
    let choice = record.choice.unwrap();
    assert!(choice.reason.contains("webnn does not run (webnn is not available: the page has no navigator.ml)"));
    assert_eq!(choice.candidates.iter().map(|one| one.ms).collect::<Vec<_>>(), [Some(2.0), None, Some(2.0)]);
    assert!(file.exists(), "it is remembered");
    std::fs::remove_file(&file).unwrap();
    let (record, _) = auto(&[(Route::Native, Step::Load, ErrorCode::OutOfMemory)], &file).await;
    assert_eq!((code(&record).as_str(), file.exists()), ("platform_unavailable", false));
}

#[test]
fn options_that_no_platform_takes_are_an_error_before_anything_starts() {
    let small = Small::new();
    let mut request = request(Platform::Auto, Engine::Native);
    request.options.settings.granularity = Some(Granularity::Group(24));
    assert_eq!(resolve_each(&request, &small.folder()).unwrap_err().code(), "bad_options");
    // WebNN takes no 4 bits, but the others do.
    (request.options.settings.bits, request.options.settings.granularity) = (Some(Bits::B4), None);
    request.options.fallback = Some(false);
    let resolved = resolve_each(&request, &small.folder()).unwrap();
    let takes: Vec<bool> = resolved.iter().map(|(_, resolved)| resolved.is_ok()).collect();
    assert_eq!(takes, [true, false, true]);
}
