//! One suite for every browser of this machine: the same answers, and the implementation type that is expected of each.

use std::time::Duration;

use webnibble_common::options::{Options, Platform, Settings};
use webnibble_common::quant::{Bits, Granularity};
use webnibble_common::record::{Output, RunRecord};
use webnibble_host::loader::Model;
use webnibble_host::prepare;
use webnibble_host::reference::Reference;
use webnibble_host::run::{Input, resolve};
use webnibble_tests::{
    Sandbox, chromium, firefox, golden_bert, mini_lm, mini_lm_available, signal, skip_unless, webkit, webnn_browser,
};

use crate::golden::{answer, error, golden};
use crate::opened::{Opened, failure, ids, ran_as};

/// Float activations: browsers differ by rounding only.
const ROUNDING: f32 = 1e-3;

/// Sentence embeddings of the same weights.
const LEAST_COSINE: f32 = 0.9999;

const TEXT: &str = "Rain fell on the roof all night.";

/// How long a run may take to notice that its browser is gone.
const NOTICE_LIMIT: Duration = Duration::from_secs(15);

/// A browser, and whether it has what is not there everywhere.
#[derive(Clone, Copy)]
struct Expected {
    webgpu: bool,
    webnn: bool,
}

impl Expected {
    /// What runs when a platform is asked for, and whether it really does.
    fn of(self, platform: Platform) -> (String, bool) {
        let real = match platform {
            Platform::Webgpu => self.webgpu,
            Platform::Webnn => self.webnn,
            _ => true,
        };
        let name = platform.name().to_uppercase();
        (if real { format!("REAL_{name}") } else { format!("SIMULATED_{name}") }, real)
    }
}

/// The tests of one browser.
macro_rules! suite {
    ($($name:ident: $arguments:expr, webgpu $webgpu:literal, webnn $webnn:literal;)*) => {
        $(mod $name {
            use super::*;

            const EXPECTED: Expected = Expected { webgpu: $webgpu, webnn: $webnn };

            #[tokio::test(flavor = "multi_thread")]
            async fn every_bit_width_on_every_platform() {
                skip_unless!($arguments);
                let browser = Opened::start(&$arguments.expect("looked for before")).await;
                super::every_bit_width_on_every_platform(&browser, EXPECTED).await;
                super::wrong_inputs_are_refused(&browser).await;
                super::without_fallback_what_is_missing_is_an_error(&browser, EXPECTED).await;
                browser.close().await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn the_embedding_of_a_text() {
                skip_unless!($arguments, mini_lm_available());
                let browser = Opened::start(&$arguments.expect("looked for before")).await;
                super::the_embedding_of_a_text(&browser, EXPECTED).await;
                browser.close().await;
            }

            #[test]
            fn without_fallback_a_missing_platform_exits_with_3_and_another_with_0() {
                skip_unless!($arguments);
                super::without_fallback_a_missing_platform_exits_with_3_and_another_with_0(&$arguments.expect("looked for before"), EXPECTED);
            }

            #[test]
            fn a_killed_browser_ends_the_run_with_an_error() {
                skip_unless!($arguments);
                super::a_killed_browser_ends_the_run_with_an_error(&$arguments.expect("looked for before"));
            }
        })*
    };
}

suite! {
    chromium_: chromium(), webgpu true, webnn false;
    chromium_with_webnn: webnn_browser(), webgpu true, webnn true;
    firefox_: firefox(), webgpu true, webnn false;
    webkit_: webkit(), webgpu false, webnn false;
}

/// Golden answers: at 32 bits those of PyTorch, at fewer bits the same on every platform.
async fn every_bit_width_on_every_platform(browser: &Opened, expected: Expected) {
    let golden = golden().1;
    let at = |bits| Settings { bits: Some(bits), mixed_precision: Some(false), ..Settings::default() };
    for platform in [Platform::Wasm, Platform::Webgpu, Platform::Webnn] {
        let (name, real) = expected.of(platform);
        let record = browser.golden(platform, at(Bits::B32)).await;
        assert_eq!(ran_as(&record), name);
        assert!(error(&answer(&record), &golden) <= ROUNDING, "{name}");
        assert_eq!(record.is_simulation, Some(!real));
        assert_times(&record, real);
        if !real {
            // One run says why; fewer bits would say the same.
            assert_missing(&record, platform);
        }
    }
    for bits in [Bits::B16, Bits::B8, Bits::B4, Bits::B2] {
        let reference = answer(&browser.golden(Platform::Wasm, at(bits)).await);
        for platform in [Platform::Webgpu, Platform::Webnn] {
            // WebNN has no formats of fewer than 8 bits: another test sees what happens then.
            if !expected.of(platform).1 || (platform == Platform::Webnn && bits < Bits::B8) {
                continue;
            }
            let record = browser.golden(platform, at(bits)).await;
            assert_eq!(record.quantization.as_ref().unwrap().bits, bits);
            let found = error(&answer(&record), &reference);
            println!("{} at {bits} bits: {found:.2e} from wasm", ran_as(&record));
            // WebNN may compute in f16, where that is measured to be faster.
            let allowed = if platform == Platform::Webnn { 1e-2 } else { ROUNDING };
            assert!(found <= allowed, "{platform} at {bits} bits: {found:.2e}");
        }
    }
}

/// A stand-in's times are never the platform's, and no adapter or context is named that did not compute.
fn assert_times(record: &RunRecord, real: bool) {
    let metrics = &record.performance_metrics;
    assert_eq!((metrics.inference_time_ms.is_some(), metrics.cpu_time_ms.is_some()), (real, !real));
    assert!(metrics.memory.browser_rss_bytes.expect("it runs on this machine") > 10_000_000);
    assert_eq!(record.adapter.is_some(), real && record.platform == Platform::Webgpu);
    assert_eq!(record.webnn.is_some(), real && record.platform == Platform::Webnn);
    assert_eq!(record.simulated_in.as_deref(), (!real).then_some("page"));
}

/// Every step to the simulation has its reason, and the first names what the page lacks.
fn assert_missing(record: &RunRecord, platform: Platform) {
    let object = if platform == Platform::Webgpu { "navigator.gpu" } else { "navigator.ml" };
    assert!(record.fallbacks[0].reason.contains(object), "{:?}", record.fallbacks);
    assert!(record.fallbacks.iter().all(|step| !step.code.is_empty() && !step.reason.is_empty()));
}

async fn wrong_inputs_are_refused(browser: &Opened) {
    for (values, reason) in [(&[1, 2, 99_999_999][..], "99999999"), (&[1; 65], "65")] {
        for platform in [Platform::Wasm, Platform::Webgpu] {
            let record = browser.run(platform, Settings::default(), |request| request.input = ids(values)).await;
            let error = failure(&record);
            assert_eq!(error.code, "bad_input", "{error:?}");
            assert!(error.message.contains(reason), "{error:?}");
        }
    }
}

async fn without_fallback_what_is_missing_is_an_error(browser: &Opened, expected: Expected) {
    for platform in [Platform::Webgpu, Platform::Webnn] {
        let strict = browser.run(platform, Settings::default(), |request| request.options.fallback = Some(false));
        let (record, (name, real)) = (strict.await, expected.of(platform));
        match real {
            true => assert_eq!(ran_as(&record), name),
            false => assert_eq!(failure(&record).code, "platform_unavailable"),
        }
    }
}

fn without_fallback_a_missing_platform_exits_with_3_and_another_with_0(browser: &[String], expected: Expected) {
    let sandbox = Sandbox::default();
    let bert = golden_bert();
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3").unwrap();
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    for platform in [Platform::Webgpu, Platform::Webnn] {
        let args =
            ["run", "--json", "--no-fallback", "--gpu", "software", "--platform", platform.name(), "--runs", "1"];
        let more = ["--model", bert.to_str().unwrap(), "--bits", "8", "--ids", ids.to_str().unwrap()];
        let finished = sandbox.run(&[&args[..], &more, &browser].concat());
        let ((name, real), record) = (expected.of(platform), finished.json());
        assert_eq!(finished.code, Some(if real { 0 } else { 3 }), "{finished:?}");
        match real {
            true => assert_eq!(record["implementation_type"], name),
            false => assert!(!record["error"]["hint"].as_str().unwrap().is_empty(), "{record}"),
        }
    }
    sandbox.assert_clean();
}

fn a_killed_browser_ends_the_run_with_an_error(browser: &[String]) {
    let sandbox = Sandbox::default();
    let bert = golden_bert();
    let ids = sandbox.path().join("ids");
    std::fs::write(&ids, "1 2 3 4 5").unwrap();
    let args = ["run", "--json", "--verbose", "--gpu", "software", "--platform", "wasm", "--runs", "100000000"];
    let more = ["--model", bert.to_str().unwrap(), "--ids", ids.to_str().unwrap()];
    let browser: Vec<&str> = browser.iter().map(String::as_str).collect();
    let mut running = sandbox.start(&[&args[..], &more, &browser].concat());
    running.wait_for_log("request 2: run");
    let browser = sandbox.processes().into_iter().find(webnibble_tests::Process::is_browser);
    signal(browser.expect("a browser runs").id, "KILL");
    let finished = running.finish(NOTICE_LIMIT);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.json()["error"]["code"], "disconnected", "{finished:?}");
    sandbox.assert_clean();
}

