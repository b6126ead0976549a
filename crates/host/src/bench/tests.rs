//! Which rows there are, and what those say that cannot run.

use webnibble_common::io::Input;
use webnibble_common::options::{Engine, MeasureOptions, Options, Platform};
use webnibble_common::quant::Bits;

use super::cells::Cell;
use super::request::SWEEP_RUNS;
use super::rows::SWEEP_RUN_MS;
use super::*;
use crate::loader::testing;

const HERE: Size = Size { batch: 1, tokens: 2 };

fn request() -> BenchRequest {
    BenchRequest {
        browsers: vec![LaunchOptions::default(), LaunchOptions::default()],
        models: vec!["m".into()],
        platforms: vec![Platform::Webgpu, Platform::Webnn],
        engines: vec![Engine::Native, Engine::TransformersJs],
        precisions: vec![Precision::weights(Bits::B8), Precision::int8()],
        sizes: vec![HERE],
        threads: Vec::new(),
        sweep: Vec::new(),
        sessions: 1,
        options: Options::default(),
        verbose: false,
        revision: String::new(),
        progress: None,
    }
}

#[test]
fn int8_activations_are_a_row_of_our_webnn_and_wasm_alone() {
    let request = BenchRequest { platforms: vec![Platform::Webgpu, Platform::Webnn, Platform::Wasm], ..request() };
    let cells = request.cells();
    let int8: Vec<_> = cells.iter().filter(|cell| cell.precision == Precision::int8()).collect();
    let found: Vec<_> = int8.iter().map(|cell| (cell.platform, &cell.engines[..])).collect();
    assert_eq!(found, [(Platform::Webnn, &[Engine::Native][..]), (Platform::Wasm, &[Engine::Native][..])]);
    assert_eq!(request.rows(), 16, "three platforms by two engines, and two, in two browsers");
}

#[test]
fn threads_are_rows_of_wasm_and_of_our_webnn() {
    let platforms = vec![Platform::Webgpu, Platform::Webnn, Platform::Wasm];
    let precisions = vec![Precision::weights(Bits::B8)];
    let request = BenchRequest { platforms, precisions, threads: vec![1, 2], ..request() };
    let both = vec![Engine::Native, Engine::TransformersJs];
    let found: Vec<_> =
        request.cells().into_iter().map(|cell| (cell.platform, cell.threads, cell.engines.clone())).collect();
    let expected = [
        (Platform::Webgpu, None, both.clone()),
        (Platform::Webnn, Some(1), both.clone()),
        (Platform::Webnn, Some(2), vec![Engine::Native]),
        (Platform::Wasm, Some(1), both.clone()),
        (Platform::Wasm, Some(2), both),
    ];
    assert_eq!(found, expected);
    let threads = |index: usize, engine| {
        let (cell, input) = (&request.cells()[index], Input::ids(vec![]));
        request.run_request(cell, engine, &LaunchOptions::default(), input).options.settings.threads
    };
    assert_eq!([1, 2, 4].map(|index| threads(index, Engine::Native)), [Some(1), Some(2), Some(2)]);
    assert_eq!([1, 4].map(|index| threads(index, Engine::TransformersJs)), [None, Some(2)]);
}

#[test]
fn engines_of_one_combination_are_measured_together() {
    let cells = request();
    let together = cells.cells().into_iter().filter(|cell| cell.engines.len() == 2).count();
    assert_eq!(together, 2, "8 bits on each platform");
}

#[test]
fn the_sweep_is_of_one_precision_and_engine_on_each_platform() {
    let large = Size { batch: 4, tokens: 8 };
    let request = BenchRequest { sweep: vec![HERE, large], ..request() };
    let swept: Vec<_> = request.cells().into_iter().filter(|cell| cell.sweep).collect();
    assert_eq!(swept.len(), 2, "what is measured already is not measured again");
    for cell in &swept {
        assert_eq!((cell.size, cell.precision), (large, Precision::weights(Bits::B8)));
        assert_eq!(cell.engines, [Engine::Native]);
    }
    let runs = |asked| {
        let measure = MeasureOptions { runs: asked, ..MeasureOptions::default() };
        let request = BenchRequest { options: Options { measure, ..Options::default() }, ..request.clone() };
        let input = Input::ids(vec![]);
        request.run_request(&swept[0], Engine::Native, &LaunchOptions::default(), input).options.measure.runs
    };
    assert_eq!([None, Some(2), Some(50)].map(runs), [None, Some(2), Some(SWEEP_RUNS)]);
}