/// The real model's embedding, on every platform that is real, against the CPU executor outside of any browser.
async fn the_embedding_of_a_text(browser: &Opened, expected: Expected) {
    // One format, whatever the browser's profile says.
    let settings = Settings {
        bits: Some(Bits::B8),
        mixed_precision: Some(false),
        granularity: Some(Granularity::Group(128)),
        ..Settings::default()
    };
    let reference = reference(&settings);
    for platform in [Platform::Wasm, Platform::Webgpu, Platform::Webnn] {
        if !expected.of(platform).1 {
            continue;
        }
        let record = browser
            .run(platform, settings.clone(), |request| {
                request.model = mini_lm().display().to_string();
                request.input = Input::texts(vec![TEXT.into()]);
                request.options.measure.runs = Some(1);
            })
            .await;
        let name = ran_as(&record);
        assert_eq!(name, expected.of(platform).0);
        let found = cosine(&embedding(&record), &reference);
        println!("{name}: cosine {found:.7} to the reference on the same weights");
        assert!(found >= LEAST_COSINE, "{name}: {found}");
    }
}

/// The embedding by the CPU executor, on the weights that every browser gets.
fn reference(settings: &Settings) -> Vec<f32> {
    let model = Model::open(&mini_lm(), "all-MiniLM-L6-v2").unwrap();
    let options = Options { settings: settings.clone(), ..Default::default() };
    let resolved = resolve(&options, Platform::Webgpu, "bert").unwrap();
    let package = prepare::package(&model, &resolved.settings, Platform::Webgpu, &mut |_| {}).unwrap();
    let outputs = Reference::quantized(&package).unwrap().outputs(&Input::texts(vec![TEXT.into()])).unwrap();
    outputs[0].1.as_f32().unwrap().to_vec()
}

pub(crate) fn embedding(record: &RunRecord) -> Vec<f32> {
    match &record.output {
        Some(Output::Embeddings { embeddings }) => embeddings[0].clone(),
        other => panic!("expected an embedding, found {other:?}"),
    }
}

/// Of vectors of length 1.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