#[test]
fn what_would_take_too_long_is_not_swept() {
    let request = request();
    let cells = request.cells();
    let of = |platform| cells.iter().find(|cell| cell.platform == platform).expect("each has cells");
    let mut record = crate::report::testing::ran("chrome", 8, 10.0);
    let cell = Cell { sweep: true, size: Size { batch: 8, tokens: 64 }, ..of(record.platform).clone() };
    record.model.as_mut().unwrap().source = cell.model.to_owned();
    let tokens = {
        let input = record.input.as_ref().unwrap();
        (input.batch * input.sequence_length.unwrap()) as f64
    };
    let worth = |record: &RunRecord| is_worth_sweeping([record], &cell);
    assert!(worth(&record));
    let times = record.performance_metrics.inference_time_ms.as_mut().unwrap();
    times.p50 = 1.01 * SWEEP_RUN_MS / 512.0 * tokens;
    assert!(!worth(&record));
    record.performance_metrics.inference_time_ms = None;
    assert!(!worth(&record), "nothing ran there");
}

#[test]
fn precisions_are_every_combination_but_floats_have_no_groups() {
    let found = Precision::combinations(&[Bits::B16, Bits::B4], &[128, 32], &[true, false]);
    assert_eq!(found.len(), 5);
    assert_eq!(found[0], Precision::weights(Bits::B16));
    let all: Vec<_> = found[1..].iter().map(|one| (one.group_size.unwrap(), one.mixed_precision.unwrap())).collect();
    assert_eq!(all, [(128, true), (128, false), (32, true), (32, false)]);
    assert_eq!(Precision::combinations(&[Bits::B4], &[], &[]), [Precision::weights(Bits::B4)]);
}

#[test]
fn sizes_are_every_batch_at_every_length() {
    let size = |batch, tokens| Size { batch, tokens };
    let expected = [size(1, 16), size(1, 64), size(4, 16), size(4, 64)];
    assert_eq!(Size::combinations(&[1, 4], &[16, 64]), expected);
}

#[test]
fn ids_are_of_the_size_and_in_the_vocabulary() {
    let inputs = Inputs { name: "m".into(), vocabulary: Ok(50) };
    let Input::Ids { ids, .. } = inputs.ids(Size { batch: 3, tokens: 4 }) else { panic!("ids") };
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
    assert!(ids.iter().flatten().all(|id| *id < 50) && ids[0] != ids[1], "{ids:?}");
}

/// The rows of a request that cannot run, with the first error.
async fn refused_rows(request: BenchRequest) -> Vec<RunRecord> {
    let mut heard = 0;
    let records = bench(&request, |_| heard += 1).await;
    assert_eq!((records.len(), heard), (5, 5));
    for record in &records {
        assert_eq!((record.implementation_type, &record.browser), (None, &None));
        let input = record.input.as_ref().unwrap();
        assert_eq!((input.batch, input.sequence_length), (1, Some(2)), "what it would have been");
    }
    records
}

#[tokio::test]
async fn a_model_that_is_not_there_is_rows_with_its_reason_and_no_browser() {
    let records = refused_rows(BenchRequest { browsers: vec![LaunchOptions::default()], ..request() }).await;
    for record in records {
        assert_eq!(record.error.unwrap().code, "model");
        assert_eq!(record.options["model"].value, "m");
    }
}

#[tokio::test]
async fn a_browser_that_does_not_start_is_rows_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    testing::write_model(folder.path(), &testing::tiny_model());
    let missing = LaunchOptions { browser_binary: Some("/no/such/browser".into()), ..LaunchOptions::default() };
    let models = vec![folder.path().display().to_string()];
    for sessions in [1, 2] {
        let request = BenchRequest { browsers: vec![missing.clone()], models: models.clone(), sessions, ..request() };
        for record in refused_rows(request).await {
            assert_eq!(record.error.unwrap().code, "not_there");
            assert_eq!(record.options["browser_binary"].value, "/no/such/browser");
        }
    }
}
